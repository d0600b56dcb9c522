"""Every ranking in one row: who leads, by how much, and what that is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ranking.board import CONTROL, Board, Ranking, names_of
from .. import text_tables as sheets


@dataclass(frozen=True)
class Glance:
    """One ranking.

    `leader` and `control` are the best model and the best control as (name, address, C-index), of the leader also its
    interval; `shown` is `Evidence.lead_shown`.
    """

    key: str
    title: str
    synthetic: bool
    folds: str
    size: str
    leader: tuple[str, str, str, str] | None
    control: tuple[str, str, str] | None
    below: bool
    shown: str
    detectable: str


def glance(boards: Sequence[Board], keys: Sequence[str], links: Mapping[str, str]) -> tuple[Glance, ...]:
    """All rankings, in the order of the page."""
    return tuple(
        glance_at(board, key, ranking, links)
        for board, key in zip(boards, keys, strict=True)
        for ranking in board.rankings
    )


def glance_at(board: Board, key: str, ranking: Ranking, links: Mapping[str, str]) -> Glance:
    """One ranking of the board at the address `key`."""
    model = next((place for place, line in enumerate(ranking.lines) if line.family != CONTROL), None)
    evidence, control = ranking.evidence, ranking.control
    detectable = None if evidence is None else evidence.detectable
    names = names_of(ranking.lines)

    def named(place: int) -> tuple[str, str, str]:
        line = ranking.lines[place]
        return names[place], links[line.experiments[0]], sheets.mean(line.selected)

    leader = None
    if model is not None:
        interval = sheets.interval(None if evidence is None else evidence.intervals[model].get("selected"))
        leader = (*named(model), interval)
    first = ranking.lines[0]
    return Glance(
        key,
        board.cohort,
        board.synthetic,
        ranking.folds_name,
        f"{first.patients} ({first.events})",
        leader,
        None if control is None else named(ranking.lines.index(control)),
        model is not None and model in ranking.below_control,
        (evidence and evidence.lead_shown) or sheets.NONE,
        sheets.NONE if detectable is None else f"{detectable:.3f}",
    )
