"""Ablation: how scales are fused, and which backbone is read, as the two axes of one table per ranking.

Every cell is compared with a reference, over the same patients and folds: the reference model on the same backbone, or
one cell of the table (`model@backbone`). What is shown of a pair is what its ranking shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ...errors import RowError
from ...survival.comparisons import IntervalEstimate
from ..ranking.board import BASELINE, IMPORTED, Board, Line, Ranking
from ..ranking.comparisons import Errors
from ..ranking.evidence import Pair, how
from ..ranking.published_evidence import NO_EVIDENCE, PublishedEvidence
from .latex import escape as latex_escape
from .latex import tabular
from .markdown import escape, table
from .text_tables import NONE, TextTable, interval, mean, p_value, scales, signed

STAR = (
    "Mean C-index over folds and its 95 % interval; then the difference to the reference and its 95 % interval. A "
    "star: it is shown."
)


@dataclass(frozen=True)
class AblationCell:
    """One line of the ranking in its place: `pair` is it minus its reference, None for the reference itself and where
    nothing is known; `interval` is that of its own C-index."""

    line: Line
    interval: IntervalEstimate | None
    pair: Pair | None
    is_reference: bool


@dataclass(frozen=True)
class Ablation:
    """One table. `rows` name fusions, `backbones` the columns; `cells` is (rows, backbones), None where nothing was
    run. `notes` say how cells were compared and what was left out."""

    title: str
    reference: str
    rows: tuple[str, ...]
    backbones: tuple[str, ...]
    cells: tuple[tuple[AblationCell | None, ...], ...]
    notes: tuple[str, ...]


def ablations(
    boards: Sequence[Board],
    predictions: Mapping[str, pd.DataFrame],
    reference: str | None = None,
    published: PublishedEvidence = NO_EVIDENCE,
) -> tuple[Ablation, ...]:
    """The table of every ranking that has at least two models of ours.

    reference: a model, or `model@backbone`; where None, the first line of each ranking. Raises RowError where it is on
    no board.
    """
    found = []
    for board in boards:
        for ranking in board.rankings:
            lines = [line for line in ranking.lines if line.family not in (BASELINE, IMPORTED)]
            if len(lines) > 1 and (reference is None or any(_is(line, reference) for line in lines)):
                found.append(_ablation(board, ranking, predictions, reference, published))
    if reference is not None and not found:
        known = sorted({line.model for board in boards for ranking in board.rankings for line in ranking.lines})
        raise RowError(f"no line of ours is called {reference!r}; there are {', '.join(known)}")
    return tuple(found)


def ablation_table(found: Ablation) -> TextTable:
    """The table as text: in every cell the C-index with its interval, then the difference to the reference with its
    own."""
    columns = ("Model", *found.backbones)
    rows = [(name, *(_cell(cell) for cell in cells)) for name, cells in zip(found.rows, found.cells, strict=True)]
    return TextTable(found.title, columns, (False, *(True for _ in found.backbones)), tuple(rows), found.notes)


def differences_table(found: Ablation) -> TextTable:
    """The same as a list: one row per cell, with p-values and verdict."""
    rows = []
    for name, cells in zip(found.rows, found.cells, strict=True):
        for backbone, cell in zip(found.backbones, cells, strict=True):
            if cell is None:
                continue
            head = (name, backbone, mean(cell.line.selected), interval(cell.interval) or NONE)
            if cell.pair is None:
                rows.append((*head, "reference" if cell.is_reference else NONE, *([NONE] * 4)))
                continue
            pair = cell.pair
            rows.append(
                (
                    *head,
                    signed(pair.difference.value),
                    interval(pair.difference, sign=True),
                    p_value(pair.difference.p),
                    p_value(pair.p_adjusted),
                    pair.verdict,
                )
            )
    columns = (
        "Model", "Backbone", "C-index", "95 % interval", "Difference", "95 % interval of it", "p", "p adjusted",
        "Verdict",
    )  # fmt: skip
    return TextTable(
        f"{found.title}, cell by cell", columns, (False, False, *[True] * 6, False), tuple(rows), found.notes
    )


def _ablation(
    board: Board,
    ranking: Ranking,
    predictions: Mapping[str, pd.DataFrame],
    reference: str | None,
    published: PublishedEvidence,
) -> Ablation:
    errors = Errors(ranking, predictions, published)
    intervals = errors.intervals()
    shown = [place for place, line in enumerate(ranking.lines) if line.family not in (BASELINE, IMPORTED)]
    leader = ranking.lines[shown[0]]
    chosen = reference or leader.label
    named = {place: _name(ranking.lines[place], [ranking.lines[other] for other in shown]) for place in shown}
    backbones = tuple(sorted({ranking.lines[place].backbone or NONE for place in shown}))
    bases = _bases(ranking, shown, chosen, backbones)
    compared = [
        (place, base)
        for place in shown
        if (base := bases.get(ranking.lines[place].backbone or NONE)) is not None
        and base != place
        and {place, base} <= set(errors.places)
    ]
    pairs = {pair.first: pair for pair in errors.pairs(compared)}
    # The reference first, then by the best cell of each row: the ranking is in that order already.
    rows = list(dict.fromkeys(named[place] for place in shown))
    rows.sort(key=lambda name: not any(named[base] == name for base in bases.values()))
    cells: list[list[AblationCell | None]] = [[None] * len(backbones) for _ in rows]
    for place in reversed(shown):  # of two lines in one place the better one is shown
        line = ranking.lines[place]
        at = (rows.index(named[place]), backbones.index(line.backbone or NONE))
        cells[at[0]][at[1]] = AblationCell(
            line, intervals[place].get("selected"), pairs.get(place), place in set(bases.values())
        )
    notes = [f"Compared with {chosen}{'' if '@' in chosen else ', on the same backbone'}."]
    notes += [how(len(errors.every))] if pairs else []
    notes += [f"Left out: {reason}." for reason in errors.left_out]
    title = f"{board.title}: fusion and backbone, folds {ranking.folds_name}"
    return Ablation(title, chosen, tuple(rows), backbones, tuple(tuple(row) for row in cells), tuple(notes))


def _bases(ranking: Ranking, shown: Sequence[int], reference: str, backbones: Sequence[str]) -> dict[str, int]:
    """The place of the reference for each backbone; of several lines that fit, the best."""
    found: dict[str, int] = {}
    for place in shown:
        line = ranking.lines[place]
        if _is(line, reference):
            for backbone in backbones if "@" in reference else (line.backbone or NONE,):
                found.setdefault(backbone, place)
    return found


def _is(line: Line, reference: str) -> bool:
    model, _, backbone = reference.partition("@")
    return model in (line.method, line.label) and backbone in ("", line.backbone)


def _name(line: Line, lines: Sequence[Line]) -> str:
    """What tells a row from the others: the model and its settings, scales, and loss and recipe where they differ."""
    words = [line.label]
    sisters = [other for other in lines if other.label == line.label]
    if len({other.scales for other in sisters}) > 1 or line.family == "single-scale":
        words.append(scales(line.scales))
    words += [str(getattr(line, field)) for field in ("loss", "recipe") if len({getattr(o, field) for o in lines}) > 1]
    return " ".join(words)


def _cell(cell: AblationCell | None) -> str:
    if cell is None:
        return NONE
    head = f"{mean(cell.line.selected)} {interval(cell.interval)}".strip()
    if cell.pair is None:
        return f"{head} (reference)" if cell.is_reference else head
    mark = "*" if cell.pair.shown else ""
    return f"{head}; {signed(cell.pair.difference.value)}{mark} {interval(cell.pair.difference, sign=True)}"


def ablation_markdown(found: Sequence[Ablation]) -> str:
    """All tables as one Markdown text: each as a matrix, then cell by cell."""
    parts = ["# Ablation", STAR]
    for one in found:
        for shown in (ablation_table(one), differences_table(one)):
            parts += [f"## {escape(shown.title)}", table(shown)]
        parts += [f"> {escape(note)}" for note in one.notes]
    return "\n\n".join(parts) + "\n"


def ablation_latex(found: Sequence[Ablation]) -> str:
    """All tables for a paper, each as a matrix and cell by cell; needs `booktabs`."""
    parts = ["% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}."]
    for one in found:
        for shown in (ablation_table(one), differences_table(one)):
            caption = latex_escape(" ".join((f"{shown.title}.", STAR, *one.notes)))
            parts.append(tabular(shown, caption, range(len(shown.columns))))
    return "\n\n".join(parts) + "\n"
