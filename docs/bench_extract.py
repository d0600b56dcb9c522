"""Throughput and memory of `bench extract` against its two floors, measured in one run.

    python docs/bench_extract.py SLIDES [--copies 12] [--repeats 5] [--backbone efficientnet-lite0] [--device cpu]
    python docs/bench_extract.py SLIDES --backbone uni --random --device cuda

SLIDES is a slide that openslide reads, or a folder of them; so many slides of their content are extracted. With
--random an encoder of timm gets random weights: how long it takes does not depend on them.

    reading     a floor: the same regions of the same levels, read and thrown away, in as many processes as cores
    network     a floor: the forward pass over the same tiles in memory, by the faster of two ways to use the cores
    extraction  all of `bench extract`, from opening the encoder to the last file
    plain loop  what a script does: read a tile, convert, resize, and embed 32 at a time with the encoder as its authors
                wrote it; once, over the first slide, and scaled to all

The first three take turns, each measured by the clock and in CPU seconds of all its processes and threads. On a GPU the
larger floor is what cannot be beaten. On a CPU both floors keep all cores busy, so that it is their sum; the ratio of
CPU seconds says the same of a machine that has other work, too. Reading is also done once by openslide alone. Memory is
the most that the process, and the largest of its readers, ever held.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

CORES = len(os.sched_getaffinity(0))
PLANS: dict[str, list] = {}
"""What is read of each slide; kept by the processes of the first floor."""


def raw_reads(slide: str, by_openslide: bool = False) -> float:
    """CPU seconds for every region that an extraction of this slide reads; nothing is kept."""
    import openslide
    from milsurv.datasets.slides.grid import choose_tiles, plan_grid
    from milsurv.datasets.slides.reading import regions
    from milsurv.datasets.slides.slide import opened
    from milsurv.datasets.slides.tissue import find_tissue

    slide = os.path.realpath(slide)
    if slide not in PLANS:
        with opened(Path(slide)) as found:
            grid, _ = plan_grid(found.size, found.resolution.mpp, (20, 10, 5), 256)
            tiles = choose_tiles(grid, find_tissue(found).share, 0.5)
            PLANS[slide] = [r for block in regions(found, grid, tiles) for r in block.values()]
    start = time.process_time()
    if by_openslide:
        with openslide.OpenSlide(slide) as handle:
            for region in PLANS[slide]:
                handle.read_region(region.corner, region.level, region.size)
    else:
        with opened(Path(slide)) as found:
            for region in PLANS[slide]:
                found.region(*region.corner, region.level, *region.size)
    return time.process_time() - start


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of CPU."""

    clock: float
    cpu: float


@contextmanager
def costing() -> Iterator[list[Cost]]:
    """What the block costs, this process, its threads and the processes that it ended taken together."""
    costs: list[Cost] = []
    clock, cpu = time.perf_counter(), sum(os.times()[:4])
    yield costs
    costs.append(Cost(time.perf_counter() - clock, sum(os.times()[:4]) - cpu))


def reading_of(pool: ProcessPoolExecutor, links: list[Path], by_openslide: bool = False) -> Cost:
    """The first floor."""
    start = time.perf_counter()
    cpu = sum(pool.map(raw_reads, map(str, links), [by_openslide] * len(links)))
    return Cost(time.perf_counter() - start, cpu)


def network_of(encoder, batches: list, device: str) -> Cost:
    """The second floor: on a CPU as many batches at a time as there are cores, or one with all cores."""
    import torch

    costs = []
    for threads in {CORES if device == "cpu" else 1, 1}:
        torch.set_num_threads(1 if threads > 1 else CORES)
        with costing() as cost, ThreadPoolExecutor(threads) as pool:
            deque(pool.map(encoder.features, batches), maxlen=0)
        costs += cost
    torch.set_num_threads(CORES)
    return Cost(min(c.clock for c in costs), min(c.cpu for c in costs))


def plain_loop(slide: Path, backbone: str, weights: Path | None, device: str) -> float:
    """Seconds a tile of the loop that one would write."""
    import numpy as np
    import openslide
    import torch
    from milsurv.datasets.encoders import efficientnet_lite
    from milsurv.datasets.encoders.opening import EMBEDDED, open_encoder
    from milsurv.datasets.slides.grid import choose_tiles, plan_grid
    from milsurv.datasets.slides.slide import opened
    from milsurv.datasets.slides.tissue import find_tissue
    from PIL import Image

    with opened(slide) as found:
        grid, _ = plan_grid(found.size, found.resolution.mpp, (20, 10, 5), 256)
        tiles = choose_tiles(grid, find_tissue(found).share, 0.5)
        places = [
            (found.level_for(grid.side_of(m) / 256), grid.side_of(m), corner)
            for m, at in tiles.at.items()
            for corner in grid.corners(m, at).tolist()
        ]
        downsamples = found.downsamples
    encoder = open_encoder(backbone, weights).on(device)
    if backbone == EMBEDDED:
        network = efficientnet_lite.original()[0].to(device)
        encoder = replace(encoder, module=lambda x: network.extract_features(x).mean((2, 3)))  # type: ignore[arg-type]
    start = time.perf_counter()
    with openslide.OpenSlide(slide) as handle, torch.inference_mode():
        for at in range(0, len(places), 32):
            batch = []
            for level, side, corner in places[at : at + 32]:
                px = round(side / downsamples[level])
                tile = handle.read_region(corner, level, (px, px)).convert("RGB")
                batch.append(tile.resize((224, 224), Image.Resampling.BILINEAR))
            encoder.features(np.stack([np.asarray(tile) for tile in batch]))
    return (time.perf_counter() - start) / len(places)


def measure(given: argparse.Namespace, root: Path) -> None:
    """Take turns, and print one line each."""
    from milsurv.benchmark.extraction.extract import ExtractionOptions, extract, settings_of
    from milsurv.datasets.encoders.opening import open_encoder
    from milsurv.datasets.slides.reader import running

    links = linked(given.slides, root / "slides", given.copies)
    options = ExtractionOptions(
        (root / "slides",), root / "out", given.backbone, given.weights, device=given.device, batch=given.batch
    )
    reading = settings_of(options)
    encoder = open_encoder(given.backbone, given.weights).on(given.device)
    known: dict[Path, list] = {}
    with running() as reader:
        for path in {link.resolve() for link in links}:
            known[path] = [batch.copy() for batch in reader.read(path, reading)[2]]
    batches = [batch for link in links for batch in known[link.resolve()]]
    encoder.features(batches[0])
    tiles = sum(map(len, batches))
    print(f"{given.copies} slides, {tiles} tiles, {given.backbone} on {given.device}, {CORES} cores\n")
    print("| turn | reading, s (CPU) | network, s (CPU) | whole, s (CPU) | / larger | / sum | / CPU | tiles/s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    rows = []
    with ProcessPoolExecutor(CORES) as pool:
        reading_of(pool, links * 2)  # plans are made
        for turn in range(given.repeats):
            reading, network = reading_of(pool, links), network_of(encoder, batches, given.device)
            with costing() as cost:
                report = extract(replace(options, out=root / f"out-{turn}"))
            (whole,) = cost
            assert len(report.of("written")) == given.copies, report.failed
            ratios = (
                whole.clock / max(reading.clock, network.clock),
                whole.clock / (reading.clock + network.clock),
                whole.cpu / (reading.cpu + network.cpu),
            )
            rows.append((*ratios, tiles / whole.clock))
            cells = [f"{c.clock:.1f} ({c.cpu:.1f})" for c in (reading, network, whole)]
            cells += [f"{ratio:.2f}" for ratio in ratios]
            print("|", turn + 1, "|", " | ".join(cells), f"| {tiles / whole.clock:.0f} |", flush=True)
        alone = reading_of(pool, links, by_openslide=True)
    larger, total, cpu, speed = (median(values) for values in zip(*rows, strict=True))
    plain = plain_loop(links[0].resolve(), given.backbone, given.weights, given.device)
    print(
        f"\nMedians: {larger:.2f} of the larger floor, {total:.2f} of the sum, {cpu:.2f} in CPU, {speed:.0f} tiles/s."
    )
    print(f"Reading by openslide alone: {alone.clock:.1f} s ({alone.cpu:.1f}).")
    print(f"Plain loop: {1 / plain:.0f} tiles/s, so that the extraction is {speed * plain:.1f} times as fast.\n")


def memory(given: argparse.Namespace, root: Path) -> None:
    """The peak of an extraction of few and of many slides, each in a process of its own."""
    print("| slides | peak of the process, MiB | of its largest reader, MiB |")
    print("| --- | --- | --- |", flush=True)
    weights = f"Path({str(given.weights)!r})" if given.weights else None
    for copies in (given.copies // 4, given.copies // 2, given.copies):
        linked(given.slides, root / f"many-{copies}", copies)
        code = (
            "from pathlib import Path; from milsurv.benchmark.extraction.extract import *; "
            f"extract(ExtractionOptions((Path({str(root / f'many-{copies}')!r}),), "
            f"Path({str(root / f'kept-{copies}')!r}), "
            f"{given.backbone!r}, {weights}, device={given.device!r}))"
        )
        process = subprocess.Popen([sys.executable, "-c", code])
        own = readers = 0.0
        while process.poll() is None:
            own = max(own, peak(process.pid))
            for thread in Path(f"/proc/{process.pid}/task").glob("*/children"):
                with suppress(OSError):
                    readers = max([readers, *(peak(int(child), b"worker\0") for child in thread.read_text().split())])
            time.sleep(0.05)
        assert process.returncode == 0
        print(f"| {copies} | {own:.0f} | {readers:.0f} |", flush=True)


def peak(process: int, program: bytes = b"") -> float:
    """The most memory that a process has held, MiB; 0 while it is another program: before it starts its own, what it
    seems to hold is its parent's.
    """
    with suppress(OSError):
        if Path(f"/proc/{process}/cmdline").read_bytes().endswith(program):
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    return 0.0


def random_weights(backbone: str, path: Path) -> Path:
    """A checkpoint of that encoder's architecture, as it is before training."""
    import torch
    from milsurv.datasets.encoders.pathology import RECIPES, build
    from milsurv.datasets.encoders.torchvision_operators import declare_missing_operators

    declare_missing_operators()
    torch.save(build(RECIPES[backbone]).state_dict(), path)
    return path


def linked(slides: Path, folder: Path, copies: int) -> list[Path]:
    """So many names for one slide, or for those of a folder in turn."""
    from milsurv.datasets.slides.slide import SUFFIXES

    files = [slides] if slides.is_file() else sorted(p for p in slides.rglob("*") if p.suffix.lower() in SUFFIXES)
    folder.mkdir()
    for i in range(copies):
        file = files[i % len(files)].resolve()
        (folder / f"{i:04d}{file.suffix}").symlink_to(file)
    return sorted(folder.iterdir())


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Throughput and memory of bench extract.")
    parser.add_argument("slides", type=Path)
    parser.add_argument("--copies", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--only", choices=("throughput", "memory"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.random:
            given.weights = random_weights(given.backbone, Path(folder) / "random.pth")
        if given.only != "memory":
            measure(given, Path(folder))
        if given.only != "throughput":
            memory(given, Path(folder))


if __name__ == "__main__":
    main()
