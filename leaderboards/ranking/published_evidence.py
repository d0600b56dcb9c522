"""Evidence without patients: the intervals, differences and curves that predictions gave, for entries that hold those.

Lines are known by their experiments. All pairs are there, each with its own p-value: whoever makes a board adjusts them
for the pairs of that board.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from ...errors import RowError
from ...survival.comparisons import IntervalEstimate
from ...survival.risk_groups import GroupCurves
from ..result_row import READINGS

Members = tuple[str, ...]
"""The experiments of a line, in the order of their seeds."""


@dataclass(frozen=True)
class PublishedEvidence:
    """What is known of lines whose predictions are not here.

    intervals: by line, the interval of the C-index at each reading. differences: by pair of lines, C-index of the first
    minus the second; their standard errors are over patients alone, since seeds are in the rows. curves: by experiment.
    """

    intervals: Mapping[Members, Mapping[str, IntervalEstimate]] = field(default_factory=dict)
    differences: Mapping[tuple[Members, Members], IntervalEstimate] = field(default_factory=dict)
    curves: Mapping[str, GroupCurves] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All of it as text: the same for the same numbers."""
        intervals = [[line, {key: plain(one) for key, one in mine.items()}] for line, mine in self.intervals.items()]
        differences = [[*pair, plain(one)] for pair, one in self.differences.items()]
        return json.dumps([sorted(intervals, key=repr), sorted(differences, key=repr)])

    @property
    def experiments(self) -> set[str]:
        """All experiments that it is about."""
        lines = {*self.intervals, *(line for pair in self.differences for line in pair)}
        return {name for line in lines for name in line} | set(self.curves)

    def difference(self, first: Members, second: Members) -> IntervalEstimate | None:
        """The difference of two lines in this order, whichever way round it is stored."""
        found, opposite = self.differences.get((first, second)), self.differences.get((second, first))
        if found is not None or opposite is None:
            return found
        return IntervalEstimate(
            -opposite.value,
            -opposite.high,
            -opposite.low,
            opposite.standard_error,
            opposite.p,
            opposite.level,
            opposite.undefined,
        )

    def joined(self, other: "PublishedEvidence") -> "PublishedEvidence":
        """Both together; this one first where both have the same line."""
        return PublishedEvidence(
            {**other.intervals, **self.intervals},
            {**other.differences, **self.differences},
            {**other.curves, **self.curves},
        )


NO_EVIDENCE = PublishedEvidence()


class _Interval(msgspec.Struct, frozen=True, kw_only=True):
    value: float
    low: float
    high: float
    standard_error: float
    level: float
    undefined: int
    p: float | None = None

    def __post_init__(self) -> None:
        if not (self.low <= self.high and self.standard_error >= 0 and 0 < self.level < 1):
            raise ValueError(f"{self.value} [{self.low}, {self.high}] is no estimate")
        if self.p is not None and not 0 <= self.p <= 1:
            raise ValueError(f"{self.p} is no p-value")

    @property
    def estimate(self) -> IntervalEstimate:
        return IntervalEstimate(
            self.value, self.low, self.high, self.standard_error, self.p, self.level, self.undefined
        )


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    line: Members
    selected: _Interval | None = None
    last: _Interval | None = None
    best: _Interval | None = None


class _Difference(_Interval, frozen=True, kw_only=True):
    first: Members
    second: Members


class _Ranking(msgspec.Struct, frozen=True):
    intervals: tuple[_Line, ...]
    differences: tuple[_Difference, ...]


class _File(msgspec.Struct, frozen=True):
    """`evidence.json` of an entry; of a bootstrap, `resamples` says how many there were."""

    rankings: tuple[_Ranking, ...]
    curves: dict[str, GroupCurves]
    resamples: int = 0


def parse_evidence(data: bytes, name: str) -> PublishedEvidence:
    """Evidence from the JSON of `evidence.json`. Raises RowError, naming the file, where it is none."""
    try:
        found = msgspec.json.decode(data, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RowError(f"{name}: is no evidence ({error}); write the entry again") from error
    lines = [one for ranking in found.rankings for one in ranking.intervals]
    pairs = [one for ranking in found.rankings for one in ranking.differences]
    return PublishedEvidence(
        {
            one.line: {reading: mine.estimate for reading in READINGS if (mine := getattr(one, reading)) is not None}
            for one in lines
        },
        {(one.first, one.second): one.estimate for one in pairs},
        found.curves,
    )


def plain(found: IntervalEstimate) -> dict[str, float | int | None]:
    """An estimate as plain values."""
    numbers = {key: getattr(found, key) for key in ("value", "low", "high", "standard_error", "level", "undefined")}
    return numbers if found.p is None else numbers | {"p": found.p}
