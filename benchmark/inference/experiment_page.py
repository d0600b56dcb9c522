"""An experiment on one page: training curves, and of every reading risks, risk groups and calibration."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from ...errors import RowError
from ...files import write_whole
from ...leaderboards.predictions import read_predictions
from ...leaderboards.render.figures import style
from ...leaderboards.render.figures.clinical import DASHES, SHADES, calibration
from ...leaderboards.render.figures.kaplan_meier import kaplan_meier
from ...leaderboards.result_row import READINGS, ResultRow
from ...leaderboards.rows import read_row
from ...survival.clinical_curves import ScoredFold, clinical_curves, pooled_calibration
from ...survival.followup import FollowUp
from ...survival.metrics import METRICS
from ..results.scored_fold import read_fold
from .report import environment, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"
CURVES = {"train_loss": "Training loss", "val_c_index": "C-index of the validation split"}
MEANING = {
    "selected": "the epoch that the validation split chose; the one that is ranked",
    "last": "the last epoch",
    "best": "the best epoch on the test fold, as many papers report it; it never ranks",
}


def write_page(folder: Path) -> Path:
    """Write `report.html` into the folder of an experiment, and return its path.

    Errors: `RowError` where no fold is finished, or its files are damaged.
    """
    found = [read_row(path) for path in sorted(folder.glob("fold-*/result.json"))]
    rows = sorted((row for row in found if row.finished), key=lambda row: row.fold)
    if not rows:
        raise RowError(f"{folder} holds no finished fold: give the folder of an experiment, results/experiments/ID")
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    table = read_predictions(folder / "predictions.csv")
    readings = [reading for reading in READINGS if reading in set(table["reading"])]
    page = environment().get_template("experiment.html.jinja").render(
        row=rows[0],
        rows=rows,
        readings=[
            (reading, MEANING[reading], _figures(reading, lines, table, rows[0].model),
             _pooled(_folds(reading, lines, table)))
            for reading in readings
        ],
        training=[Markup(svg_of(figure)) for figure in training_figures(folder, rows)],
        metrics=_metrics(rows, readings),
    )  # fmt: skip
    return write_whole(folder / PAGE, page)


def training_figures(folder: Path, rows: Sequence[ResultRow]) -> list["Figure"]:
    """Loss and validation C-index by epoch, a line a fold; none where nothing is trained by epochs."""
    curves = {}
    for row in rows:
        path = folder / f"fold-{row.fold}" / "curves.csv"
        if path.is_file():
            curves[row.fold] = pd.read_csv(path)
    figures = []
    for column, title in CURVES.items():
        drawn = {fold: one for fold, one in curves.items() if column in one and one[column].notna().any()}
        if drawn:
            figures.append(_by_epoch(drawn, column, title, {row.fold: row.epoch_selected for row in rows}))
    return figures


def _by_epoch(
    curves: Mapping[int, pd.DataFrame], column: str, title: str, chosen: Mapping[int, int | None]
) -> "Figure":
    figure, axes = _figure(title)
    with style.styled():
        for place, (fold, one) in enumerate(curves.items()):
            epochs, values = np.arange(1, len(one) + 1), np.asarray(one[column], float)
            colour = SHADES[place % len(SHADES)]
            axes.plot(epochs, values, color=colour, ls=DASHES[place % len(DASHES)], lw=1.2, label=f"fold {fold}")
            at = chosen.get(fold)
            if at and at <= len(values):
                axes.plot([at], [values[at - 1]], "o", color=colour, ms=4)
        axes.set_xlabel("Epoch (dot: selected)")
        axes.legend(frameon=False, fontsize=7, ncols=2)
    return figure


def _figures(reading: str, lines: Sequence[Mapping[str, str]], table: pd.DataFrame, model: str) -> list[Markup]:
    """Risk histogram, Kaplan-Meier curves and calibration of one reading."""
    mine = pd.DataFrame(table[table["reading"] == reading])
    figures = [risk_histogram(mine)]
    if set(mine["risk_group"]) <= {"high", "low"}:
        owner = mine["owner" if "owner" in mine.columns else "patient"]
        figures.append(
            kaplan_meier(mine["time"], mine["event"], mine["risk_group"], "Risk groups", fold=mine["fold"],
                         patients=len(set(owner)))
        )  # fmt: skip
    if folds := _folds(reading, lines, table):
        curves = pd.DataFrame(clinical_curves(folds))
        drawn = (calibration({model: curves}, months, f"Calibration at {months} months") for months in (12, 36, 60))
        figures += [figure for figure in drawn if figure is not None]
    return [Markup(svg_of(figure)) for figure in figures]


def _folds(reading: str, lines: Sequence[Mapping[str, str]], table: pd.DataFrame) -> list[ScoredFold]:
    """The folds of one reading, to be taken together; none unless there are several, all with survival curves."""
    mine = pd.DataFrame(table[table["reading"] == reading])
    chosen = [line for line in lines if line["reading"] == reading]
    folds = []
    for fold in dict.fromkeys(line["fold"] for line in chosen):
        rest = mine[mine["fold"] != float(fold)]
        train = FollowUp(np.asarray(rest["time"], float), np.asarray(rest["event"], bool))
        folds.append(read_fold(int(fold), train, [line for line in chosen if line["fold"] == fold]))
    return folds if len(folds) > 1 and all(one.prediction.survival is not None for one in folds) else []


def _pooled(folds: Sequence[ScoredFold]) -> str:
    """Calibration over all test folds, in a sentence; empty where it cannot be."""
    if not folds:
        return ""
    found = pooled_calibration(folds)
    words = [
        f"{METRICS[name].title} " + (f"{value:.3f}" if isinstance(value, float) else f"not known ({value})")
        for name, value in found.items()
    ]
    return f"All test folds together: {', '.join(words)}."


def risk_histogram(mine: pd.DataFrame) -> "Figure":
    """Risks of those who died and of those who were censored; each fold in its own standard deviations."""
    figure, axes = _figure("Risks")
    by_fold = mine.groupby("fold")["risk"]
    risk = np.asarray((mine["risk"] - by_fold.transform("mean")) / by_fold.transform("std").replace(0, 1).fillna(1))
    event = np.asarray(mine["event"], bool)
    with style.styled():
        edges = np.linspace(min(risk.min(), -2), max(risk.max(), 2), 31)
        axes.hist([risk[event], risk[~event]], edges, stacked=True, color=[style.HIGH, style.LOW], alpha=0.75,
                  label=["died", "censored"])  # fmt: skip
        axes.set_xlabel("Risk, in standard deviations of its fold")
        axes.set_ylabel("Patients")
        axes.legend(frameon=False, fontsize=8)
    return figure


def _figure(title: str):
    from matplotlib.figure import Figure

    with style.styled():
        figure = Figure(figsize=(4.6, 3.1))
        axes = figure.add_axes((0.13, 0.16, 0.84, 0.72))
        axes.set_title(title)
    return figure, axes


def _metrics(rows: Sequence[ResultRow], readings: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Every metric but p-values, mean over folds, by reading; a dash where a fold has no value."""
    found = []
    for name, metric in METRICS.items():
        if name.endswith("_p"):  # a mean of p-values says nothing
            continue
        cells = []
        for reading in readings:
            values = [row.score(f"{name}_{reading}") for row in rows]
            known = [value for value in values if value is not None]
            cells.append(f"{np.mean(known):.3f}" if len(known) == len(values) else "\N{EN DASH}")
        found.append((metric.title, cells))
    return found
