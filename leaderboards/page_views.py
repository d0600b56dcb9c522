"""What the page's template needs of a board, reckoned beforehand, so that the template only lays out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from . import sheets
from .evidence_views import EvidenceView, evidence_view
from .experiments import Incomplete
from .figures import forest, kaplan_meier
from .inline_svg import inline_svg
from .line_details import facts, folds_sheet, missing
from .ranking import IMPORTED, Board, Line, Ranking

CURVES = 12
"""Lines of one ranking whose Kaplan-Meier curves are set into the page; each costs it some 30 kB."""


@dataclass(frozen=True)
class Bar:
    """The small forest bar of a line; every number is a percentage of the ranking's common axis."""

    mean: float
    low: float
    high: float
    folds: tuple[float, ...]
    best: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Cell:
    """A cell that can be sorted: its text, the number behind it (None sorts last), a hint, and a second small line."""

    name: str
    text: str
    value: float | None
    hint: str = ""
    below: str = ""


@dataclass(frozen=True)
class LineView:
    """One line of the page: its bar, its sortable cells, and what opening it shows."""

    line: Line
    key: str
    marks: tuple[str, ...]
    interval: str
    scales: tuple[str, ...]
    setting: str
    bar: Bar | None
    cells: tuple[Cell, ...]
    folds: sheets.Sheet
    missing: tuple[str, ...]
    curve: Markup | None
    no_curve: str
    facts: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class RankingView:
    """One table of the page, its axis (percent, label), and its forest plot."""

    ranking: Ranking
    key: str
    facts: tuple[str, ...]
    lines: tuple[LineView, ...]
    ticks: tuple[tuple[float, str], ...]
    chance: float
    oracle: float | None
    control: float | None
    control_note: str
    forest: Markup
    leader: Markup | None
    evidence: EvidenceView | None


@dataclass(frozen=True)
class BoardView:
    """One cohort of the page."""

    key: str
    board: Board
    rankings: tuple[RankingView, ...]
    incomplete: tuple[Incomplete, ...]


def board_view(board: Board, key: str, predictions: Mapping[str, pd.DataFrame]) -> BoardView:
    """Everything the page shows of one board. `key` starts the ids of its elements."""
    rankings = tuple(
        _ranking(board, ranking, f"{key}r{number}", predictions) for number, ranking in enumerate(board.rankings, 1)
    )
    return BoardView(key, board, rankings, board.incomplete)


def _ranking(board: Board, ranking: Ranking, key: str, predictions: Mapping[str, pd.DataFrame]) -> RankingView:
    lines = ranking.lines
    low, high = _axis(ranking)

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    step = next(step for step in (0.02, 0.05, 0.1, 0.2) if (high - low) / step <= 5 or step == 0.2)
    ticks = [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    oracle = max((line.spreads["oracle_c_index"].mean or 0.0 for line in lines), default=0.0)
    sizes = sorted({(line.patients, line.events) for line in lines})
    facts = [f"{patients} patients, {events} events" for patients, events in sizes]
    facts += [f"{lines[0].n_folds} folds: {ranking.folds_name}"]
    facts += [ranking.slides] if ranking.slides else []
    facts += [f"oracle C-index {oracle:.3f}"] if oracle else []
    control = ranking.control.selected.mean if ranking.control else None
    views = tuple(
        _line(board, ranking, number, f"{key}l{number + 1}", place, predictions) for number in range(len(lines))
    )
    # The leader's curves stand below the table too, under ids of their own.
    leader = (
        None if views[0].curve is None else Markup(str(views[0].curve).replace(f"{views[0].key}k-", f"{key}leader-"))
    )
    description = f"Forest plot of the C-index on {board.title}: folds, mean and standard deviation of each line"
    return RankingView(
        ranking=ranking,
        key=key,
        facts=tuple(facts),
        lines=views,
        ticks=tuple((place(tick), f"{tick:.2f}") for tick in ticks),
        chance=place(0.5),
        oracle=place(oracle) if oracle else None,
        control=None if control is None else place(control),
        control_note=" ".join(sheets.control_notes(ranking)),
        forest=inline_svg(forest(lines, width=5.6), f"{key}f", description),
        leader=leader,
        evidence=None if ranking.evidence is None else evidence_view(board, ranking, ranking.evidence),
    )


def _axis(ranking: Ranking) -> tuple[float, float]:
    """The common axis of a ranking: room for every fold, mean ± SD, interval and chance, on whole hundredths."""
    values = [0.5]
    if ranking.evidence is not None:
        drawn = [found["selected"] for found in ranking.evidence.intervals if "selected" in found]
        values += [end for found in drawn for end in (found.low, found.high)]
    for line in ranking.lines:
        mean, sd = line.selected.mean or 0.5, line.selected.sd or 0.0
        best, oracle = line.spreads["c_index_best"].mean, line.spreads["oracle_c_index"].mean
        values += [mean - sd, mean + sd, *line.folds["selected"], best or mean, oracle or mean]
    return math.floor(100 * min(values) - 1) / 100, math.ceil(100 * max(values) + 1) / 100


def _line(
    board: Board,
    ranking: Ranking,
    number: int,
    key: str,
    place: Callable[[float], float],
    predictions: Mapping[str, pd.DataFrame],
) -> LineView:
    line = ranking.lines[number]
    intervals = {} if ranking.evidence is None else ranking.evidence.intervals[number]
    drawn = intervals.get("selected")
    seeds = f"{len(line.seeds)} seeds" if len(line.seeds) > 1 else ""
    mean, sd, best = line.selected.mean, line.selected.sd or 0.0, line.spreads["c_index_best"].mean
    bar = None
    if mean is not None:
        folds = tuple(place(fold) for fold in line.folds["selected"])
        bar = Bar(
            place(mean),
            place(mean - sd),
            place(mean + sd),
            folds,
            None if best is None else place(best),
            None if drawn is None else (place(drawn.low), place(drawn.high)),
        )
    shown = [experiment for experiment in line.experiments if experiment in predictions][:1]
    curve = _curve(board, line, key, predictions[shown[0]]) if shown and number < CURVES else None
    reason = "The risk groups of this line's patients were not kept, so there are no curves to show."
    if number >= CURVES:
        reason = f"Only the first {CURVES} lines of a table show their curves, to keep the page small."
    elif line.family == IMPORTED:
        reason = "Imported without risk groups, so there are no curves to show."
    return LineView(
        line=line,
        key=key,
        marks=sheets.marks(ranking, number),
        interval=sheets.interval(drawn),
        scales=tuple(scale.strip() for scale in (line.scales or "").split(",") if scale.strip()),
        setting=" · ".join(word for word in (line.backbone, line.loss, line.recipe, seeds) if word),
        bar=bar,
        cells=_cells(line, {name: sheets.interval(found, 2) for name, found in intervals.items()}),
        folds=folds_sheet(line),
        missing=missing(line),
        curve=curve,
        no_curve=reason,
        facts=facts(line),
        commands=tuple(dict.fromkeys(row["command"] for row in line.rows if row.get("command"))),
    )


def _cells(line: Line, intervals: Mapping[str, str]) -> tuple[Cell, ...]:
    def metric(name: str, key: str, below: str = "") -> Cell:
        spread = line.spreads[key]
        text = sheets.NONE if spread.mean is None else f"{spread.mean:.3f}"
        partial = "" if spread.n == spread.of else f"{spread.n} of {spread.of} folds have a value"
        return Cell(name, text + "*" * bool(partial and spread.mean is not None), spread.mean, partial, below)

    null = line.spreads["ibs_km"].mean
    ibs = metric("IBS", "ibs_selected")
    hint = ibs.hint or ("" if null is None else f"Kaplan-Meier null {null:.3f}")
    return (
        metric("Last", "c_index_last", intervals.get("last", "")),
        metric("Best", "c_index_best", intervals.get("best", "")),
        Cell("Optimism", sheets.signed(line.gap), line.gap),
        metric("Uno's C", "uno_c_selected"),
        Cell(
            "AUC 12/36/60",
            sheets.at_months(line, "auc", 2).replace(" ", ""),
            line.spreads["auc_36_selected"].mean,
            "sorted by 36 months",
        ),
        Cell(ibs.name, ibs.text, ibs.value, hint),
        Cell("Params", sheets.quantity(line.parameters), line.parameters),
        Cell("s/fold", sheets.seconds(line.seconds), line.seconds),
    )


def _curve(board: Board, line: Line, key: str, table: pd.DataFrame) -> Markup | None:
    """Kaplan-Meier curves of the out-of-fold risk groups at `selected`, of the line's first seed."""
    mine = np.asarray(table["reading"] == "selected")
    time, event, group = (np.asarray(table[column])[mine] for column in ("time", "event", "risk_group"))
    if not mine.any() or not np.isin(group, ("high", "low")).all():
        return None
    figure = kaplan_meier(time, event, group)
    description = f"Kaplan-Meier curves of the high-risk and low-risk group of {line.label} on {board.title}"
    return inline_svg(figure, f"{key}k", description)
