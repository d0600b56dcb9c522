"""Models over cohorts as one table: a row is a model as configured, a column one ranking of one cohort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ranking.board import Board, Line, Ranking, names_of
from ..text_tables import foremost


@dataclass(frozen=True)
class Score:
    """A cell: where it leads, its C-index, its rank among `of`, how deep its tint is (percent), whether it is shown
    to be below the clinical baseline, and whether it is set off as one that may be the best."""

    link: str
    value: float
    rank: int
    of: int
    tint: int
    below: bool
    top: bool


@dataclass(frozen=True)
class OverallRow:
    """A model over cohorts; None where it did not run."""

    line: Line
    name: str
    cells: tuple[Score | None, ...]


@dataclass(frozen=True)
class OverallView:
    """The table of all real, or of all synthetic cohorts. `columns` are (address, cohort, folds where they differ)."""

    synthetic: bool
    columns: tuple[tuple[str, str, str], ...]
    rows: tuple[OverallRow, ...]


def overall_views(boards: Sequence[Board], keys: Sequence[str], links: Mapping[str, str]) -> tuple[OverallView, ...]:
    """Real cohorts and synthetic ones, each apart; no table where there are fewer than two columns.

    `keys` are the addresses of the boards, `links` those of lines by their first experiment.
    """
    found = []
    for synthetic in (False, True):
        ranked = [
            (board, key, ranking)
            for board, key in zip(boards, keys, strict=True)
            for ranking in board.rankings
            if board.synthetic == synthetic
        ]
        if len(ranked) > 1:
            found.append(_view(synthetic, ranked, links))
    return tuple(found)


def _view(synthetic: bool, ranked: Sequence[tuple[Board, str, Ranking]], links: Mapping[str, str]) -> OverallView:
    columns = tuple(
        (key, board.cohort, ranking.folds_name if len(board.rankings) > 1 else "") for board, key, ranking in ranked
    )
    cells: dict[tuple, list[Score | None]] = {}
    lines: dict[tuple, Line] = {}
    for at, (_, _, ranking) in enumerate(ranked):
        for place, line in enumerate(ranking.lines):
            key = _identity(line)
            while key in cells and cells[key][at] is not None:  # the same settings twice in one ranking
                key = (*key, "again")
            lines.setdefault(key, line)
            cells.setdefault(key, [None] * len(ranked))[at] = _score(ranking, place, links)
    order = sorted(cells, key=lambda key: (_standing(cells[key]), lines[key].label))
    names = names_of([lines[key] for key in order])
    rows = (OverallRow(lines[key], name, tuple(cells[key])) for key, name in zip(order, names, strict=True))
    return OverallView(synthetic, columns, tuple(rows))


def _identity(line: Line) -> tuple:
    return (line.method, line.scales, line.backbone, line.loss, line.recipe, line.hyperparameters)


def _score(ranking: Ranking, place: int, links: Mapping[str, str]) -> Score:
    line, top = ranking.lines[place], ranking.lines[0].selected.mean or 0.5
    value = line.selected.mean or 0.0
    tint = round(100 * max(0.0, value - 0.5) / max(top - 0.5, 0.02))
    pair = None if ranking.evidence is None else ranking.evidence.against_baseline(place)
    below = pair is not None and pair.shown and pair.difference.value < 0
    return Score(
        links[line.experiments[0]],
        value,
        line.rank,
        len(ranking.lines),
        min(tint, 100),
        below,
        foremost(ranking, place),
    )


def _standing(cells: Sequence[Score | None]) -> tuple[int, float]:
    """Models of most cohorts first, then by their mean relative rank."""
    known = [cell for cell in cells if cell is not None]
    return -len(known), sum((cell.rank - 1) / max(cell.of - 1, 1) for cell in known) / len(known)
