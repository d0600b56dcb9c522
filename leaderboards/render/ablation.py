"""Ablation: how scales are fused, and which backbone is read, as the two axes of one table per ranking.

Every cell is held against a baseline, over the same patients and folds: the baseline model on the same backbone, or one
cell of the table (`model@backbone`). p-values are adjusted for all cells of the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ...survival.comparisons import IntervalEstimate
from ..ranking.board import CONTROL, IMPORTED, Board, Line, Ranking
from ..ranking.comparisons import Resampling
from ..ranking.derived import NOTHING_KEPT, Derived
from ..ranking.evidence import SURVIVES, Pair, how
from ..rows import RowError
from .latex import escape as latex_escape
from .latex import tabular
from .markdown import escape, table
from .text_tables import NONE, Sheet, interval, mean, p_value, scales, signed

STAR = (
    "Mean C-index over folds and its 95 % interval; then the difference to the baseline and its 95 % interval. A star: "
    "it survives both tests."
)


@dataclass(frozen=True)
class Cell:
    """One line of the ranking in its place: `pair` is it minus its baseline, None for the baseline itself and where
    nothing is known; `interval` is that of its own C-index."""

    line: Line
    interval: IntervalEstimate | None
    pair: Pair | None
    is_baseline: bool


@dataclass(frozen=True)
class Ablation:
    """One table. `rows` name fusions, `backbones` the columns; `cells` is (rows, backbones), None where nothing was
    run. `notes` say how cells were compared and what was left out."""

    title: str
    baseline: str
    rows: tuple[str, ...]
    backbones: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    notes: tuple[str, ...]


def ablations(
    boards: Sequence[Board],
    predictions: Mapping[str, pd.DataFrame],
    baseline: str | None = None,
    derived: Derived = NOTHING_KEPT,
) -> tuple[Ablation, ...]:
    """The table of every ranking that has at least two models of ours.

    baseline: a model, or `model@backbone`; where None, the first line of each ranking. Raises RowError where it is on
    no board.
    """
    found = []
    for board in boards:
        for ranking in board.rankings:
            lines = [line for line in ranking.lines if line.family not in (CONTROL, IMPORTED)]
            if len(lines) > 1 and (baseline is None or any(_is(line, baseline) for line in lines)):
                found.append(_ablation(board, ranking, predictions, baseline, derived))
    if baseline is not None and not found:
        known = sorted({line.model for board in boards for ranking in board.rankings for line in ranking.lines})
        raise RowError(f"no line of ours is called {baseline!r}; there are {', '.join(known)}")
    return tuple(found)


def ablation_sheet(found: Ablation) -> Sheet:
    """The table as text: in every cell the C-index with its interval, then the difference to the baseline with its
    own."""
    columns = ("Model", *found.backbones)
    rows = [(name, *(_cell(cell) for cell in cells)) for name, cells in zip(found.rows, found.cells, strict=True)]
    return Sheet(found.title, columns, (False, *(True for _ in found.backbones)), tuple(rows), found.notes)


def differences_sheet(found: Ablation) -> Sheet:
    """The same as a list: one row per cell, with p-values and verdict."""
    rows = []
    for name, cells in zip(found.rows, found.cells, strict=True):
        for backbone, cell in zip(found.backbones, cells, strict=True):
            if cell is None:
                continue
            head = (name, backbone, mean(cell.line.selected), interval(cell.interval) or NONE)
            if cell.pair is None:
                rows.append((*head, "baseline" if cell.is_baseline else NONE, *([NONE] * 4)))
                continue
            pair = cell.pair
            t_test = NONE if pair.p_t is None else p_value(pair.p_t)
            rows.append(
                (
                    *head,
                    signed(pair.difference.value),
                    interval(pair.difference, sign=True),
                    p_value(pair.p_bootstrap),
                    t_test,
                    pair.verdict,
                )
            )
    columns = (
        "Model", "Backbone", "C-index", "95 % interval", "Difference", "95 % interval of it", "p bootstrap", "p t-test",
        "Verdict",
    )  # fmt: skip
    return Sheet(f"{found.title}, cell by cell", columns, (False, False, *[True] * 6, False), tuple(rows), found.notes)


def _ablation(
    board: Board,
    ranking: Ranking,
    predictions: Mapping[str, pd.DataFrame],
    baseline: str | None,
    derived: Derived,
) -> Ablation:
    resampling = Resampling(ranking, predictions, derived)
    intervals = resampling.intervals()
    shown = [place for place, line in enumerate(ranking.lines) if line.family not in (CONTROL, IMPORTED)]
    leader = ranking.lines[shown[0]]
    wanted = baseline or leader.label
    named = {place: _name(ranking.lines[place], [ranking.lines[other] for other in shown]) for place in shown}
    backbones = tuple(sorted({ranking.lines[place].backbone or NONE for place in shown}))
    bases = _bases(ranking, shown, wanted, backbones)
    asked = [
        (place, base)
        for place in shown
        if (base := bases.get(ranking.lines[place].backbone or NONE)) is not None
        and base != place
        and {place, base} <= set(resampling.places)
    ]
    pairs = {pair.first: pair for pair in resampling.pairs(asked)}
    # The baseline first, then by the best cell of each row: the ranking is in that order already.
    rows = list(dict.fromkeys(named[place] for place in shown))
    rows.sort(key=lambda name: not any(named[base] == name for base in bases.values()))
    cells: list[list[Cell | None]] = [[None] * len(backbones) for _ in rows]
    for place in reversed(shown):  # of two lines in one place the better one is shown
        line = ranking.lines[place]
        at = (rows.index(named[place]), backbones.index(line.backbone or NONE))
        cells[at[0]][at[1]] = Cell(
            line, intervals[place].get("selected"), pairs.get(place), place in set(bases.values())
        )
    notes = [f"Baseline: {wanted}{'' if '@' in wanted else ', on the same backbone'}."]
    notes += [how(resampling.resamples or derived.resamples)] if pairs else []
    notes += [f"Left out: {reason}." for reason in resampling.left_out]
    title = f"{board.title}: fusion and backbone, folds {ranking.folds_name}"
    return Ablation(title, wanted, tuple(rows), backbones, tuple(tuple(row) for row in cells), tuple(notes))


def _bases(ranking: Ranking, shown: Sequence[int], baseline: str, backbones: Sequence[str]) -> dict[str, int]:
    """The place of the baseline for each backbone; of several lines that fit, the best."""
    found: dict[str, int] = {}
    for place in shown:
        line = ranking.lines[place]
        if _is(line, baseline):
            for backbone in backbones if "@" in baseline else (line.backbone or NONE,):
                found.setdefault(backbone, place)
    return found


def _is(line: Line, baseline: str) -> bool:
    model, _, backbone = baseline.partition("@")
    return model in (line.model, line.label) and backbone in ("", line.backbone)


def _name(line: Line, lines: Sequence[Line]) -> str:
    """What tells a row from the others: the model and its settings, scales, and loss and recipe where they differ."""
    words = [line.label]
    sisters = [other for other in lines if other.label == line.label]
    if len({other.scales for other in sisters}) > 1 or line.family == "single-scale":
        words.append(scales(line.scales))
    words += [str(getattr(line, field)) for field in ("loss", "recipe") if len({getattr(o, field) for o in lines}) > 1]
    return " ".join(words)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return NONE
    head = f"{mean(cell.line.selected)} {interval(cell.interval)}".strip()
    if cell.pair is None:
        return f"{head} (baseline)" if cell.is_baseline else head
    mark = "*" if cell.pair.verdict == SURVIVES else ""
    return f"{head}; {signed(cell.pair.difference.value)}{mark} {interval(cell.pair.difference, sign=True)}"


def ablation_markdown(found: Sequence[Ablation]) -> str:
    """All tables as one Markdown text: each as a matrix, then cell by cell."""
    parts = ["# Ablation", STAR]
    for one in found:
        for sheet in (ablation_sheet(one), differences_sheet(one)):
            parts += [f"## {escape(sheet.title)}", table(sheet)]
        parts += [f"> {escape(note)}" for note in one.notes]
    return "\n\n".join(parts) + "\n"


def ablation_latex(found: Sequence[Ablation]) -> str:
    """All tables for a paper, each as a matrix and cell by cell; needs `booktabs`."""
    parts = ["% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}."]
    for one in found:
        for sheet in (ablation_sheet(one), differences_sheet(one)):
            caption = latex_escape(" ".join((f"{sheet.title}.", STAR, *one.notes)))
            parts.append(tabular(sheet, caption, range(len(sheet.columns))))
    return "\n\n".join(parts) + "\n"
