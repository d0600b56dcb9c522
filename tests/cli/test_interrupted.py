"""`bench run` that is killed or asked to stop, at moments that are chosen to be bad ones, and then typed again."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FAULT = """
import os, signal, sys
from milsurv import files
from milsurv.benchmark.cli import main

number, name, left = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sync = files._sync

def faulty(path):
    global left
    if name in path.name and path.suffix == ".partial":  # written, and not renamed
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)
    sync(path)

files._sync = faulty
sys.argv = ["bench", *sys.argv[4:]]
main.main()
"""
"""Runs `bench` and sends the process a signal in the middle of the n-th writing of a file of this name."""


def words(cohort_folder: Path, out: Path) -> list[str]:
    data = ["--labels", cohort_folder / "labels.csv", "--features", cohort_folder / "features", "--cohort", "blca"]
    how = ["--folds", 2, "--epochs", 4, "--tracking", "none", "--checkpoint-every", "0s", "--out", out]
    return [str(word) for word in ("run", "--model", "abmil", "--keep-weights", "selected,last", *data, *how)]


def content(out: Path) -> dict[str, object]:
    """What a run leaves of its experiment; of a row, what may not change."""
    found: dict[str, object] = {}
    for path in sorted((out / "experiments").rglob("*")):
        if path.name == "result.json":
            changing = ("created", "seconds", "hardware")
            found[str(path.relative_to(out))] = {
                key: value for key, value in json.loads(path.read_text()).items() if key not in changing
            }
        elif path.is_file() and path.name != ".lock":
            found[str(path.relative_to(out))] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def undisturbed(cohort_folder, made_once):
    def make(out: Path) -> None:
        command = [sys.executable, "-m", "milsurv.benchmark.cli.main", *words(cohort_folder, out)]
        subprocess.run(command, check=True, capture_output=True)

    return content(made_once("undisturbed", make))


@pytest.mark.parametrize(
    ("number", "name", "count"),
    [
        (signal.SIGKILL, "fold-1.pt", 3),
        (signal.SIGKILL, "predictions.csv", 2),
        (signal.SIGTERM, "fold-1.pt", 2),
        (signal.SIGHUP, "fold-0.pt", 3),
        (signal.SIGUSR1, "weights-selected", 1),
    ],
)
def test_a_run_that_was_ended_at_a_bad_moment_ends_with_the_same_bits(
    undisturbed, cohort_folder, tmp_path, bench, number, name, count
):
    asked = words(cohort_folder, tmp_path)
    command = [sys.executable, "-c", FAULT, str(int(number)), name, str(count), *asked]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if number == signal.SIGKILL:
        assert ended.returncode == -number
    else:
        kept = "and the fold under way is kept up to here" if name.endswith(".pt") else "is finished and kept"
        assert ended.returncode == 128 + number and f"interrupted by {number.name}" in ended.stderr
        assert kept in ended.stderr and "Traceback" not in ended.stderr
    status, _, err = bench(*asked)
    assert status == 0, err
    assert content(tmp_path) == undisturbed
    assert not [path for path in (tmp_path / "experiments").rglob("*") if path.suffix in (".partial", ".pt")]
