"""Differences and intervals of C-indices over the same patients and folds, by resampling; and a t-test over folds.

`bootstrap_interval` and `paired_bootstrap` ask of trained models, taken as they are, how they rank patients like these:
only the patients are chance. External validation asks so. `corrected_t_test` asks whether a difference would survive
other training data and seeds, from one number a fold, and allows for training sets that overlap. Boards ask both at
once, and without resampling: see `joint`. docs/statistics.md tells which to use when.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .bootstrap import draw_counts, resampled, resampled_pairs, scored_pairs
from .concordance import c_index, checked
from .linear_algebra import one_thread


@dataclass(frozen=True)
class Draws:
    """Mean C-index over folds of m risks on the same patients: as observed, `values` (m,), and in every resample,
    `draws` (resamples, m). Every resample drew the same patients for all m, so differences of columns are paired.
    """

    values: NDArray[np.float64]
    draws: NDArray[np.float64]


@dataclass(frozen=True)
class IntervalEstimate:
    """A number with its interval.

    Parameters
    ----------
    value
        The estimate itself, not the mean of resamples.
    low, high
        Bounds of the interval at `level`.
    standard_error
        SD of the resampled or modelled estimate.
    p
        Two-sided p-value against 0; None where no null makes sense.
    level
        Confidence level.
    undefined
        How many resamples had a fold without comparable pairs and were left out.

    """

    value: float
    low: float
    high: float
    standard_error: float
    p: float | None
    level: float
    undefined: int = 0


def bootstrap_interval(
    time: ArrayLike,
    event: ArrayLike,
    risk: ArrayLike,
    fold: ArrayLike,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
    patient: ArrayLike | None = None,
) -> IntervalEstimate:
    """Percentile interval of the mean C-index over folds, patients resampled.

    Patients are drawn within each fold, or among all where a patient is tested in several.

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.
    risk
        (n,) higher = earlier death.
    fold
        (n,) the test fold of each score.
    resamples, seed, level
        Of the bootstrap and its interval.
    patient
        (n,) whose score it is, where patients are scored more than once: then they are drawn with all of their scores.

    Raises
    ------
    ValueError
        Where a fold has no comparable pair.

    References
    ----------
    Efron: Bootstrap methods: another look at the jackknife. Ann Stat 1979.

    """
    risks = np.asarray(risk, dtype=float)[None]
    found = means_over_folds(time, event, risks, fold, resamples, seed, patient)
    return percentile(float(found.values[0]), found.draws[:, 0], level)


def paired_bootstrap(
    time: ArrayLike,
    event: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    fold: ArrayLike,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
    patient: ArrayLike | None = None,
) -> IntervalEstimate:
    """C-index of `first` minus that of `second`, mean over folds, with percentile interval and p-value.

    Every resample draws the same patients for both, so what is hard for both cancels. The p-value inverts the
    interval: twice the smaller share of resamples on either side of 0, each with one added, hence never 0.

    Parameters
    ----------
    first, second
        (n,) risks of the same patients by two models.
    time, event, fold, resamples, seed, level, patient
        As in `bootstrap_interval`.

    Raises
    ------
    ValueError
        Where a fold has no comparable pair.

    References
    ----------
    Efron and Tibshirani: An introduction to the bootstrap. 1993, chapter 8.
    Davison and Hinkley: Bootstrap methods and their application. 1997, section 4.4.

    """
    risks = np.stack([np.asarray(first, dtype=float), np.asarray(second, dtype=float)])
    found = means_over_folds(time, event, risks, fold, resamples, seed, patient)
    return percentile(float(found.values[0] - found.values[1]), found.draws[:, 0] - found.draws[:, 1], level, test=True)


def corrected_t_test(
    differences: Sequence[float], n_test: float, n_train: float, level: float = 0.95
) -> IntervalEstimate:
    """The corrected resampled t-test on the differences of J folds (of one or more repeats).

    The variance of the mean is (1/J + n_test/n_train) s^2, s^2 with ddof = 1, on J - 1 degrees of freedom. Without the
    second term, training sets that share patients make the test far too bold.

    Parameters
    ----------
    differences
        (J,) one per fold, J >= 2.
    n_test, n_train
        Patients of a test fold and of its training set.
    level
        Of the interval.

    Raises
    ------
    ValueError
        For fewer than two differences, or sizes that are not positive.

    References
    ----------
    Nadeau and Bengio: Inference for the generalization error. Machine Learning 2003, equation 9.
    Bouckaert and Frank: Evaluating the replicability of significance tests. PAKDD 2004.

    """
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError("the corrected t-test needs at least two finite differences, one per fold")
    if n_test <= 0 or n_train <= 0:
        raise ValueError(f"n_test ({n_test}) and n_train ({n_train}) must be positive")
    df = len(values) - 1
    mean, error = (float(one) for one in _mean_and_error(values, np.asarray(n_test / n_train)))
    if error == 0:  # every fold says the same: certain where they differ, and no difference at all where not
        return IntervalEstimate(mean, mean, mean, 0.0, 1.0 if mean == 0 else 0.0, level)
    reach = float(stats.t.ppf(0.5 + level / 2, df)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, df))
    return IntervalEstimate(mean, mean - reach, mean + reach, error, p, level)


def corrected_t_test_p(differences: NDArray[np.float64], ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """The p-values (m,) of `corrected_t_test` for m pairs: `differences` (m, J), `ratio` (m,) is n_test / n_train."""
    mean, error = _mean_and_error(differences, ratio)
    same = error == 0
    p = 2 * stats.t.sf(np.abs(mean) / np.where(same, 1.0, error), differences.shape[1] - 1)
    return np.where(same, np.where(mean == 0, 1.0, 0.0), p)


def _mean_and_error(
    values: NDArray[np.float64], ratio: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Over the last axis, the mean of J folds and its corrected standard error."""
    variance = values.var(axis=-1, ddof=1)
    return values.mean(axis=-1), np.sqrt((1 / values.shape[-1] + ratio) * variance)


def minimum_detectable_difference(
    standard_error: float, alpha: float = 0.05, power: float = 0.8, df: float | None = None
) -> float:
    """The smallest true difference that a two-sided test at `alpha` finds with `power`: (q(1 - alpha/2) + q(power)) *
    SE.

    Quantiles are those of the normal distribution, or of Student's t with `df` degrees of freedom, which is a close
    approximation to the noncentral t (Bloom 1995).
    """
    if not (standard_error >= 0 and 0 < alpha < 1 and 0 < power < 1):
        raise ValueError("needs a standard error >= 0, and alpha and power between 0 and 1")
    quantiles = np.array([1 - alpha / 2, power])
    found, of_power = stats.norm.ppf(quantiles) if df is None else stats.t.ppf(quantiles, df)
    return float((found + of_power) * standard_error)


def variance_split(scores: ArrayLike) -> tuple[float, float]:
    """(SD between folds, SD between seeds of one fold) of `scores` (folds, seeds), both at least 2.

    One-way analysis of variance with folds as groups: the seed of a training is drawn anew in every fold, so seeds are
    nested in folds. Between seeds it is the root of the mean variance within folds; between folds, of what the
    variance of the folds' means exceeds what seeds alone would give them, never below 0 (Searle et al. 1992, ch. 3).
    """
    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError(f"needs finite scores of at least two folds and two seeds, not {values.shape}")
    within = float(values.var(axis=1, ddof=1).mean())
    between = float(values.mean(axis=1).var(ddof=1)) - within / values.shape[1]
    return float(np.sqrt(max(between, 0.0))), float(np.sqrt(within))


@one_thread()
def means_over_folds(
    time: ArrayLike,
    event: ArrayLike,
    risks: NDArray[np.float64],
    fold: ArrayLike,
    resamples: int,
    seed: int = 0,
    patient: ArrayLike | None = None,
) -> Draws:
    """Mean C-index over folds of each of m `risks` (m, n), observed and resampled.

    patient: (n,) whose score it is, where patients are scored more than once (by slide, in repeats of the
    cross-validation); None where every score is another patient's. Patients are what is drawn, with all of their
    scores: within each fold, or among all where a patient is tested in several folds, as repeats have it.
    Raises ValueError where a fold has no comparable pair.
    """
    fold = np.asarray(fold)
    arrays = [checked(time, event, risk) for risk in risks]
    if fold.shape != arrays[0][0].shape:
        raise ValueError(f"fold {fold.shape} must have one entry per patient {arrays[0][0].shape}")
    if resamples < 1:
        raise ValueError("resamples must be at least 1")
    names = np.unique(fold)
    owner = np.arange(len(fold)) if patient is None else np.unique(np.asarray(patient), return_inverse=True)[1]
    if owner.shape != fold.shape:
        raise ValueError(f"patient {owner.shape} must have one entry per score {fold.shape}")
    # Together are drawn: the patients of one fold, or all of them where they come back in other folds.
    apart = len({(who, where) for who, where in zip(owner.tolist(), fold.tolist(), strict=True)}) == len(set(owner))
    together = [(name,) for name in names] if apart else [tuple(names)]
    observed, draws = np.zeros(len(risks)), np.zeros((resamples, len(risks)))
    for group, rng in zip(together, np.random.default_rng(seed).spawn(len(together)), strict=True):
        drawn, place = np.unique(owner[np.isin(fold, group)], return_inverse=True)
        where = fold[np.isin(fold, group)]
        made = []
        for name in group:
            mine = fold == name
            try:
                observed += [c_index(t[mine], e[mine], r[mine]) for t, e, r in arrays]
            except ValueError as error:
                raise ValueError(f"fold {name}: {error}") from error
            made.append((place[where == name], [scored_pairs(t[mine], e[mine], r[mine]) for t, e, r in arrays]))
        start = 0
        for counts in draw_counts(len(drawn), resamples, rng):
            for at, of_risks in made:
                here = counts if patient is None else counts[:, at]  # who is drawn comes with all scores
                n_pairs = resampled_pairs(of_risks[0], here)  # who can be compared does not depend on the risks
                scores = [resampled(one, here, n_pairs) for one in of_risks]
                draws[start : start + len(counts)] += np.stack(scores, axis=1)
            start += len(counts)
    return Draws(observed / len(names), draws / len(names))


def percentile(value: float, draws: NDArray[np.float64], level: float = 0.95, test: bool = False) -> IntervalEstimate:
    """The percentile interval of `draws` (r,) around `value`; with `test`, the p-value against 0 that inverts it.

    NaNs are left out and counted. Raises ValueError where fewer than two draws are defined.
    """
    if not 0 < level < 1:
        raise ValueError("level lies between 0 and 1")
    known = draws[~np.isnan(draws)]
    if len(known) < 2:
        raise ValueError("hardly any resample has comparable pairs in every fold: too few deaths for a bootstrap")
    low, high = np.quantile(known, [0.5 - level / 2, 0.5 + level / 2])
    p = None
    if test:
        # Sums over folds in another order differ in the last bits; that is no difference.
        below, above = (known <= 1e-12).sum(), (known >= -1e-12).sum()
        p = float(min(1.0, 2 * (min(below, above) + 1) / (len(known) + 1)))
    return IntervalEstimate(
        value, float(low), float(high), float(known.std(ddof=1)), p, level, int(len(draws) - len(known))
    )
