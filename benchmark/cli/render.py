"""`bench data render`: whole slide images with a hazard planted in them."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json

RenderedPatients = Annotated[
    int | None, typer.Option("--patients", help="How many patients; the cohort's own number by default.", min=10)
]
RenderedSeed = Annotated[int, typer.Option("--seed", help="Another seed gives another cohort.", min=0)]
RenderedArea = Annotated[
    float, typer.Option("--area", help="Mean tissue of a slide, square millimetres.", min=0.1, max=20)
]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes; one a core by default.", min=1)]


def render(
    cohort: Annotated[
        str, typer.Option("--cohort", help="demo, planted-fine, planted-coarse or planted-null.")
    ] = "demo",
    out: Annotated[
        Path, typer.Option("--out", help="Data folder; a folder named like the cohort is made in it.")
    ] = Path("data"),
    patients: RenderedPatients = None,
    seed: RenderedSeed = 0,
    strength: Annotated[
        float, typer.Option("--strength", help="SD of the log hazard over patients.", min=0, max=10)
    ] = 3.0,
    area: RenderedArea = 0.5,
    workers: Workers = None,
    as_json: o.AsJson = False,
) -> None:
    """Render slides that openslide opens, with labels, folds and the truth beside them. Slides that are there stay."""
    with explained():
        from ...datasets.simulated.rendering.cohort import render as draw
        from ...datasets.truth import read_truth
        from .. import console

        with console.counting(f"rendering {cohort}") as count:
            folder = draw(cohort, out / cohort, patients, seed, strength, area, workers, count)
        truth = read_truth(folder)
        assert truth is not None
        slides = sum(1 for _ in (folder / "slides").glob("*.tif"))
        if as_json:
            print_json({"path": str(folder), "cohort": cohort, "patients": len(truth.risk), "slides": slides,
                        "oracle": truth.oracle_c_index})  # fmt: skip
            return
        console.say(f"{folder}: {len(truth.risk)} patients, {slides} slides, one of them blank and one marked by pen; "
                    f"the true risks reach a C-index of {truth.oracle_c_index:.3f}")  # fmt: skip
