"""Evidence and curves of a board, recalled from memory where their rows and predictions are the same as before."""

import hashlib
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from ..survival.comparisons import IntervalEstimate
from ..survival.risk_groups import GroupCurves
from .cache.predictions import KeptPredictions
from .cache.store import Memory
from .group_curves import as_json, curves_of, parse_curves
from .ranking.board import Board, Ranking
from .ranking.comparisons import evidence
from .ranking.evidence import Evidence, Pair
from .render.page.group_curve_plots import Plot, plot

Predictions = Mapping[str, pd.DataFrame]


def judged(
    boards: Sequence[Board],
    predictions: Predictions,
    memory: Memory,
    judge: Callable[[Ranking, Predictions], Evidence] = evidence,
    also: str = "",
) -> tuple[Board, ...]:
    """The boards with the evidence of every ranking, as `judge` gives it.

    also: what the judge knows besides rows and predictions, as text: evidence is recalled for the same text only.
    """

    def with_evidence(ranking: Ranking) -> Ranking:
        names = [name for line in ranking.lines for name in line.experiments if name in predictions]
        inputs = {
            "lines": [[line.label, line.family, line.rows] for line in ranking.lines],
            "predictions": {name: _fingerprint(predictions, name) for name in names},
            "also": also,
        }
        return replace(
            ranking,
            evidence=_parse(memory.recall("evidence", inputs, lambda: asdict(judge(ranking, predictions)))),
        )

    if memory.folder is None:
        return tuple(
            replace(board, rankings=tuple(replace(one, evidence=judge(one, predictions)) for one in board.rankings))
            for board in boards
        )
    return tuple(replace(board, rankings=tuple(map(with_evidence, board.rankings))) for board in boards)


def plots(
    boards: Sequence[Board],
    predictions: Predictions,
    memory: Memory,
    kept: Mapping[str, GroupCurves] | None = None,
) -> dict[str, Plot]:
    """The curves of every line's risk groups, by the experiment of its first seed that has any.

    kept: curves by experiment, for lines whose predictions are not here.
    """
    found = {}
    for line in (line for board in boards for ranking in board.rankings for line in ranking.lines):
        for name in line.experiments:
            curves = (kept or {}).get(name)
            if name in predictions:
                curves = _curves(name, predictions, memory)
            if curves is not None:
                found[name] = _plot(curves, memory)
                break
    return found


def _curves(name: str, predictions: Predictions, memory: Memory) -> GroupCurves | None:
    def made() -> dict[str, Any] | None:
        found = curves_of(predictions[name])
        return None if found is None else as_json(found)

    found = made() if memory.folder is None else memory.recall("curves", _fingerprint(predictions, name), made)
    return None if found is None else parse_curves(found)


def _plot(curves: GroupCurves, memory: Memory) -> Plot:
    drawn = memory.recall("plot", as_json(curves), lambda: asdict(plot(curves)))
    return Plot(**drawn | {"words": tuple(drawn["words"])})


def _fingerprint(predictions: Predictions, name: str) -> str:
    """Of the file that a table was read from, or of the table where it was given."""
    for one in predictions.maps if isinstance(predictions, ChainMap) else [predictions]:
        if name in one and isinstance(one, KeptPredictions):
            return one.fingerprint(name)
    rows = hash_pandas_object(predictions[name], index=False)  # pyright: ignore[reportCallIssue]  # a function that pandas does not type
    return hashlib.sha256(np.asarray(rows).tobytes()).hexdigest()


def _parse(found: dict[str, Any]) -> Evidence:
    """Evidence from plain values."""
    intervals = tuple({name: IntervalEstimate(**one) for name, one in line.items()} for line in found["intervals"])
    pairs = tuple(
        Pair(**pair | {"difference": IntervalEstimate(**pair["difference"]), "t_test": _test(pair["t_test"])})
        for pair in found["pairs"]
    )
    return Evidence(**found | {"intervals": intervals, "pairs": pairs, "left_out": tuple(found["left_out"])})


def _test(found: dict[str, Any] | None) -> IntervalEstimate | None:
    return None if found is None else IntervalEstimate(**found)
