"""Many experiments in one folder and one process: does memory grow, do files or threads stay open?

python docs/bench_many.py --experiments 3000

Runs the baseline `random` with as many seeds, a hundred at a time, and then renders the board. Prints the table of
docs/reliability.md.
"""

import argparse
import tempfile
import time
from pathlib import Path

import psutil


def main() -> None:
    """Run them, and print what the process holds after every few hundred."""
    parser = argparse.ArgumentParser(description="Many experiments in one folder.")
    parser.add_argument("--experiments", type=int, default=3000)
    parser.add_argument("--tracking", default="none", help="an MLflow store, or none")
    asked = parser.parse_args()
    from milsurv.benchmark.planning.request import Request
    from milsurv.benchmark.run import Quiet, run_requests

    process = psutil.Process()
    print("| experiments | memory | open files | threads | seconds for one |\n| ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        first = Request("random", "blca", features_path="synthetic", patients=40, folds=2, out=Path(folder))
        begun, before = time.monotonic(), 0
        for done in range(0, asked.experiments, 100):
            seeds = range(done, min(done + 100, asked.experiments))
            requests = [Request(**{**vars(first), "seed": seed}) for seed in seeds]
            run_requests(requests, Quiet(), asked.tracking)
            count = seeds.stop
            if count % 500 == 0 or count in (100, asked.experiments):
                memory, files = process.memory_info().rss >> 20, process.num_fds()
                seconds = (time.monotonic() - begun) / (count - before)
                print(f"| {count:,} | {memory} MiB | {files} | {process.num_threads()} | {seconds:.3f} |", flush=True)
                begun, before = time.monotonic(), count


if __name__ == "__main__":
    main()
