"""What the numbers of a ranking are worth, as plain values: intervals, comparisons, and which lines may be the best."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ...survival.comparisons import IntervalEstimate
from ...survival.joint import Difference

ALPHA = 0.05
SHOWN, NOT_SHOWN, PROVISIONAL = "shown", "not shown", "provisional"
"""A difference is shown where its p-value, adjusted for all pairs of the ranking, is at most `ALPHA`. It is provisional
where another training of one of the two might give something else, and it is not known how much."""
LEAST_SEEDS = 3
"""Seeds below which it is not known how much another training would change."""


@dataclass(frozen=True)
class Pair:
    """Two lines of a ranking, by their places in it: `difference` is the C-index of `first` minus that of `second`.

    difference: with its interval and the p-value of this pair alone. p_adjusted: adjusted for all pairs of the ranking,
    whichever are shown. detectable: the true difference that would be shown among all pairs of the ranking with at
    least 80 % power. provisional: the training variance of one of the two is not known.
    """

    first: int
    second: int
    difference: Difference
    p_adjusted: float
    detectable: float
    provisional: bool

    @property
    def shown(self) -> bool:
        """Whether the difference is shown."""
        return self.p_adjusted <= ALPHA

    @property
    def verdict(self) -> str:
        """`shown` or `not shown`; with `, provisional` where another training might say something else."""
        return (SHOWN if self.shown else NOT_SHOWN) + f", {PROVISIONAL}" * self.provisional


@dataclass(frozen=True)
class Evidence:
    """Of one ranking, in the order of its lines.

    intervals: by line, the interval of the C-index at each reading that has one. compared: of how many pairs the
    difference is known; p-values are adjusted for all of them. pairs: the first line against every other. best: the
    places of the lines that no other is shown to be above, so that each of them may be the best. provisional: those of
    which it is not known how much another training would change. baseline: every model against the clinical baseline.
    detectable: the median of what comparisons with the first line could show. verdict: all of it in words. left_out:
    lines without intervals, and why. tuned: every tuned line against the same without tuning, where that was run.
    """

    compared: int
    intervals: tuple[Mapping[str, IntervalEstimate], ...]
    pairs: tuple[Pair, ...]
    best: tuple[int, ...]
    provisional: tuple[int, ...]
    baseline: tuple[Pair, ...]
    detectable: float | None
    verdict: str
    left_out: tuple[str, ...]
    tuned: tuple[Pair, ...] = ()

    def against_baseline(self, place: int) -> Pair | None:
        """The line at `place` against the clinical baseline; None where that is not known."""
        return self._over_baseline.get(place)

    @cached_property
    def _over_baseline(self) -> dict[int, Pair]:
        return {pair.first: pair for pair in self.baseline}


def short_how(compared: int) -> str:
    """What a terminal says below few columns."""
    family = "this one pair" if compared == 1 else f"all {compared:,} pairs of this ranking"
    return f"P(>0.01): probability of a difference above 0.01. p adj.: adjusted for {family}. *: provisional."


def how(compared: int) -> str:
    """How pairs are compared, in a few sentences."""
    family = "this one pair" if compared == 1 else f"all {compared:,} pairs of lines of this ranking"
    return (
        "Difference in C-index on the same patients and folds; its interval and p hold for the pair alone, over other "
        f"patients, seeds and training sets. Adjusted p: step-down max-T over {family}, whichever are listed here. "
        f"Shown: adjusted p at most 0.05. Provisional: a line has fewer than {LEAST_SEEDS} seeds or is imported, so "
        "that its training variance is unknown and only patients count. P(> 0.01): the probability that the first is "
        "better by more than 0.01."
    )
