"""Evidence of boards, from the cache where rows and predictions are the same as before."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ...survival.risk_groups import GroupCurves
from ..cache.predictions import fingerprint
from ..cache.store import Cache
from ..predictions import risk_group_curves
from .board import Board, Ranking
from .comparisons import evidence
from .evidence import Evidence
from .published_evidence import PublishedEvidence

Predictions = Mapping[str, pd.DataFrame]


def with_cached_evidence(
    boards: Sequence[Board], predictions: Predictions, published: PublishedEvidence, cache: Cache
) -> tuple[Board, ...]:
    """The boards with the evidence of every ranking; the arguments are those of `comparisons.with_evidence`."""

    def of_ranking(ranking: Ranking) -> Ranking:
        names = [name for line in ranking.lines for name in line.experiments if name in predictions]

        def inputs() -> dict[str, object]:
            return {
                "lines": [[line.label, line.family, [row.to_json() for row in line.rows]] for line in ranking.lines],
                "predictions": {name: fingerprint(predictions, name) for name in names},
                "published": published.text,
            }

        found = cache.get(Evidence, "evidence", inputs, lambda: evidence(ranking, predictions, published, cache))
        return replace(ranking, evidence=found)

    return tuple(replace(board, rankings=tuple(map(of_ranking, board.rankings))) for board in boards)


def cached_curves(name: str, predictions: Predictions, cache: Cache) -> GroupCurves | None:
    """The Kaplan-Meier curves of the risk groups of the experiment `name`."""
    return cache.get(
        GroupCurves | None,  # pyright: ignore[reportArgumentType]  # a union is no class, and msgspec takes it
        "curves",
        lambda: fingerprint(predictions, name),
        lambda: risk_group_curves(predictions[name]),
    )
