"""Kill `bench run` at random moments, run it again, and compare every file with those of a run that nothing disturbed.

python docs/bench_kills.py --kills 20

Prints the table of docs/reliability.md. Options of `bench run` follow after `--`, for instance `-- --engine local`.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

CHANGING = ("created", "seconds", "hardware", "code_version")
COMMAND = [
    *("run", "--model", "abmil", "--cohort", "blca", "--features", "synthetic", "--patients", "40", "--folds", "3"),
    *("--epochs", "25", "--keep-weights", "selected,last,best", "--checkpoint-every", "0s"),
]


def start(out: Path, more: list[str]) -> subprocess.Popen:
    """Begin the command in a group of processes of its own."""
    bench = [sys.executable, "-m", "milsurv.benchmark.cli.main", *COMMAND, *more, "--out", str(out)]
    log = (out.parent / f"{out.name}.log").open("ab")
    return subprocess.Popen(bench, stdout=log, stderr=log, start_new_session=True)


def content(out: Path) -> dict[str, object]:
    """What a run leaves: every file of its experiments; of a row, what may not change."""
    found: dict[str, object] = {}
    for path in sorted((out / "experiments").rglob("*")):
        name = str(path.relative_to(out))
        if path.name == "result.json":
            row = json.loads(path.read_text())
            found[name] = {key: value for key, value in row.items() if key not in CHANGING}
        elif path.suffix in (".csv", ".safetensors", ".pt", ".partial"):
            found[name] = path.read_bytes()
    return found


def moment(out: Path, folds: int = 3) -> str:
    """What a process was doing when it was killed, as its files tell."""
    done = len(list(out.glob("experiments/*/fold-*/result.json")))
    if not list(out.glob("experiments/*/experiment.json")):
        return "starting and reading data"
    if done == folds:
        return "writing summaries and the leaderboard"
    if list(out.glob("experiments/*/checkpoints/.*.partial")):
        return "writing a checkpoint"
    if list(out.glob(f"experiments/*/checkpoints/fold-{done}.pt")):
        return "training"
    return "before the first checkpoint of a fold"


def main() -> None:
    """Kill so many runs, and print how they ended."""
    parser = argparse.ArgumentParser(description="Kill `bench run` at random moments and run it again.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("more", nargs="*", help="options of `bench run`, after --")
    asked = parser.parse_args()
    rng, more = random.Random(asked.seed), asked.more or ["--tracking", "none"]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        assert start(Path(folder, "whole"), more).wait() == 0, Path(folder, "whole.log").read_text()
        whole, expected = time.monotonic() - begun, content(Path(folder, "whole"))
        killed, equal, seconds = Counter[str](), Counter[str](), []
        for kill in range(asked.kills):
            out = Path(folder, f"killed-{kill}")
            process = start(out, more)
            try:
                process.wait(rng.uniform(0.02, 0.98) * whole)
                where = "it was over already"
            except subprocess.TimeoutExpired:
                signal_group(process)
                where = moment(out)
            begun = time.monotonic()
            status = start(out, more).wait()
            seconds.append(time.monotonic() - begun)
            same = status == 0 and content(out) == expected
            killed[where] += 1
            equal[where] += same
            print(
                f"{kill + 1}/{asked.kills} {where}: {'equal' if same else f'NOT EQUAL (status {status})'}", flush=True
            )
            if same:
                shutil.rmtree(out)
    print("\n| killed while | kills | ended with the same bits |\n| --- | ---: | ---: |")
    for where, count in sorted(killed.items()):
        print(f"| {where} | {count} | {equal[where]} |")
    print(f"| **all** | {killed.total()} | {equal.total()} |")
    print(f"\nUndisturbed: {whole:.0f} s; the run after a kill: {sum(seconds) / len(seconds):.0f} s on average.")
    sys.exit(killed.total() != equal.total())


def signal_group(process: subprocess.Popen) -> None:
    """`kill -9` of a process and all that it started."""
    import os

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    main()
