"""Mean C-indices of several models over the same patients and folds, with one standard error that has three sources.

Other patients, other seeds and other training sets would each move a C-index. For the difference of two,

    SE^2 = SE_patients^2 + s_seed^2 (1 / (J S) + n_test / n_train),

with the jackknife over patients (`influence.py`), and with s_seed^2 the variance of the difference between the seeds of
one fold, over J folds and S seeds that both were trained with. The first term in brackets is the mean over trainings.
The second is for training sets: they overlap between folds, so that what they share is not averaged away (Nadeau and
Bengio 2003, whose variance is that between folds). docs/statistics.md measures, with simulations and with real
trainings, how often this errs, and what other factors would do. Degrees of freedom are Satterthwaite's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .comparisons import IntervalEstimate, minimum_detectable_difference

DRAWS = 10_000
"""Of the joint distribution of all errors, from which adjusted p-values come; their seed is fixed."""
NOTABLE = 0.01
"""A difference of C-indices that somebody would care about."""

Pairs = NDArray[np.intp]  # (k, 2), places of lines
FoldScores = Mapping[int, Sequence[float]]
"""By seed, the C-index of each of J folds."""


@dataclass(frozen=True)
class Difference(IntervalEstimate):
    """A difference of two C-indices; `p` is of this pair alone.

    df: degrees of freedom of its standard error. notable: the probability that it exceeds `NOTABLE`, where every
    difference was as likely as every other beforehand.
    """

    df: float = np.inf
    notable: float = np.nan

    @property
    def reversed(self) -> "Difference":
        """The second minus the first."""
        notable = _share_above(-self.value, self.standard_error, self.df)
        return Difference(
            -self.value, -self.high, -self.low, self.standard_error, self.p, self.level, df=self.df, notable=notable
        )


@dataclass(frozen=True)
class Joint:
    """m mean C-indices and the covariances of their errors.

    Parameters
    ----------
    values
        (m,) C-index, mean over folds and seeds.
    patients
        (m, m) covariance over patients; NaN where it is not known of two.
    patients_df
        Its degrees of freedom.
    training
        (m, m) covariance over seeds and training sets; 0 where training does not vary, or it is not known how.
    training_df
        (m,) its degrees of freedom; 0 where it is 0.
    """

    values: NDArray[np.float64]
    patients: NDArray[np.float64]
    patients_df: float
    training: NDArray[np.float64]
    training_df: NDArray[np.float64]

    def known(self, first: int | NDArray[np.intp], second: int | NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether the difference of two (or of pairs of two) has a standard error."""
        return np.isfinite(self.patients[first, second])

    def estimate(self, at: int, level: float = 0.95) -> IntervalEstimate:
        """One C-index with its interval, within 0 and 1."""
        own = (self.patients[at, at], self.training[at, at], self.training_df[at])
        error, df = (float(one) for one in self._error(*(np.asarray(one) for one in own)))
        value, reach = float(self.values[at]), error * float(stats.t.ppf(0.5 + level / 2, df))
        return IntervalEstimate(value, max(0.0, value - reach), min(1.0, value + reach), error, None, level)

    def differences(self, pairs: Pairs, level: float = 0.95) -> list[Difference]:
        """The first minus the second of each of k pairs."""
        value, error, df, p = self._tests(pairs)
        reach = error * stats.t.ppf(0.5 + level / 2, df)
        return [
            Difference(
                float(value[at]),
                float(value[at] - reach[at]),
                float(value[at] + reach[at]),
                float(error[at]),
                float(p[at]),
                level,
                df=float(df[at]),
                notable=_share_above(float(value[at]), float(error[at]), float(df[at])),
            )
            for at in range(len(value))
        ]

    def adjusted(self, pairs: Pairs) -> tuple[NDArray[np.float64], float]:
        """p-values (k,) of k pairs, each adjusted for all of them, and the p-value that one pair needs alone to be
        shown among all, in a single step.

        Step-down max-T: the largest statistic is compared with the largest of all in the joint distribution, the next
        with the largest of the rest, and so on: what is plain makes no room for chance elsewhere. Statistics go
        together as their lines do. Student's t is put on the scale of the normal distribution by its p-value.

        References
        ----------
        Westfall and Young: Resampling-based multiple testing. 1993, algorithm 2.8.

        """
        if not len(pairs):
            return np.ones(0), 0.05
        _, error, _, p = self._tests(pairs)
        if len(pairs) == 1:
            return p, 0.05
        statistic = stats.norm.isf(p / 2)
        adjusted, largest, draws = np.ones(len(pairs)), np.zeros(DRAWS), self._draws
        order, drawn = np.argsort(statistic, kind="stable"), np.empty(DRAWS)
        for at in order:  # of half a million pairs where there are a thousand lines: nothing is made anew
            if error[at] > 0:
                first, second = pairs[at]
                np.subtract(draws[first], draws[second], out=drawn)
                np.divide(np.abs(drawn, out=drawn), error[at], out=drawn)
                np.maximum(largest, drawn, out=largest)
            adjusted[at] = (1 + np.count_nonzero(largest >= statistic[at])) / (DRAWS + 1)
        adjusted[order[::-1]] = np.maximum.accumulate(adjusted[order[::-1]])
        return np.maximum(adjusted, p), float(2 * stats.norm.sf(np.quantile(largest, 0.95)))

    def detectable(self, difference: Difference, alpha: float) -> float:
        """The true difference that a comparison like this shows with 80 % power where its own p must be <= `alpha`."""
        return minimum_detectable_difference(difference.standard_error, alpha, df=difference.df)

    def _tests(self, pairs: Pairs) -> tuple[NDArray[np.float64], ...]:
        """Of each pair the difference, its standard error, degrees of freedom, and two-sided p; each (k,)."""
        first, second = pairs[:, 0], pairs[:, 1]

        def of(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
            return matrix[first, first] + matrix[second, second] - 2 * matrix[first, second]

        both = self.training_df[pairs]
        df = np.where(both > 0, both, np.inf).min(axis=1)
        error, df = self._error(of(self.patients), of(self.training), np.where(np.isfinite(df), df, 0.0))
        value = self.values[first] - self.values[second]
        statistic = np.abs(value) / np.where(error > 0, error, 1.0)
        p = np.where(error > 0, 2 * stats.t.sf(statistic, df), np.where(value == 0, 1.0, 0.0))
        return value, error, df, p

    def _error(
        self, patients: NDArray[np.float64], training: NDArray[np.float64], training_df: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The standard error of two independent sources together, and Satterthwaite's degrees of freedom."""
        patients, training = np.maximum(patients, 0.0), np.maximum(training, 0.0)
        total = patients + training
        none = total <= 1e-18  # two constant predictions: what is left is rounding
        spread = patients**2 / self.patients_df + training**2 / np.where(training_df > 0, training_df, np.inf)
        df = np.where(none, self.patients_df, total**2 / np.where(none, 1.0, spread))
        return np.where(none, 0.0, np.sqrt(total)), df

    @cached_property
    def _draws(self) -> NDArray[np.float64]:
        """Joint normal errors of all lines, (m, DRAWS)."""
        # What is not known of two counts as 0. C-indices on the same patients go together, so that their differences
        # from a third are then taken for less alike than they are, and the largest for larger (Slepian 1962).
        size, axes = np.linalg.eigh(np.nan_to_num(self.patients) + self.training)
        root = axes * np.sqrt(np.maximum(size, 0.0))
        return root @ np.random.default_rng(0).standard_normal((len(self.values), DRAWS))


def training_covariance(
    scores: Sequence[FoldScores | None], ratio: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance of m mean C-indices over seeds and training sets, (m, m), and its degrees of freedom, (m,).

    scores: of every line; None where training does not vary, or its variance is not known. ratio: n_test / n_train of
    every line. Lines that share seeds were
    trained on the same validation splits, in the same order, and vary together as far as their scores do.
    """
    seeds = {seed: at for at, seed in enumerate(sorted({seed for one in scores if one for seed in one}))}
    folds = max((len(fold) for one in scores if one for fold in one.values()), default=0)
    loads, df = np.zeros((len(scores), len(seeds) * folds)), np.zeros(len(scores))
    for at, one in enumerate(scores):
        if not one or len(one) < 2:
            continue
        values = np.array(list(one.values()), dtype=float)  # (S, J)
        n_seeds, n_folds = values.shape
        df[at] = n_folds * (n_seeds - 1)
        residuals = np.zeros((len(seeds), folds))
        residuals[[seeds[seed] for seed in one], :n_folds] = values - values.mean(axis=0)
        loads[at] = residuals.ravel() * np.sqrt((1 / (n_folds * n_seeds) + ratio[at]) / df[at])
    return loads @ loads.T, df


def _share_above(value: float, error: float, df: float) -> float:
    return float(stats.t.cdf((value - NOTABLE) / error, df)) if error > 0 else float(value > NOTABLE)
