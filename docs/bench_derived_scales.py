"""What derived scales are worth where the truth is known: real 5x and 10x of planted cohorts, and derived ones.

`python docs/bench_derived_scales.py [PATIENTS [EPOCHS]]` simulates the cohorts, writes a copy of their features that
holds 20x alone, runs every model on both in the same folds, and prints a table.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import milsurv
from milsurv.benchmark.planning.load import PLANTED_BACKBONE, PLANTED_CELLS, PLANTED_DIM
from milsurv.datasets import cohorts
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.features.store import write_slide
from milsurv.datasets.simulated.cohort import simulate_cohort

COHORTS = ("planted-fine", "planted-coarse", "planted-cross")
MODELS = ("crossfusion", "abmil-concat", "abmil-late", "abmil")


def fine_only(source: Path, target: Path) -> Path:
    """A copy of a store that holds 20x alone."""
    reader = open_features(source)
    for slide in reader.slides:
        features, coords = reader.read(slide, 20)
        geometry = replace(reader.facts(slide)[20].geometry)
        write_slide(
            target, slide, {20: features}, {20: coords}, backbone=reader.backbone, patch_px=256,
            synthetic=reader.synthetic, geometry={20: geometry},
        )  # fmt: skip
    return target


def main() -> None:
    """Simulate, run and print."""
    patients = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    epochs = {"epochs": sys.argv[2]} if len(sys.argv) > 2 else {}
    print("| cohort | model | scales of the encoder | derived from 20x |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for name in COHORTS:
            cohort = cohorts.get(name)
            folder = simulate_cohort(
                cohort, PLANTED_BACKBONE, Path(scratch) / name, patients=patients, cells=PLANTED_CELLS, dim=PLANTED_DIM,
                strength="stronger" if cohort.planted == "cross" else "strong",
            )  # fmt: skip
            fine = fine_only(folder / "features", Path(scratch) / f"{name}-20x")
            for model in MODELS:
                means = []
                for features, derive in ((folder / "features", False), (fine, True)):
                    rows = milsurv.run(
                        model, name, features=features, labels=folder / "labels.csv", derive_scales=derive,
                        settings=epochs, out=Path(scratch) / "results", tracking="none", progress=False,
                    )  # fmt: skip
                    c = rows["c_index_selected"]
                    means.append(f"{c.mean():.3f} \N{PLUS-MINUS SIGN} {c.std(ddof=1):.3f}")
                print(f"| {name} | {model} | {means[0]} | {means[1]} |", flush=True)


if __name__ == "__main__":
    main()
