"""How fast a bag is read: our store against a copy in memory, torch.load and other tools' files, as ratios of one run.

    python docs/bench_store.py [--patches 20000] [--dim 1536] [--repeats 15]

Every file is in the system's cache. The ways take turns on one thread, and ratios are medians over turns. Prints the
table of docs/features.md.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import head, in_turn, line, one_thread


def main() -> None:
    """Measure and print."""
    one_thread()
    import h5py
    import numpy as np
    import torch
    from milsurv.datasets.features.opening import open_features
    from milsurv.datasets.features.store import write_slide

    parser = argparse.ArgumentParser(description="Speed of reading one bag, as ratios.")
    parser.add_argument("--patches", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    n, dim = given.patches, given.dim
    single = np.random.default_rng(0).standard_normal((n, dim), np.float32)
    half = single.astype(np.float16)
    coords = np.stack([np.arange(n) % 200, np.arange(n) // 200], 1) * 512
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_slide(root / "store", "a", {20: half}, {20: coords}, backbone="mine", patch_px=256, mpp=0.25)
        reference = root / "reference/mine/x20/pt_files/a.pt"
        reference.parent.mkdir(parents=True)
        torch.save(torch.from_numpy(single), reference)
        trident = root / "trident/20x_256px_0px_overlap/features_mine/a.h5"
        trident.parent.mkdir(parents=True)
        with h5py.File(trident, "w") as file:
            file.create_dataset("features", data=single, chunks=(1, dim))
            file["coords"] = coords
        readers = {name: open_features(root / name) for name in ("store", "reference", "trident")}

        def first() -> object:
            return open_features(root / "store").read("a", 20)

        def by_h5py() -> object:
            with h5py.File(trident) as file:
                return file["features"][:].astype(np.float16), file["coords"][:]  # type: ignore[index]

        ways: dict[str, Callable[[], object]] = {
            "copy of the same bytes in memory": lambda: (half.copy(), coords.copy()),
            "**our store**": lambda: readers["store"].read("a", 20),
            "our store, first read: checksum and every number looked at": first,
            "`torch.load` of the bag in float32": lambda: torch.load(reference, weights_only=True),
            "milsurv reading that .pt file, to float16": lambda: readers["reference"].read("a", 20),
            "h5py reading TRIDENT's file (float32, one row a chunk), to float16": by_h5py,
            "milsurv reading TRIDENT's file": lambda: readers["trident"].read("a", 20),
        }
        timed = in_turn(ways, given.repeats, time.perf_counter)
    size = half.nbytes + coords.astype(np.int32).nbytes
    copy, load = list(ways)[:4:3]
    print(f"A bag of {n:,} patches, {dim} wide: {size / 1e6:.0f} MB as float16 with coordinates.\n")
    head("way", "ms", "speed, copy = 1", "speed, `torch.load` = 1")
    for name in ways:
        by_copy, by_load = timed.ratio(copy, name), timed.ratio(load, name)
        line(name, f"{1e3 * timed.median(name):.0f}", f"{by_copy:.2f}", f"{by_load:.1f}")


if __name__ == "__main__":
    main()
