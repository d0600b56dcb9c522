"""Evidence without patients: the intervals, differences and curves that predictions gave, for entries that keep them.

Lines are known by their experiments. All pairs are kept, each with its own p-value: whoever makes a board adjusts them
for the pairs of that board.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...survival.comparisons import IntervalEstimate
from ...survival.risk_groups import GroupCurves
from ..group_curves import parse_curves
from ..rows import RowError
from ..schema import READINGS

Members = tuple[str, ...]
"""The experiments of a line, in the order of their seeds."""


@dataclass(frozen=True)
class Derived:
    """What is known of lines whose predictions are not here.

    intervals: by line, the interval of the C-index at each reading. differences: by pair of lines, C-index of the first
    minus the second, with its p-value for this pair alone. curves: by experiment. resamples: the most that were drawn.
    """

    intervals: Mapping[Members, Mapping[str, IntervalEstimate]] = field(default_factory=dict)
    differences: Mapping[tuple[Members, Members], IntervalEstimate] = field(default_factory=dict)
    curves: Mapping[str, GroupCurves] = field(default_factory=dict)
    resamples: int = 0

    @property
    def text(self) -> str:
        """All of it as text: the same for the same numbers."""
        intervals = [[line, {key: plain(one) for key, one in mine.items()}] for line, mine in self.intervals.items()]
        differences = [[*pair, plain(one)] for pair, one in self.differences.items()]
        return json.dumps([sorted(intervals, key=repr), sorted(differences, key=repr), self.resamples])

    @property
    def experiments(self) -> set[str]:
        """All experiments that it speaks of."""
        lines = {*self.intervals, *(line for pair in self.differences for line in pair)}
        return {name for line in lines for name in line} | set(self.curves)

    def difference(self, first: Members, second: Members) -> IntervalEstimate | None:
        """The difference of two lines in this order, whichever way it was kept."""
        found, turned = self.differences.get((first, second)), self.differences.get((second, first))
        if found is not None or turned is None:
            return found
        return IntervalEstimate(
            -turned.value, -turned.high, -turned.low, turned.standard_error, turned.p, turned.level, turned.undefined
        )

    def joined(self, other: "Derived") -> "Derived":
        """Both together; this one first where they speak of the same line."""
        return Derived(
            {**other.intervals, **self.intervals},
            {**other.differences, **self.differences},
            {**other.curves, **self.curves},
            max(self.resamples, other.resamples),
        )


NOTHING_KEPT = Derived()


def parse_derived(found: Any, name: str) -> Derived:
    """Derived numbers from plain values. Raises RowError, naming the file, where they are none."""
    try:
        intervals, differences = {}, {}
        for ranking in found["rankings"]:
            for one in ranking["intervals"]:
                mine = {reading: _estimate(one[reading]) for reading in READINGS if reading in one}
                intervals[_members(one["line"])] = mine
            for one in ranking["differences"]:
                differences[_members(one["first"]), _members(one["second"])] = _estimate(one)
        curves = {str(key): parse_curves(one) for key, one in found["curves"].items()}
        return Derived(intervals, differences, curves, int(found["resamples"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RowError(f"{name}: is no evidence ({type(error).__name__}: {error}); write the entry again") from error


def plain(found: IntervalEstimate) -> dict[str, float | int | None]:
    """An estimate as plain values."""
    numbers = {key: getattr(found, key) for key in ("value", "low", "high", "standard_error", "level", "undefined")}
    return numbers if found.p is None else numbers | {"p": found.p}


def _estimate(found: Mapping[str, Any]) -> IntervalEstimate:
    value, low, high, error, level = (float(found[key]) for key in ("value", "low", "high", "standard_error", "level"))
    p = None if found.get("p") is None else float(found["p"])
    if not (np.isfinite([value, low, high, error]).all() and low <= high and error >= 0 and 0 < level < 1):
        raise ValueError(f"{value} [{low}, {high}] is no estimate")
    if p is not None and not 0 <= p <= 1:
        raise ValueError(f"{p} is no p-value")
    return IntervalEstimate(value, low, high, error, p, level, int(found["undefined"]))


def _members(found: Any) -> Members:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise TypeError("a line is a list of experiments")
    return tuple(found)
