"""Leases: one process computes a fold, and what a dead one held is taken over by exactly one other."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import msgspec
import pytest
from milsurv.benchmark.results import lease as leases
from milsurv.benchmark.results.lease import Held, Holder, Lease, Watch, acquire, all_held, held


@pytest.fixture
def dead(tmp_path):
    """`dead(fold)`: the lease of a process that was killed with SIGKILL while it held it."""

    def call(fold: int) -> Held:
        program = (
            "import sys, time; from pathlib import Path; from milsurv.benchmark.results.lease import acquire\n"
            f"acquire(Path({str(tmp_path)!r}), {fold}, 'gone').__enter__(); print('held', flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            found = held(tmp_path, fold)
            assert found is not None and found.holder is not None and not found.holder.dead
            process.send_signal(signal.SIGKILL)
        return found

    return call


def of_another_machine(folder, fold: int = 0, **changes) -> Holder:
    """A lease as another machine writes it."""
    with acquire(folder, fold) as mine:
        holder = mine.held.holder
    changed = replace(holder, **({"machine": "elsewhere", "token": "theirs"} | changes))
    (folder / f".fold-{fold}.lease-1").write_bytes(msgspec.json.encode(changed))
    return changed


def test_a_fold_has_one_holder_and_is_free_again_when_it_is_given_back(tmp_path):
    with acquire(tmp_path, 3, "a run") as mine:
        other = acquire(tmp_path, 3)
        assert isinstance(mine, Lease) and isinstance(other, Held)
        assert other.holder is not None and other.holder.pid == os.getpid() and other.holder.run == "a run"
        with acquire(tmp_path, 4) as next_to_it:
            assert isinstance(next_to_it, Lease) and set(all_held(tmp_path)) == {3, 4}
    assert list(tmp_path.iterdir()) == [] and held(tmp_path, 3) is None


def test_of_many_who_ask_at_once_one_gets_it(tmp_path):
    for fold in range(20):
        barrier, got = threading.Barrier(8), []

        def ask(fold=fold, barrier=barrier, got=got):
            barrier.wait()
            got.append(acquire(tmp_path, fold))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(isinstance(one, Lease) for one in got) == 1


def test_what_a_killed_process_held_is_taken_over_at_once_and_by_one(tmp_path, dead):
    gone = dead(0)
    assert gone.holder is not None and gone.holder.dead
    barrier, got = threading.Barrier(8), []

    def ask():
        barrier.wait()
        got.append(acquire(tmp_path, 0))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (mine,) = [one for one in got if isinstance(one, Lease)]
    assert mine.held.number == gone.number + 1
    with mine:
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_has_the_same_number_by_chance_holds_nothing(tmp_path):
    with acquire(tmp_path, 0) as mine:
        holder = mine.held.holder
    assert not holder.dead and replace(holder, born=holder.born - 1000).dead


def test_of_another_machine_nothing_is_known_but_that_it_renews_its_lease(tmp_path, monkeypatch):
    theirs = of_another_machine(tmp_path, pid=1, born=0.0)
    assert not theirs.dead and isinstance(acquire(tmp_path, 0), Held)
    monkeypatch.setattr(leases, "STALE", 0.3)
    watch, path = Watch(), tmp_path / ".fold-0.lease-1"
    for beat in range(4):
        os.utime(path, (1000 + beat, 1000 + beat))  # a clock that is years behind
        assert not watch.void(held(tmp_path, 0))
        time.sleep(0.2)
    time.sleep(0.3)
    assert watch.void(held(tmp_path, 0))
    assert isinstance(acquire(tmp_path, 0, void=theirs.token), Lease)


def test_a_lease_is_void_only_for_who_names_it(tmp_path):
    of_another_machine(tmp_path)
    assert isinstance(acquire(tmp_path, 0, void="an older one"), Held)


def test_a_holder_renews_its_lease_and_notices_when_it_was_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.05)
    with acquire(tmp_path, 0) as mine:
        first = held(tmp_path, 0)
        time.sleep(0.3)
        assert held(tmp_path, 0).renewed > first.renewed and not mine.lost
        with acquire(tmp_path, 0, void=mine.held.token) as theirs:
            time.sleep(0.3)
            assert isinstance(theirs, Lease) and mine.lost and not theirs.lost
    assert list(tmp_path.iterdir()) == []


def test_a_lease_that_is_being_written_counts_as_held(tmp_path):
    (tmp_path / ".fold-0.lease-1").write_bytes(b"")
    assert isinstance(acquire(tmp_path, 0), Held) and held(tmp_path, 0).title == "another process"
