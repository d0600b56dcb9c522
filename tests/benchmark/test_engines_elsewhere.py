"""Ray and Slurm, as they are: a cluster of two Ray nodes on this machine, and Slurm where it is installed."""

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from engine_grid import cells, files
from milsurv.benchmark.engines.options import Options
from milsurv.benchmark.engines.slurm import minutes_of
from milsurv.benchmark.results.lease import all_held
from milsurv.benchmark.results.progress import progress_of
from milsurv.benchmark.run import Quiet, run_all
from milsurv.errors import UsageError

ray = pytest.importorskip("ray", reason="Ray is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils")


def slurm_answers() -> bool:
    return bool(shutil.which("sbatch")) and not subprocess.run(["sinfo"], capture_output=True, check=False).returncode


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_worker_and_a_node_writes_the_same_files(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    requests = cells(cohort_folder, tmp_path / "ray", epochs=20)
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    lost: list[str] = []

    def disturb() -> None:
        """Kill the process of the first fold that is seen; when another runs, take away the second node."""
        while not (held := running(tmp_path / "ray")):
            time.sleep(0.05)
        os.kill(held[0], signal.SIGKILL)
        lost.append("worker")
        while not [pid for pid in running(tmp_path / "ray") if pid != held[0]]:
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)
        lost.append("node")

    thread = threading.Thread(target=disturb, daemon=True)
    try:
        thread.start()
        options = Options("ray", address=cluster.address)
        finished, failures = run_all(requests, Quiet(), "none", options)
        thread.join(60)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert lost == ["worker", "node"] and not failures
    assert all(one.complete for one in finished)
    run_all(cells(cohort_folder, tmp_path / "serial", epochs=20), Quiet(), "none")
    assert files(tmp_path / "ray") == files(tmp_path / "serial")


def running(out: Path) -> list[int]:
    held = [lease for place in out.glob("experiments/*") for lease in all_held(place).values()]
    return [lease.holder.pid for lease in held if lease.holder is not None]


@pytest.mark.slow
@pytest.mark.skipif(not slurm_answers(), reason="no Slurm answers here; docs/slurm_on_one_machine.sh brings one up")
def test_slurm_writes_the_same_files_and_its_jobs_are_seen(cohort_folder, tmp_path):
    requests = cells(cohort_folder, tmp_path / "slurm")[2:4]
    finished, failures = run_all(requests, Quiet(), "none", Options("slurm", jobs=2, slurm=["time=10"]))
    assert not failures and all(one.complete for one in finished)
    run_all(cells(cohort_folder, tmp_path / "serial")[2:4], Quiet(), "none")
    assert files(tmp_path / "slurm") == files(tmp_path / "serial")
    assert [one.finished for one in progress_of(tmp_path / "slurm")] == [3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options("local", gpus=1), "add --engine ray or slurm"),
        (Options("slurm", address="auto"), "that of a Ray cluster"),
        (Options("ray", slurm=["partition=long"]), "add --engine slurm"),
    ],
)
def test_options_of_another_engine_are_refused(cohort_folder, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        run_all(cells(cohort_folder, tmp_path), Quiet(), "none", options)


@pytest.mark.parametrize(
    ("text", "minutes"), [("30", 30), ("10:30", 11), ("2:00:00", 120), ("1-0", 1440), ("1-2:30", 1590)]
)
def test_times_are_read_as_sbatch_reads_them(text, minutes):
    assert minutes_of(text) == minutes
    with pytest.raises(UsageError, match="expected minutes"):
        minutes_of(f"{text} h")
