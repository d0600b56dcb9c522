"""What the numbers of a ranking are worth, as plain values: intervals, comparisons with the leader, a verdict."""

from collections.abc import Mapping
from dataclasses import dataclass

from ...survival.comparisons import IntervalEstimate

ALPHA = 0.05
SURVIVES, AS_TRAINED, NOT_SHOWN = "survives", "as trained", "not shown"
"""`survives`: both tests, adjusted, are at most `ALPHA`. `as trained`: only the bootstrap is, so that these trained
models differ on patients like these, and other trainings might not. `not shown`: neither, or the t-test alone."""


@dataclass(frozen=True)
class Pair:
    """Two lines of a ranking, by their places in it: `difference` is the C-index of `first` minus that of `second`.

    difference: paired bootstrap of the patients, its `p` for this pair alone. t_test: corrected resampled t-test on the
    folds, None for a single fold. p_bootstrap, p_t: the p-values, adjusted by Holm for all pairs compared together.
    detectable: the true difference that this comparison, made alone, finds with 80 % power.
    """

    first: int
    second: int
    difference: IntervalEstimate
    t_test: IntervalEstimate | None
    p_bootstrap: float
    p_t: float | None
    detectable: float

    @property
    def verdict(self) -> str:
        """One of `SURVIVES`, `AS_TRAINED` and `NOT_SHOWN`."""
        if self.p_bootstrap > ALPHA:
            return NOT_SHOWN
        return SURVIVES if self.p_t is not None and self.p_t <= ALPHA else AS_TRAINED


@dataclass(frozen=True)
class Evidence:
    """Of one ranking, in the order of its lines.

    intervals: by line, the interval of the C-index at each reading that has one. pairs: the leader against every other
    line, adjusted for all pairs of lines, since the leader was chosen among all. detectable: the median of what the
    comparisons with models could detect (with baselines, where there are no models). verdict: all of it in words.
    left_out: lines without intervals, and why. tuned: every tuned line against the same without tuning, where that was
    run, adjusted for their number.
    """

    resamples: int
    intervals: tuple[Mapping[str, IntervalEstimate], ...]
    pairs: tuple[Pair, ...]
    detectable: float | None
    verdict: str
    left_out: tuple[str, ...]
    tuned: tuple[Pair, ...] = ()

    @property
    def lead_shown(self) -> str:
        """Over how many of the other lines the first one's lead survives both tests: "2 of 5"; empty without pairs."""
        survived = sum(pair.verdict == SURVIVES for pair in self.pairs)
        return f"{survived} of {len(self.pairs)}" if self.pairs else ""


def how(resamples: int, leader: bool = False) -> str:
    """How pairs are compared, in a sentence or two; with `leader`, what they are adjusted for."""
    family = "all pairs of lines, the leader being chosen among them" if leader else "all pairs of the table"
    return (
        f"Difference: paired bootstrap, {resamples:,} resamples of the patients, 95 % interval. t-test: "
        f"Nadeau and Bengio's on the folds. p-values are adjusted by Holm for {family}. Survives: "
        "both are at most 0.05; as trained: only the bootstrap's is."
    )
