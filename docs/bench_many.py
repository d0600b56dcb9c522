"""Many experiments in one folder and one process: does anything grow, and what does a board cost?

python docs/bench_many.py --experiments 3000

Runs the baseline `random` with as many seeds, a hundred at a time, and then renders boards of a part of them: anew, and
again with one seed more. Prints the tables of docs/reliability.md.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import psutil
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.run import Quiet, run_requests
from milsurv.leaderboards.cache.store import NO_CACHE, Cache
from milsurv.leaderboards.publish import publish

SEEDS = (10, 40, 100, 1000)
"""Of the boards."""


def cpu() -> float:
    """CPU seconds of this process and its children so far."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def experiments(out: Path, count: int, tracking: str) -> None:
    """Run them, and print what the process holds after every few hundred."""
    process = psutil.Process()
    print("| experiments | memory | open files | threads | CPU seconds for one |\n| ---: | ---: | ---: | ---: | ---: |")
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
            print(f"| {done:,} | {memory} MiB | {files} | {process.num_threads()} | {seconds:.3f} |", flush=True)
            begun, before = cpu(), done


def boards(results: Path, place: Path) -> None:
    """Render the board of so many seeds, and print what it costs."""
    print("\n| seeds | CPU seconds, anew | with one seed more |\n| ---: | ---: | ---: |")
    every = sorted((results / "experiments").iterdir(), key=lambda path: path.stat().st_mtime)
    for seeds in SEEDS:
        if seeds + 1 >= len(every):
            break
        part, pages, cache = place / f"{seeds}", place / f"pages-{seeds}", Cache(place / f"cache-{seeds}")
        for path in every[: seeds + 1]:  # the first is another line
            shutil.copytree(path, part / "experiments" / path.name)
        begun = cpu()
        publish(part, pages, NO_CACHE)
        anew = cpu() - begun
        publish(part, pages, cache)
        shutil.copytree(every[seeds + 1], part / "experiments" / every[seeds + 1].name)
        begun = cpu()
        publish(part, pages, cache)
        print(f"| {seeds:,} | {anew:.1f} | {cpu() - begun:.1f} |", flush=True)


def main() -> None:
    """Run, render, print."""
    parser = argparse.ArgumentParser(description="Many experiments in one folder.")
    parser.add_argument("--experiments", type=int, default=3000)
    parser.add_argument("--tracking", default="none", help="an MLflow store, or none")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        experiments(Path(folder, "results"), asked.experiments, asked.tracking)
        boards(Path(folder, "results"), Path(folder))


if __name__ == "__main__":
    main()
