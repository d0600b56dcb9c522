"""Throughput and memory of `bench extract` against its two floors, measured in one run.

    python docs/bench_extract.py SLIDE [--copies 12] [--repeats 5] [--backbone efficientnet-lite0] [--device cpu]

SLIDE is any slide that openslide reads; it is extracted as so many slides of the same content. The floors are

    reading   openslide's read_region over the same places and levels, in as many processes as there are cores
    network   the forward pass over the same tiles in memory, by the faster of two ways to use the cores

The three take turns. On a busy machine only the ratio to the larger floor within one turn counts; its median is what
docs/extract.md says. Memory is the most that the process, and the largest of its readers, ever held.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from statistics import median

CORES = len(os.sched_getaffinity(0))


def raw_reads(slide: str) -> int:
    """Every region that an extraction of this slide reads, by openslide alone; nothing is kept."""
    import openslide
    from milsurv.datasets.wsi.grid import choose_tiles, plan_grid
    from milsurv.datasets.wsi.reading import regions
    from milsurv.datasets.wsi.slide import opened
    from milsurv.datasets.wsi.tissue import find_tissue

    if slide not in PLANS:
        with opened(Path(slide).resolve()) as found:
            grid, _ = plan_grid(found.size, found.resolution.mpp, (20, 10, 5), 256)
            tiles = choose_tiles(grid, find_tissue(found).share, 0.5)
            PLANS[slide] = [r for block in regions(found, grid, tiles) for r in block.values()]
    with openslide.OpenSlide(slide) as handle:
        for region in PLANS[slide]:
            handle.read_region(region.corner, region.level, region.size)
    return len(PLANS[slide])


PLANS: dict[str, list] = {}


def forward(encoder, batches: list, copies: int, threads: int) -> float:
    """Seconds for the network alone: `threads` batches at a time with one core each, or one batch with all cores."""
    import torch

    torch.set_num_threads(1 if threads > 1 else CORES)
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(encoder.features, batches * copies))
    return time.perf_counter() - start


def measure(given: argparse.Namespace, root: Path) -> None:
    """Take turns, and print one line each."""
    from dataclasses import replace

    from milsurv.benchmark.extract import Extraction, extract, settings_of
    from milsurv.datasets.encoders.opening import open_encoder
    from milsurv.datasets.wsi.reader import running

    links = linked(given.slide, root / "slides", given.copies)
    asked = Extraction((root / "slides",), root / "out", given.backbone, device=given.device, batch=given.batch)
    wanted = settings_of(asked)
    encoder = open_encoder(given.backbone).on(given.device)
    with running() as reader:
        _, order, stream = reader.read(links[0], wanted)
        batches = list(stream)
    encoder.features(batches[0])
    tiles = len(order) * given.copies
    print(f"{given.copies} slides of {len(order)} tiles, {given.backbone} on {given.device}, {CORES} cores\n")
    print("| turn | reading, s | network, s | extraction, s | extraction / larger floor | tiles/s |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    ratios = []
    with ProcessPoolExecutor(CORES) as pool:
        list(pool.map(raw_reads, map(str, links * 2)))  # plans are made
        for turn in range(given.repeats):
            start = time.perf_counter()
            list(pool.map(raw_reads, map(str, links)))
            reading = time.perf_counter() - start
            ways = (1,) if given.device != "cpu" else (CORES, 1) if CORES > 1 else (1,)
            network = min(forward(encoder, batches, given.copies, threads) for threads in ways)
            import torch

            torch.set_num_threads(CORES)
            start = time.perf_counter()
            report = extract(replace(asked, out=root / f"out-{turn}"))
            whole = time.perf_counter() - start
            assert len(report.of("written")) == given.copies, report.failed
            ratios.append(whole / max(reading, network))
            cells = (f"{reading:.1f}", f"{network:.1f}", f"{whole:.1f}", f"{ratios[-1]:.2f}", f"{tiles / whole:.0f}")
            print("|", turn + 1, "|", " | ".join(cells), "|", flush=True)
    print(f"\nMedian of the ratio: {median(ratios):.2f}\n")


def memory(given: argparse.Namespace, root: Path) -> None:
    """The peak of an extraction of few and of many slides, each in a process of its own."""
    print("| slides | peak of the process, MiB | of its largest reader, MiB |")
    print("| --- | --- | --- |", flush=True)
    for copies in (2, given.copies, 4 * given.copies):
        linked(given.slide, root / f"many-{copies}", copies)
        code = (
            "import json, resource, sys; from pathlib import Path; from milsurv.benchmark.extract import *; "
            f"extract(Extraction((Path({str(root / f'many-{copies}')!r}),), Path({str(root / f'kept-{copies}')!r}), "
            f"{given.backbone!r}, device={given.device!r})); "
            "print(json.dumps([resource.getrusage(w).ru_maxrss / 1024 for w in (resource.RUSAGE_SELF, "
            "resource.RUSAGE_CHILDREN)]))"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        own, largest = json.loads(done.stdout)
        print(f"| {copies} | {own:.0f} | {largest:.0f} |", flush=True)


def linked(slide: Path, folder: Path, copies: int) -> list[Path]:
    """So many names for one slide."""
    folder.mkdir()
    for i in range(copies):
        (folder / f"{i:04d}{slide.suffix}").symlink_to(slide.resolve())
    return sorted(folder.iterdir())


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Throughput and memory of bench extract.")
    parser.add_argument("slide", type=Path)
    parser.add_argument("--copies", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--no-memory", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(given, Path(folder))
        if not given.no_memory:
            memory(given, Path(folder))


if __name__ == "__main__":
    main()
