"""Figures that papers print, as they print them: beside a board, never ranked with its lines."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("papers")
PAPERS = {
    "crossfusion-paper.csv": "CrossFusion, MIDL 2026, PMLR 315:2906-2921, tables 1 to 3",
}
"""By file of `papers/` (columns table, method, backbone, cohort, mean, sd), where its figures are printed."""
KIND = "published: best epoch, baselines untuned"
"""What such a figure is."""


@dataclass(frozen=True)
class PrintedFigure:
    """The C-index of one method on one cohort: mean and, where it is printed, standard deviation over folds."""

    source: str
    table: str
    method: str
    backbone: str
    cohort: str
    mean: float
    sd: float | None


@cache
def printed_figures() -> tuple[PrintedFigure, ...]:
    """Every printed figure; one that stands in several tables, once."""
    found: dict[tuple[str, ...], PrintedFigure] = {}
    for name, source in PAPERS.items():
        with (FOLDER / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                sd = float(row["sd"]) if row["sd"] else None
                figure = PrintedFigure(
                    source, row["table"], row["method"], row["backbone"], row["cohort"], float(row["mean"]), sd
                )
                found.setdefault((name, figure.method, figure.backbone, figure.cohort), figure)
    return tuple(found.values())


def printed_on(cohort: str) -> tuple[PrintedFigure, ...]:
    """What papers print of a measured cohort, in their order."""
    return tuple(figure for figure in printed_figures() if figure.cohort == cohort)
