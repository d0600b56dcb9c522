"""The figures of a paper, as SVG and PDF, from the same rows as the board."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import style
from .ablation import ablations
from .across import across
from .clinical_figures import calibration, over_time
from .comparison_figures import ablation, optimism
from .figures import critical_difference, forest, kaplan_meier
from .file_names import file_names
from .publish import Gathered
from .ranking import Board, Line, Ranking, names_of

KINDS = ("km", "forest", "cd", "calibration", "brier", "auc", "ablation", "optimism")
CURVES = 6
"""Lines whose curves are drawn, of each ranking: the first ones, unless models are named."""
MONTHS = (12, 36, 60)


@dataclass(frozen=True)
class Asked:
    """Which figures: of which `kinds` (all where empty), `cohorts` and `models`; `baseline` is that of the ablation."""

    kinds: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    baseline: str | None = None


def write_figures(
    found: Gathered, clinical: Mapping[str, pd.DataFrame], out: Path, asked: Asked, formats: Sequence[str]
) -> list[Path]:
    """Draw what is asked for and write it into `out`; returns the files.

    clinical: tables of clinical curves by experiment. Raises OSError where `out` cannot be written.
    """
    drawn = dict(figures(found, clinical, asked))
    names = file_names(drawn)
    return [style.save(figure, out / f"{names[key]}.{kind}") for key, figure in drawn.items() for kind in formats]


def figures(found: Gathered, clinical: Mapping[str, pd.DataFrame], asked: Asked) -> Iterator[tuple[str, Figure]]:
    """The figures by what they are called; a figure that the rows cannot give is left out."""
    kinds = asked.kinds or KINDS
    boards = [board for board in found.boards if not asked.cohorts or board.cohort in asked.cohorts]
    for board in boards:
        for number, ranking in enumerate(board.rankings):
            place = board.title + (f"-{number + 1}" if number else "")
            for kind, figure in _of_ranking(board, ranking, found, clinical, asked):
                if kind.split(" ")[0] in kinds:
                    yield f"{place} {kind}", figure
    if "ablation" in kinds:
        for number, one in enumerate(ablations(boards, found.predictions, asked.baseline, found.derived)):
            yield f"{one.title.split(':')[0]} ablation{f'-{number + 1}' if number else ''}", ablation(one)
    if "cd" in kinds:
        for one in across(boards):
            yield f"{'synthetic' if one.synthetic else 'cohorts'} cd", critical_difference(one)


def _of_ranking(
    board: Board, ranking: Ranking, found: Gathered, clinical: Mapping[str, pd.DataFrame], asked: Asked
) -> Iterator[tuple[str, Figure]]:
    title = f"{board.title}, {ranking.lines[0].n_folds} folds"
    yield "forest", forest(ranking.lines, title)
    if any(line.gap is not None for line in ranking.lines):
        yield "optimism", optimism(ranking.lines, title)
    chosen = _chosen(ranking, asked.models)
    for name, line in chosen.items():
        table = found.predictions.get(line.experiments[0])
        if table is None:
            continue
        mine = np.asarray(table["reading"] == "selected")
        time, event, group = (np.asarray(table[column])[mine] for column in ("time", "event", "risk_group"))
        if mine.any() and np.isin(group, ("high", "low")).all():
            yield f"km {name}", kaplan_meier(time, event, group, f"{name} on {board.title}")
    tables = {name: clinical[line.experiments[0]] for name, line in chosen.items() if line.experiments[0] in clinical}
    for curve in ("auc", "brier"):
        if (figure := over_time(tables, curve, title)) is not None:
            yield curve, figure
    for months in MONTHS:
        if (figure := calibration(tables, months, title)) is not None:
            yield f"calibration {months}", figure


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
