"""What engines cost: two jobs against one, and what a cell takes beyond its training. Prints Markdown.

    python docs/bench_engines.py                # about five minutes on two idle cores
    python docs/bench_engines.py --cells 1000

The speed-up is that of cells alone, from the first that begins to the last that ends; start-up is given apart.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
from harness import head, line
from milsurv.benchmark.engines.options import Options
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.run import Quiet, run_requests


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100, help="tiny cells of the second table")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of the cells of the first table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        speed_up(Path(folder), options.epochs)
        if options.cells:
            many(Path(folder), options.cells)


def speed_up(folder: Path, epochs: int) -> None:
    """The same folds by one process and by two."""
    took: dict[int, tuple[float, float]] = {}
    for jobs in (1, 2):
        command = [
            sys.executable, "-m", "milsurv.benchmark.cli.main", "ablate", "--model", "crossfusion,transmil", "--cohort",
            "blca", "--features", "synthetic", "--patients", "120", "--folds", "4", "--epochs", str(epochs), "--engine",
            "local", "--jobs", str(jobs), "--tracking", "none", "--no-weights", "--out", str(folder / str(jobs)),
        ]  # fmt: skip
        begin = time.time()
        subprocess.run(command, check=True, capture_output=True)
        rows = [json.loads(path.read_text()) for path in (folder / str(jobs)).rglob("result.json")]
        ends = [path.stat().st_mtime for path in (folder / str(jobs)).rglob("result.json")]
        starts = [end - row["seconds"] for end, row in zip(ends, rows, strict=True)]
        took[jobs] = max(ends) - min(starts), min(starts) - begin
    head("jobs", "seconds of 8 cells", "start-up, s", "speed-up")
    for jobs, (cells, start) in took.items():
        line(jobs, f"{cells:.1f}", f"{start:.1f}", f"{took[1][0] / cells:.2f}")
    print()


def many(folder: Path, cells: int) -> None:
    """Tiny cells, in tens of folds: what each takes beyond its training, and whether anything grows."""
    first = Request(
        "meanpool", "blca", features_path="synthetic", patients=40, folds=2, settings={"epochs": "1"},
        keep_weights="none", out=folder / "many",
    )  # fmt: skip
    run_requests([replace(first, seed=10**6)], Quiet(), "none")  # the cohort, and what is imported
    head("cells", "ms a cell beyond training", "memory, MiB", "open descriptors", "files")
    done, process = 0, psutil.Process()
    while done < cells:
        count = max(1, min(cells - done, cells // 4) // 2)
        requests = [replace(first, seed=done + seed) for seed in range(count)]
        begin = time.perf_counter()
        finished = run_requests(requests, Quiet(), "none", Options("serial"))
        wall = time.perf_counter() - begin
        training = sum(row.seconds or 0.0 for one in finished for row in one.rows)
        done += 2 * count
        memory, files = process.memory_info().rss / 2**20, sum(path.is_file() for path in folder.rglob("*"))
        beyond = 1000 * (wall - training) / (2 * count)
        line(done, f"{beyond:.1f}", f"{memory:.0f}", process.num_fds(), files)


if __name__ == "__main__":
    main()
