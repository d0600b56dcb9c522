"""The overview: every ranking in one row, with who leads, by how much, and what that is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ranking.board import Board, Ranking, names_of
from .. import text_tables


@dataclass(frozen=True)
class OverviewRow:
    """One ranking.

    `leader` and `baseline` are the first model and the clinical baseline as (name, address, C-index), of the leader
    also its interval; `against` says what is shown of the leader against that baseline; `best` is how many lines may be
    the best, as `2 of 9`, and `best_names` which.
    """

    key: str
    title: str
    synthetic: bool
    folds: str
    size: str
    leader: tuple[str, str, str, str] | None
    baseline: tuple[str, str, str] | None
    against: str
    best: str
    best_names: str
    provisional: bool
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
    model = ranking.best_model
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
    pair = None if evidence is None or model is None else evidence.against_baseline(model)
    against = "" if pair is None or not pair.shown else "above" if pair.difference.value > 0 else "below"
    compared = evidence is not None and bool(evidence.pairs)
    best = evidence.best if evidence is not None and compared else ()
    return OverviewRow(
        key,
        board.cohort,
        board.synthetic,
        ranking.folds_name,
        f"{first.patients} ({first.events})",
        leader,
        None if baseline is None else named(ranking.lines.index(baseline)),
        against,
        f"{len(best)} of {len(ranking.lines)}" if compared else text_tables.NONE,
        ", ".join(names[place] for place in best),
        evidence is not None and bool(set(best) & set(evidence.provisional)),
        text_tables.NONE if detectable is None else f"{detectable:.3f}",
    )
