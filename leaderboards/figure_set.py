"""The figures of a paper, as SVG and PDF, from the same rows as the board."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..files import file_names
from .predictions import patients_of
from .publish import Gathered
from .ranking.across import across
from .ranking.board import Board, Line, Ranking, names_of
from .render.ablation import ablations
from .render.figures import style
from .render.figures.clinical import calibration, over_time
from .render.figures.critical_difference import critical_difference
from .render.figures.differences import ablation, optimism
from .render.figures.forest import forest
from .render.figures.kaplan_meier import kaplan_meier

KINDS = ("km", "forest", "cd", "calibration", "brier", "auc", "ablation", "optimism")
CURVES = 6
"""Lines whose curves are drawn, of each ranking: the first ones, unless models are named."""
MONTHS = (12, 36, 60)


@dataclass(frozen=True)
class FigureOptions:
    """Which figures: of which `kinds` (all where empty), `cohorts` and `models`; `baseline` is that of the ablation."""

    kinds: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    baseline: str | None = None


@dataclass(frozen=True)
class WrittenFigures:
    """The files of the figures, and what could not be drawn, with the reason."""

    paths: tuple[Path, ...]
    undrawn: tuple[str, ...]


def write_figures(
    found: Gathered, clinical: Mapping[str, pd.DataFrame], out: Path, options: FigureOptions, formats: Sequence[str]
) -> WrittenFigures:
    """Draw the figures and write them into `out`.

    clinical: tables of clinical curves by experiment. Raises RowError for a baseline that is on no board, OSError where
    `out` cannot be written.
    """
    every = dict(figures(found, clinical, options))
    made = {key: figure for key, figure in every.items() if not isinstance(figure, str)}
    names = file_names(made)
    paths = [style.save(figure, out / f"{names[key]}.{kind}") for key, figure in made.items() for kind in formats]
    return WrittenFigures(tuple(paths), tuple(f"{key}: {why}" for key, why in every.items() if isinstance(why, str)))


def figures(
    found: Gathered, clinical: Mapping[str, pd.DataFrame], options: FigureOptions
) -> Iterator[tuple[str, Figure | str]]:
    """The figures by what they are called; in place of one that the rows cannot give, the reason."""
    kinds = options.kinds or KINDS
    boards = [board for board in found.boards if not options.cohorts or board.cohort in options.cohorts]
    for board in boards:
        for number, ranking in enumerate(board.rankings):
            place = board.title + (f"-{number + 1}" if number else "")
            for kind, figure in _of_ranking(board, ranking, found, clinical, options):
                if kind.split(" ")[0] in kinds:
                    yield f"{place} {kind}", figure
    if "ablation" in kinds:
        tables = ablations(boards, found.predictions, options.baseline, found.published)
        for number, one in enumerate(tables):
            yield f"{one.title.split(':')[0]} ablation{f'-{number + 1}' if number else ''}", ablation(one)
        if not tables:
            yield "ablation", "no ranking has two models of ours"
    if "cd" in kinds:
        shared = across(boards)
        for one in shared:
            yield f"{'synthetic' if one.synthetic else 'cohorts'} cd", critical_difference(one)
        if not shared:
            yield "cd", "three cohorts that share three models are needed, real or simulated"


def _of_ranking(
    board: Board, ranking: Ranking, found: Gathered, clinical: Mapping[str, pd.DataFrame], options: FigureOptions
) -> Iterator[tuple[str, Figure | str]]:
    title = f"{board.title}, {ranking.lines[0].n_folds} folds"
    yield "forest", forest(ranking.lines, title)
    known = any(line.gap is not None for line in ranking.lines)
    yield "optimism", optimism(ranking.lines, title) if known else "no line was read at `best`"
    chosen = _chosen(ranking, options.models)
    for name, line in chosen.items():
        yield f"km {name}", _risk_groups(found.predictions.get(line.experiments[0]), f"{name} on {board.title}")
    tables = {name: clinical[line.experiments[0]] for name, line in chosen.items() if line.experiments[0] in clinical}
    lacking = "no clinical-curves.csv lies beside these results; entries do not hold it"
    for curve in ("auc", "brier"):
        yield curve, over_time(tables, curve, title) or ("no line has a value" if tables else lacking)
    if not tables:
        yield "calibration", lacking
        return
    for months in MONTHS:
        figure = calibration(tables, months, title)
        yield f"calibration {months}", figure or f"no line has the curve at {months} months"


def _risk_groups(table: pd.DataFrame | None, title: str) -> Figure | str:
    if table is None:
        return "its predictions are not here; it was published without patients, or the file is missing"
    mine = np.asarray(table["reading"] == "selected")
    selected = pd.DataFrame(table[mine])
    time, event, group, fold = (np.asarray(selected[name]) for name in ("time", "event", "risk_group", "fold"))
    if not mine.any() or not np.isin(group, ("high", "low")).all():
        return "it has no risk groups"
    return kaplan_meier(time, event, group, title, fold=fold, patients=patients_of(selected))


def _chosen(ranking: Ranking, models: Sequence[str]) -> dict[str, Line]:
    named = dict(zip(names_of(ranking.lines), ranking.lines, strict=True))
    if models:
        return {name: line for name, line in named.items() if {name, line.model, line.label} & set(models)}
    return dict(list(named.items())[:CURVES])


def read_clinical(folders: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Clinical curves below results folders, by experiment; files without the columns of one are left out."""
    found: dict[str, pd.DataFrame] = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("clinical-curves.csv"))):
        table = pd.read_csv(path)
        if {"curve", "fold", "x", "y"} <= set(table.columns):
            found.setdefault(path.parent.name, table)
    return found
