"""Engines: whatever computes the folds, and however many at once, the files are the same; what dies is replaced."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import engine_grid
import pytest
from engine_grid import Remarking, cells, files, first
from milsurv.benchmark.engines import choose, ray, slurm
from milsurv.benchmark.engines import schedule as scheduling
from milsurv.benchmark.engines.cell import Cell, Failed, Remarked
from milsurv.benchmark.engines.local import Local
from milsurv.benchmark.engines.options import Options
from milsurv.benchmark.planning.grid import grid
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.results.folder import ResultFolder
from milsurv.benchmark.results.lease import acquire, held
from milsurv.benchmark.run import Quiet, run, run_all
from milsurv.datasets.memory import PROCESSES
from milsurv.errors import UsageError


@pytest.fixture(scope="module")
def serial(cohort_folder, made_once) -> dict[str, object]:
    """The files of the grid, computed one after another."""
    out = made_once("engines-serial", lambda folder: run_all(cells(cohort_folder, folder), Quiet(), "none"))
    return files(out)


@pytest.mark.parametrize("jobs", [1, 3])
def test_processes_write_the_same_files_as_one_after_another(cohort_folder, tmp_path, serial, jobs):
    finished, failures = run_all(cells(cohort_folder, tmp_path), Quiet(), "none", Options("local", jobs))
    assert not failures and all(one.complete for one in finished)
    assert files(tmp_path) == serial


class Asking(Quiet):
    """Asks the process that computes a fold which GPUs it sees."""

    def __init__(self, out: Path) -> None:
        self.out, self.seen = out, {}

    @contextmanager
    def computing(self, title, cells):
        with super().computing(title, cells) as watcher:
            watcher.epoch = self.ask
            yield watcher

    def ask(self, cell, epoch, line):
        lease = held(self.out / "experiments" / cell.experiment, cell.fold)
        if lease is not None:
            environment = Path(f"/proc/{lease.holder.pid}/environ").read_bytes().split(b"\0")
            named = [text.partition(b"=")[2].decode() for text in environment if text.startswith(b"CUDA_VISIBLE_DEV")]
            self.seen[lease.holder.pid] = named


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="asks Linux what a process sees")
def test_gpus_are_dealt_to_the_processes(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(choose, "Local", lambda jobs, gpus: Local(jobs, ("3", "5")))
    asking = Asking(tmp_path)
    run_all(cells(cohort_folder, tmp_path), asking, "none", Options("local", 2))
    assert sorted(asking.seen.values()) == [["3"], ["5"]]


class Killing(Quiet):
    """Kills whoever computes a fold, after an epoch; `times` says how often by fold."""

    def __init__(self, out: Path, times: dict[int, int]) -> None:
        self.out, self.times, self.killed = out, dict(times), []

    @contextmanager
    def computing(self, title, cells):
        with super().computing(title, cells) as watcher:
            watcher.epoch = self.kill
            yield watcher

    def kill(self, cell, epoch, line):
        lease = held(self.out / "experiments" / cell.experiment, cell.fold)
        if self.times.get(cell.fold) and lease is not None and lease.holder.pid not in self.killed:
            self.times[cell.fold] -= 1
            self.killed.append(lease.holder.pid)
            os.kill(lease.holder.pid, signal.SIGKILL)


def test_a_process_that_is_killed_costs_its_fold_one_attempt_and_its_third_fails_it(cohort_folder, tmp_path, serial):
    request = cells(cohort_folder, tmp_path)[2]
    display = Killing(tmp_path, {0: scheduling.ATTEMPTS, 1: 1})
    finished = run(request, display, "none", Options("local", 2))
    assert len(display.killed) == 4
    assert [row.finished for row in finished.rows] == [False, True, True]
    assert "died 3 times" in str(finished.rows[0].error) and "run out of memory" in str(finished.rows[0].error)
    assert run(request, Quiet(), "none").complete  # the same command tries it again
    assert files(tmp_path).items() <= serial.items()
    assert not list(tmp_path.rglob(".fold-*")) and not list(tmp_path.rglob(".*.partial"))


def test_a_fold_that_another_process_computes_is_awaited_and_taken_over_when_it_is_given_up(
    cohort_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(scheduling, "POLL", 0.2)
    request = grid(first(cohort_folder, tmp_path), "abmil", "blca")[0]
    folder = ResultFolder(tmp_path, load(request)[0])
    folder.begin()
    results: list = []
    thread = threading.Thread(target=lambda: results.append(run(request, Quiet(), "none")))
    with acquire(folder.path, 1, "another run"):
        thread.start()
        while not (folder.finished(0) and folder.finished(2)):
            time.sleep(0.05)
        time.sleep(0.5)
        assert folder.finished(1) is None and thread.is_alive()
    thread.join(30)
    assert results[0].complete and held(folder.path, 1) is None


def test_status_says_who_computes_and_what_is_left(bench, cohort_folder, tmp_path):
    request = cells(cohort_folder, tmp_path)[2]
    folder = ResultFolder(tmp_path, load(request)[0])
    folder.begin()
    with acquire(folder.path, 1, "a run"):
        (one,) = json.loads(bench("status", tmp_path, "--json")[1])["experiments"]
        assert (one["folds"], one["finished"], one["failed"], one["waiting"]) == (3, 0, [], 2)
        (running,) = one["running"]
        assert running["pid"] == os.getpid() and running["fold"] == 1 and not running["dead"]
        assert str(os.getpid()) in bench("status", tmp_path)[1]
    status, _, err = bench("status", tmp_path / "nowhere")
    assert status == 1 and "there are no experiments" in err


def command(cohort_folder: Path, out: Path, *words: object) -> list[str]:
    return [
        sys.executable, "-m", "milsurv.benchmark.cli.main", "run", "--model", "abmil", "--cohort", "blca", "--labels",
        str(cohort_folder / "labels.csv"), "--features", str(cohort_folder / "features"), "--folds", "4", "--epochs",
        "20", "--tracking", "none", "--out", str(out), *map(str, words),
    ]  # fmt: skip


def test_two_commands_on_one_folder_share_the_folds(cohort_folder, tmp_path):
    words = command(cohort_folder, tmp_path, "--jobs", 1)
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    computed = [re.findall(r"abmil on blca, fold (\d): C", text) for text in said]
    assert sorted(computed[0] + computed[1]) == ["0", "1", "2", "3"]
    assert not list(tmp_path.rglob(".fold-*"))


def test_ctrl_c_ends_the_processes_and_the_same_command_goes_on(cohort_folder, tmp_path):
    words = command(cohort_folder, tmp_path, "--jobs", 2)
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        while not (leases := list(tmp_path.rglob(".fold-*.lease-1"))):
            time.sleep(0.05)
        pids = [held(path.parent, int(path.name[6])).holder.pid for path in leases]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode != 0 and "The same command goes on from there" in " ".join(said.split())
    assert "Traceback" not in said
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids) and not list(tmp_path.rglob(".fold-*"))
    assert subprocess.run(words[:-2], capture_output=True, check=False).returncode == 0
    assert len(list(tmp_path.rglob("result.json"))) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options("locl"), "Did you mean local"),
        (Options(jobs="many"), "a number from 1, or auto"),
        (Options(jobs=0), "a number from 1, or auto"),
        (Options("serial", 3), "one cell at a time"),
    ],
)
def test_an_engine_that_cannot_be_says_what_can(cohort_folder, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        run_all(cells(cohort_folder, tmp_path), Quiet(), "none", options)


def test_a_grid_is_read_and_checked_before_anything_is_computed(cohort_folder, tmp_path):
    requests = grid(first(cohort_folder, tmp_path), "abmil", "blca")
    broken = [Request("abmil", "blca", features_path=str(tmp_path), labels_path=tmp_path, out=tmp_path)]
    seen = []

    class Seeing(Quiet):
        def fail(self, text):
            seen.append(("failed", len(list(tmp_path.rglob("result.json")))))

    finished, failures = run_all([*requests, *broken], Seeing(), "none")
    assert seen == [("failed", 0)] and len(failures) == 1 and finished[0].complete


@pytest.mark.parametrize("engine", ["local", "ray", "slurm"])
def test_what_a_process_elsewhere_remarks_comes_home_before_its_last_word(engine, tmp_path, monkeypatch):
    cell, heard = Cell(Remarking(), "0123456789", 0, home=str(Path.cwd())), []
    monkeypatch.setenv(PROCESSES, "1")  # or what a worker sets would stay
    if engine == "ray":  # as a Ray worker does
        heard = ray._compute(cell, 1.0)
    elif engine == "slurm":  # as a task of a job array does, and then the command that reads what it noted
        slurm.Tasks(tmp_path)([cell])
        collecting = object.__new__(slurm.Slurm)
        collecting.__dict__ |= {"_folder": tmp_path, "_cells": [], "_jobs": {}, "_waiting": {cell.key: cell}}
        collecting.turn(0.0, heard.append)
    else:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(engine_grid.__file__).parent), *sys.path]))
        started = Local(1, ())
        started.submit(cell)
        while not heard or isinstance(heard[-1], Remarked):
            started.turn(1.0, heard.append)
        started.close()
    assert [type(event) for event in heard] == [Remarked, Failed]
    assert heard[0].text == "features were streamed" and heard[1].error == "no data"
