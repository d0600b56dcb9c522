"""Do models differ over several cohorts? Friedman's test on their ranks, and Nemenyi's critical difference.

Each cohort is one block: models are ranked within it by their mean C-index, and only the ranks count, so that a cohort
on which all do well weighs no more than another (Demšar 2006). With three to six cohorts the test sees only what is
nearly unanimous; that is what so few cohorts can show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .board import BASELINE, Board, Line, names_of
from .evidence import ALPHA

LEAST = 3
"""Cohorts, and models, below which nothing is tested."""


@dataclass(frozen=True)
class Friedman:
    """`ranks` (k,) are mean ranks over N blocks, 1 is best; `p` is of Friedman's test that all k are alike;
    `critical_difference` is how far two mean ranks must lie apart (Nemenyi, at `ALPHA`), `p_pairs` (k, k) his p-values.
    """

    ranks: NDArray[np.float64]
    statistic: float
    p: float
    critical_difference: float
    p_pairs: NDArray[np.float64]


@dataclass(frozen=True)
class Across:
    """The models that several cohorts share, best mean rank first; `scores` is (cohorts, models)."""

    synthetic: bool
    cohorts: tuple[str, ...]
    models: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    ranks: tuple[float, ...]
    statistic: float
    p: float
    critical_difference: float
    p_pairs: tuple[tuple[float, ...], ...]

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """Runs (first, last) of models that the critical difference does not tell apart; the longest ones only."""
        reach = [
            max(last for last in range(len(self.ranks)) if self.ranks[last] - rank < self.critical_difference)
            for rank in self.ranks
        ]
        return tuple(
            (first, last)
            for first, last in enumerate(reach)
            if last > first and (first == 0 or reach[first - 1] < last)
        )

    @property
    def verdict(self) -> str:
        """What the two tests show, in words."""
        reach = f"{self.critical_difference:.2f}"
        head = f"{len(self.models)} models on {len(self.cohorts)} cohorts: Friedman p = {self.p:.3f}."
        apart = [
            f"{self.models[one]} and {self.models[other]}"
            for one in range(len(self.models))
            for other in range(one + 1, len(self.models))
            if self.p_pairs[one][other] <= ALPHA
        ]
        if self.p > ALPHA or not apart:
            return f"{head} Their ranks do not show a difference; mean ranks must lie {reach} apart."
        return f"{head} Apart by the critical difference of {reach} or more: {'; '.join(apart)}."


def friedman(scores: ArrayLike) -> Friedman:
    """Friedman (1937) with Nemenyi's post-hoc test (1963) on `scores` (N blocks, k models), higher is better.

    Ties share the mean of their ranks. Two mean ranks differ where they lie q * sqrt(k (k + 1) / (6 N)) apart, q the
    studentized range with infinite degrees of freedom over sqrt(2) (Demšar 2006, sec. 3.2.2); pairs by
    scikit-posthocs. Raises ValueError for fewer than three blocks or models, or scores that are not finite.
    """
    from scikit_posthocs import posthoc_nemenyi_friedman  # seconds of imports, for boards of several cohorts alone

    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or min(values.shape) < LEAST or not np.isfinite(values).all():
        raise ValueError(f"needs finite scores of at least {LEAST} blocks and {LEAST} models, not {values.shape}")
    blocks, k = values.shape
    ranks = stats.rankdata(-values, axis=1)  # (N, k)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic, p = stats.friedmanchisquare(*values.T)
    if not np.isfinite(p):  # all models tie on every cohort
        statistic, p = 0.0, 1.0
    mean = ranks.mean(axis=0)
    error = np.sqrt(k * (k + 1) / (6 * blocks))
    q = stats.studentized_range.ppf(1 - ALPHA, k, np.inf) / np.sqrt(2)
    pairs = posthoc_nemenyi_friedman(-values).to_numpy()
    return Friedman(mean, float(statistic), float(p), float(q * error), pairs)


def across(boards: Sequence[Board]) -> tuple[Across, ...]:
    """Real cohorts and synthetic ones, each apart; none where fewer than three cohorts share three models.

    A model is a line with its settings (scales, backbone, loss, recipe, hyperparameters); baselines are left out. Of a
    cohort with several rankings the first, with most lines, counts.
    """
    found = (_across([board for board in boards if board.synthetic == kind], kind) for kind in (False, True))
    return tuple(item for item in found if item is not None)


def _across(boards: Sequence[Board], synthetic: bool) -> Across | None:
    tables = {board.cohort: board.rankings[0].lines for board in boards if board.rankings}
    lines = {
        cohort: {_key(line): line for line in table if line.family != BASELINE} for cohort, table in tables.items()
    }
    lines = {cohort: table for cohort, table in lines.items() if table}
    if len(lines) < LEAST:
        return None
    # A cohort that only few models ran on must not hide what the others share.
    most = max(len(table) for table in lines.values())
    lines = {cohort: table for cohort, table in lines.items() if 2 * len(table) >= most}
    shared = [key for key in next(iter(lines.values()), {}) if all(key in table for table in lines.values())]
    if len(lines) < LEAST or len(shared) < LEAST:
        return None
    scores = np.array([[table[key].selected.mean or 0.0 for key in shared] for table in lines.values()])
    found = friedman(scores)
    names = names_of([next(iter(lines.values()))[key] for key in shared])
    order = sorted(range(len(shared)), key=lambda at: (found.ranks[at], names[at]))
    return Across(
        synthetic,
        tuple(lines),
        tuple(names[at] for at in order),
        tuple(tuple(float(row[at]) for at in order) for row in scores),
        tuple(float(found.ranks[at]) for at in order),
        found.statistic,
        found.p,
        found.critical_difference,
        tuple(tuple(float(found.p_pairs[one, other]) for other in order) for one in order),
    )


def _key(line: Line) -> tuple:
    return (line.method, line.scales, line.backbone, line.loss, line.recipe, line.hyperparameters)
