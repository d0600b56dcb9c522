"""What the page's template needs of comparisons: within a ranking, and across cohorts."""

import math
from dataclasses import asdict, dataclass

from markupsafe import Markup

from ...cache.store import Cache
from ...ranking.across import Across
from ...ranking.board import Board, Ranking, names_of
from ...ranking.evidence import Evidence, how
from .. import text_tables
from ..figures.critical_difference import critical_difference
from .inline_svg import inline_svg


@dataclass(frozen=True)
class PairView:
    """The leader against one line; `mid`, `low` and `high` are percentages of an axis with 0 in its middle."""

    name: str
    cells: tuple[str, ...]
    verdict: str
    mid: float
    low: float
    high: float


@dataclass(frozen=True)
class EvidenceView:
    """What the lead is worth: the verdict, the pairs, and (percent) the band of differences that would be missed."""

    leader: str
    verdict: str
    how: str
    columns: tuple[str, ...]
    pairs: tuple[PairView, ...]
    band: tuple[float, float] | None
    reach: str
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class AcrossView:
    """Models over cohorts: the table, and the critical-difference diagram."""

    title: str
    table: text_tables.TextTable
    diagram: Markup


def across_view(found: Across, key: str, cache: Cache) -> AcrossView:
    """Models over cohorts, for the page. `key` starts the ids of its elements."""
    shown = text_tables.across_table(found)
    sizes = f"{len(found.models)} models on {len(found.cohorts)} cohorts"
    description = f"Critical-difference diagram: mean ranks of {sizes}"
    diagram = cache.get(
        str,
        "critical-difference",
        lambda: [key, asdict(found)],
        lambda: str(inline_svg(critical_difference(found), key, description)),
    )
    return AcrossView(shown.title, shown, Markup(diagram))


def evidence_view(board: Board, ranking: Ranking, evidence: Evidence) -> EvidenceView:
    """The leader of a ranking against the other lines, for the page."""
    shown = text_tables.comparison_table(board, ranking, evidence, wide=True)
    names = names_of(ranking.lines)
    ends = [abs(end) for pair in evidence.pairs for end in (pair.difference.low, pair.difference.high)]
    reach = math.ceil(100 * max([*ends, evidence.detectable or 0.01]) + 0.5) / 100

    def place(value: float) -> float:
        return round(50 + 50 * value / reach, 2)

    pairs = tuple(
        PairView(
            names[pair.second],
            row[1:-1],
            pair.verdict,
            place(pair.difference.value),
            place(pair.difference.low),
            place(pair.difference.high),
        )
        for pair, row in zip(evidence.pairs, shown.rows, strict=True)
    )
    band = None if evidence.detectable is None else (place(-evidence.detectable), place(evidence.detectable))
    method = how(evidence.compared) if pairs else ""
    return EvidenceView(
        names[0], evidence.verdict, method, shown.columns[1:-1], pairs, band, f"{reach:.2f}", evidence.left_out
    )
