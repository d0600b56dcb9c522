"""Many experiments in one folder and one process: does anything grow?

python docs/bench_many.py --experiments 3000

Runs the baseline `random` with as many seeds, a hundred at a time. What their boards cost says docs/bench_boards.py.
"""

import argparse
import os
import tempfile
from pathlib import Path

import psutil
from harness import head, line
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.run import Quiet, run_requests


def cpu() -> float:
    """CPU seconds of this process and its children so far."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def experiments(out: Path, count: int, tracking: str) -> None:
    """Run them, and print what the process holds after every few hundred."""
    process = psutil.Process()
    head("experiments", "memory", "open files", "threads", "CPU seconds for one")
    common = Request("clinical-cox", "blca", features_path="synthetic", patients=40, folds=2, out=out)
    run_requests([common], Quiet(), tracking)
    begun, before = cpu(), 0
    for start in range(0, count, 100):
        done = min(start + 100, count)
        run_requests(
            [Request(**{**vars(common), "model": "random", "seed": seed}) for seed in range(start, done)],
            Quiet(),
            tracking,
        )
        if done % 500 == 0 or done in (100, count):
            memory, files = process.memory_info().rss >> 20, process.num_fds()
            seconds = (cpu() - begun) / (done - before)
            line(f"{done:,}", f"{memory} MiB", files, process.num_threads(), f"{seconds:.3f}")
            begun, before = cpu(), done


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Many experiments in one folder.")
    parser.add_argument("--experiments", type=int, default=3000)
    parser.add_argument("--tracking", default="none", help="an MLflow store, or none")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        experiments(Path(folder, "results"), asked.experiments, asked.tracking)


if __name__ == "__main__":
    main()
