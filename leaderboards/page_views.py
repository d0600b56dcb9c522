"""What the page's template needs of a board, reckoned beforehand, so that the template only lays out."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from . import sheets
from .experiments import Incomplete
from .figures import forest, kaplan_meier, p_text
from .inline_svg import inline_svg
from .ranking import Board, Line, Ranking, Spread
from .rows import Row


@dataclass(frozen=True)
class Bar:
    """The small forest bar of a line; every number is a percentage of the ranking's common axis."""

    mean: float
    low: float
    high: float
    folds: tuple[float, ...]
    best: float | None


@dataclass(frozen=True)
class Cell:
    """A cell that can be sorted: its text, the number behind it (None sorts last), and a hint."""

    name: str
    text: str
    value: float | None
    hint: str = ""


@dataclass(frozen=True)
class LineView:
    """One line of the page: its bar, its sortable cells, and what opening it shows."""

    line: Line
    key: str
    scales: tuple[str, ...]
    setting: str
    bar: Bar | None
    cells: tuple[Cell, ...]
    folds: sheets.Sheet
    missing: tuple[str, ...]
    curve: Markup | None
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
    forest: Markup
    leader: Markup | None


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
    low, high = _axis(lines)

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    step = next(step for step in (0.02, 0.05, 0.1, 0.2) if (high - low) / step <= 5 or step == 0.2)
    ticks = [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    oracle = max((line.spreads["oracle_c_index"].mean or 0.0 for line in lines), default=0.0)
    sizes = sorted({(line.patients, line.events) for line in lines})
    facts = [f"{patients} patients, {events} events" for patients, events in sizes]
    facts += [f"{lines[0].n_folds} folds: {ranking.folds_name}"]
    facts += [f"oracle C-index {oracle:.3f}"] if oracle else []
    views = tuple(_line(board, line, f"{key}l{number}", place, predictions) for number, line in enumerate(lines, 1))
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
        forest=inline_svg(forest(lines, width=5.6), f"{key}f", description),
        leader=leader,
    )


def _axis(lines: tuple[Line, ...]) -> tuple[float, float]:
    """The common axis of a ranking: room for every fold, every mean ± SD and chance, on whole hundredths."""
    values = [0.5]
    for line in lines:
        mean, sd = line.selected.mean or 0.5, line.selected.sd or 0.0
        best, oracle = line.spreads["c_index_best"].mean, line.spreads["oracle_c_index"].mean
        values += [mean - sd, mean + sd, *line.folds["selected"], best or mean, oracle or mean]
    return math.floor(100 * min(values) - 1) / 100, math.ceil(100 * max(values) + 1) / 100


def _line(board: Board, line: Line, key: str, place, predictions: Mapping[str, pd.DataFrame]) -> LineView:
    mean, sd, best = line.selected.mean, line.selected.sd or 0.0, line.spreads["c_index_best"].mean
    bar = None
    if mean is not None:
        folds = tuple(place(fold) for fold in line.folds["selected"])
        bar = Bar(place(mean), place(mean - sd), place(mean + sd), folds, None if best is None else place(best))
    shown = [experiment for experiment in line.experiments if experiment in predictions][:1]
    return LineView(
        line=line,
        key=key,
        scales=tuple(scale.strip() for scale in (line.scales or "").split(",") if scale.strip()),
        setting=" · ".join(word for word in (line.backbone, line.loss, line.recipe) if word),
        bar=bar,
        cells=_cells(line),
        folds=_folds(line),
        missing=_missing(line),
        curve=_curve(board, line, key, predictions[shown[0]]) if shown else None,
        facts=_facts(line),
        commands=tuple(dict.fromkeys(row["command"] for row in line.rows if row.get("command"))),
    )


def _cells(line: Line) -> tuple[Cell, ...]:
    def metric(name: str, key: str, digits: int = 3) -> Cell:
        spread = line.spreads[key]
        text = sheets.NONE if spread.mean is None else f"{spread.mean:.{digits}f}"
        partial = "" if spread.n == spread.of else f"{spread.n} of {spread.of} folds have a value"
        return Cell(name, text + "*" * bool(partial and spread.mean is not None), spread.mean, partial)

    null = line.spreads["ibs_km"].mean
    ibs = metric("IBS", "ibs_selected")
    hint = ibs.hint or ("" if null is None else f"Kaplan-Meier null {null:.3f}")
    return (
        metric("Last", "c_index_last"),
        metric("Best", "c_index_best"),
        Cell("Optimism", sheets.signed(line.gap), line.gap),
        metric("Uno's C", "uno_c_selected"),
        Cell(
            "AUC 12/36/60",
            sheets.aucs(line).replace(" ", ""),
            line.spreads["auc_36_selected"].mean,
            "sorted by 36 months",
        ),
        Cell(ibs.name, ibs.text, ibs.value, hint),
        Cell("Params", sheets.quantity(line.parameters), line.parameters),
        Cell("s/fold", sheets.seconds(line.seconds), line.seconds),
    )


_FOLD_COLUMNS = (
    ("Selected", "c_index_selected", 3),
    ("Last", "c_index_last", 3),
    ("Best", "c_index_best", 3),
    ("Uno's C", "uno_c_selected", 3),
    ("AUC 12", "auc_12_selected", 2),
    ("AUC 36", "auc_36_selected", 2),
    ("AUC 60", "auc_60_selected", 2),
    ("IBS", "ibs_selected", 3),
    ("IBS of KM", "ibs_km", 3),
)


def _folds(line: Line) -> sheets.Sheet:
    """Every fold of every seed: the three readings of the C-index, the other metrics at selected."""
    rows = []
    for row in line.rows:
        numbers = [_number(row.get(key), digits) for _, key, digits in _FOLD_COLUMNS]
        epochs = "/".join(str(row.get(f"epoch_{kind}", "")) for kind in ("selected", "last", "best"))
        p = row.get("logrank_p_selected")
        p_cell = sheets.NONE if p is None else p_text(p).removeprefix("= ")
        test = f"{row['n_test']} ({row['events_test']})"
        rows.append(
            (str(row["seed"]), str(row["fold"]), test, *numbers, p_cell, epochs, sheets.seconds(row.get("seconds")))
        )
    names = ("Seed", "Fold", "Test (died)", *(name for name, _, _ in _FOLD_COLUMNS), "Log-rank p", "Epochs s/l/b", "s")
    return sheets.Sheet("Folds", names, (True,) * len(names), tuple(rows))


def _missing(line: Line) -> tuple[str, ...]:
    """Which metrics have no value on which fold, and why."""
    found = []
    for row in line.rows:
        keys = sorted(key for key in row if key.startswith("why_") and row[key])
        found += [f"seed {row['seed']}, fold {row['fold']}, {key.removeprefix('why_')}: {row[key]}" for key in keys]
    return tuple(found)


def _curve(board: Board, line: Line, key: str, table: pd.DataFrame) -> Markup | None:
    """Kaplan-Meier curves of the out-of-fold risk groups at `selected`, of the line's first seed."""
    mine = np.asarray(table["reading"] == "selected")
    time, event, group = (np.asarray(table[column])[mine] for column in ("time", "event", "risk_group"))
    if not mine.any() or not np.isin(group, ("high", "low")).all():
        return None
    figure = kaplan_meier(time, event, group)
    description = f"Kaplan-Meier curves of the high-risk and low-risk group of {line.label} on {board.title}"
    return inline_svg(figure, f"{key}k", description)


def _facts(line: Line) -> tuple[tuple[str, str], ...]:
    settings = json.loads(line.hyperparameters)
    words = ", ".join(f"{name}={json.dumps(settings[name])}" for name in sorted(settings))
    facts = [
        ("Hyperparameters", words or "none"),
        ("Seeds", ", ".join(str(seed) for seed in line.seeds)),
        ("Experiments", ", ".join(line.experiments)),
        ("Patients", f"{line.patients}, of whom {line.events} died"),
        ("Slides", line.slides or sheets.NONE),
    ]
    for title, key in (
        ("Labels", "labels_fingerprint"),
        ("Folds", "folds_fingerprint"),
        ("Features", "features_fingerprint"),
        ("milsurv", "code_version"),
        ("torch", "torch_version"),
        ("Device", "device"),
        ("Hardware", "hardware"),
    ):
        facts.append((title, ", ".join(_values(line.rows, key)) or "not recorded"))
    created = _values(line.rows, "created")
    if created:
        facts.append(("Run", created[0] if len(created) == 1 else f"{min(created)} to {max(created)}"))
    total = sum(row.get("seconds") or 0.0 for row in line.rows)
    facts.append(("Time", f"{total:.0f} s for {len(line.rows)} trainings"))
    return tuple(facts)


def _values(rows: tuple[Row, ...], key: str) -> list[str]:
    return list(dict.fromkeys(str(row[key]) for row in rows if row.get(key)))


def _number(value: float | None, digits: int) -> str:
    return sheets.mean(Spread(value, None, 1, 1), digits)
