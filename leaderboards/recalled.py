"""Evidence and curves of a board, recalled from memory where their rows and predictions are the same as before."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from .comparisons import evidence
from .evidence import Evidence, Pair
from .group_curve_plots import Plot, plot
from .group_curves import as_json, curves_of, parse_curves
from .kept_predictions import KeptPredictions
from .memory import Memory
from .ranking import Board, Ranking
from .statistics import Estimate

Predictions = Mapping[str, pd.DataFrame]


def judged(boards: Sequence[Board], predictions: Predictions, memory: Memory) -> tuple[Board, ...]:
    """The boards with the evidence of every ranking, as `comparisons.judged` gives them."""
    return tuple(
        replace(
            board,
            rankings=tuple(
                replace(ranking, evidence=_evidence(ranking, predictions, memory)) for ranking in board.rankings
            ),
        )
        for board in boards
    )


def plots(boards: Sequence[Board], predictions: Predictions, memory: Memory) -> dict[str, Plot]:
    """The curves of every line's risk groups, by the experiment of its first seed that has predictions."""
    found = {}
    for line in (line for board in boards for ranking in board.rankings for line in ranking.lines):
        name = next((name for name in line.experiments if name in predictions), None)
        drawn = None if name is None else _plot(name, predictions, memory)
        if name is not None and drawn is not None:
            found[name] = drawn
    return found


def _evidence(ranking: Ranking, predictions: Predictions, memory: Memory) -> Evidence:
    names = [name for line in ranking.lines for name in line.experiments]
    prints = {name: _fingerprint(predictions, name) for name in names if name in predictions}
    if None in prints.values():
        return evidence(ranking, predictions)
    inputs = {"lines": [[line.label, line.family, line.rows] for line in ranking.lines], "predictions": prints}
    return _parse(memory.recall("evidence", inputs, lambda: asdict(evidence(ranking, predictions))))


def _plot(name: str, predictions: Predictions, memory: Memory) -> Plot | None:
    fingerprint = _fingerprint(predictions, name)

    def curves() -> dict[str, Any] | None:
        found = curves_of(predictions[name])
        return None if found is None else as_json(found)

    found = curves() if fingerprint is None else memory.recall("curves", fingerprint, curves)
    if found is None:
        return None
    drawn = memory.recall("plot", found, lambda: asdict(plot(parse_curves(found))))
    return Plot(**drawn | {"words": tuple(drawn["words"])})


def _fingerprint(predictions: Predictions, name: str) -> str | None:
    """None for tables that were given rather than read: nothing of theirs is remembered."""
    return predictions.fingerprint(name) if isinstance(predictions, KeptPredictions) else None


def _parse(found: dict[str, Any]) -> Evidence:
    """Evidence from plain values."""
    intervals = tuple({name: Estimate(**one) for name, one in line.items()} for line in found["intervals"])
    pairs = tuple(
        Pair(**pair | {"difference": Estimate(**pair["difference"]), "t_test": _test(pair["t_test"])})
        for pair in found["pairs"]
    )
    return Evidence(**found | {"intervals": intervals, "pairs": pairs, "left_out": tuple(found["left_out"])})


def _test(found: dict[str, Any] | None) -> Estimate | None:
    return None if found is None else Estimate(**found)
