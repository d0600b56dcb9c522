"""The overview: every ranking in one row, with who leads, by how much, and what that is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ranking.board import BASELINE, Board, Ranking, names_of
from .. import text_tables


@dataclass(frozen=True)
class OverviewRow:
    """One ranking.

    `leader` and `baseline` are the best model and the best baseline as (name, address, C-index), of the leader also its
    interval; `shown` is `Evidence.lead_shown`.
    """

    key: str
    title: str
    synthetic: bool
    folds: str
    size: str
    leader: tuple[str, str, str, str] | None
    baseline: tuple[str, str, str] | None
    below: bool
    shown: str
    detectable: str


def overview(boards: Sequence[Board], keys: Sequence[str], links: Mapping[str, str]) -> tuple[OverviewRow, ...]:
    """All rankings, in the order of the page."""
    return tuple(
        overview_row(board, key, ranking, links)
        for board, key in zip(boards, keys, strict=True)
        for ranking in board.rankings
    )


def overview_row(board: Board, key: str, ranking: Ranking, links: Mapping[str, str]) -> OverviewRow:
    """One ranking of the board at the address `key`."""
    model = next((place for place, line in enumerate(ranking.lines) if line.family != BASELINE), None)
    evidence, baseline = ranking.evidence, ranking.baseline
    detectable = None if evidence is None else evidence.detectable
    names = names_of(ranking.lines)

    def named(place: int) -> tuple[str, str, str]:
        line = ranking.lines[place]
        return names[place], links[line.experiments[0]], text_tables.mean(line.selected)

    leader = None
    if model is not None:
        interval = text_tables.interval(None if evidence is None else evidence.intervals[model].get("selected"))
        leader = (*named(model), interval)
    first = ranking.lines[0]
    return OverviewRow(
        key,
        board.cohort,
        board.synthetic,
        ranking.folds_name,
        f"{first.patients} ({first.events})",
        leader,
        None if baseline is None else named(ranking.lines.index(baseline)),
        model is not None and model in ranking.below_baseline,
        (evidence and evidence.lead_shown) or text_tables.NONE,
        text_tables.NONE if detectable is None else f"{detectable:.3f}",
    )
