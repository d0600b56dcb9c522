"""The small forest plot in a row: where on the axis of its table each number of a line lies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ....survival.comparisons import IntervalEstimate
from ...ranking.board import Line, Ranking
from ...ranking.evidence import Evidence


@dataclass(frozen=True)
class Bar:
    """The bar of a line at one reading; every number is a percentage of the common axis."""

    mean: float
    low: float
    high: float
    folds: tuple[float, ...]
    best: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Axis:
    """The common axis of a ranking, from `low` to `high` C-index."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where a C-index lies, in percent."""
        return round(100 * (value - self.low) / (self.high - self.low), 1)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """At most six round values, by place and label."""
        span = self.high - self.low
        step = next(step for step in (0.02, 0.05, 0.1, 0.2) if span / step <= 5 or step == 0.2)
        numbers = range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
        return tuple((self.place(number * step), f"{number * step:.2f}") for number in numbers)


def axis(ranking: Ranking) -> Axis:
    """Room for every fold, mean ± SD, interval and chance, on whole hundredths."""
    values = [0.5, *_drawn(ranking.evidence)]
    for line in ranking.lines:
        mean, sd = line.selected.mean or 0.5, line.selected.sd or 0.0
        best, oracle = line.spreads["c_index_best"].mean, line.spreads["oracle_c_index"].mean
        values += [mean - sd, mean + sd, *line.folds["selected"], best or mean, oracle or mean]
    return Axis(math.floor(100 * min(values) - 1) / 100, math.ceil(100 * max(values) + 1) / 100)


def _drawn(evidence: Evidence | None) -> list[float]:
    found = [] if evidence is None else [e["selected"] for e in evidence.intervals if "selected" in e]
    return [end for estimate in found for end in (estimate.low, estimate.high)]


def bar(line: Line, axis: Axis, intervals: Mapping[str, IntervalEstimate], reading: str = "selected") -> Bar | None:
    """The bar of a line at `reading`; None where a fold has no value. Values off the axis stop at its ends."""
    spread, drawn = line.spreads[f"c_index_{reading}"], intervals.get(reading)
    if spread.mean is None or spread.n < spread.of:
        return None

    def place(value: float) -> float:
        return min(max(axis.place(value), 0.0), 100.0)

    sd, best = spread.sd or 0.0, line.spreads["c_index_best"].mean if reading == "selected" else None
    return Bar(
        place(spread.mean),
        place(spread.mean - sd),
        place(spread.mean + sd),
        tuple(place(fold) for fold in line.folds[reading]),
        None if best is None else place(best),
        None if drawn is None else (place(drawn.low), place(drawn.high)),
    )
