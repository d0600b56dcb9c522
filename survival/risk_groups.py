"""Two groups of patients, of high and of low risk: log-rank test, hazard ratio, and their curves as plain numbers."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .kaplan_meier import at_risk, kaplan_meier

_STEPS = 60
GROUPS = ("high", "low")


def logrank_p(time: ArrayLike, event: ArrayLike, group: ArrayLike) -> float | None:
    """p-value of the two-sided log-rank test between two groups.

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.
    group
        (n,) True for one group.

    Returns
    -------
    float or None
        None where a group is empty, nobody died, or the variance is singular: then there is nothing to test.

    References
    ----------
    Mantel: Evaluation of survival data and two new rank order statistics. Cancer Chemother Rep 1966.

    """
    found = _logrank(time, event, group)
    return None if found is None else found[1]


def _logrank(time: ArrayLike, event: ArrayLike, group: ArrayLike) -> tuple[float, float] | None:
    """The log-rank statistic z, positive where the group dies earlier, and its p; None where nothing can be tested."""
    import pandas as pd
    from sksurv.compare import compare_survival
    from sksurv.util import Surv

    time, event, group = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(group, dtype=bool)
    if not event.any() or group.all() or not group.any():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a singular variance shows as a statistic that is not finite
        try:
            square, p, *rest = compare_survival(Surv.from_arrays(event, time), group, return_stats=True)
        except np.linalg.LinAlgError:  # or as this, where it is exactly 0: all who died were the last ones at risk
            return None
    if not np.isfinite(p):
        return None
    counts = pd.DataFrame(rest[0])
    excess = counts["observed"].iloc[-1] - counts["expected"].iloc[-1]  # of the group that is True
    return float(np.copysign(np.sqrt(square), excess)), float(p)


def p_over_folds(
    time: ArrayLike, event: ArrayLike, group: ArrayLike, fold: ArrayLike, patients: int | None = None
) -> float | None:
    """p-value that the groups of a cross-validation die at different rates: a corrected t-test on the log-rank
    statistics of its folds.

    The log-rank test of all folds together would be far too bold: the model that divides one fold has learned from the
    deaths of the others, so the folds are not independent. Without any signal it is below 0.05 in 11 % of
    cross-validations, stratified by fold or not, permuted within folds or not (`docs/bench_risk_groups.py`).

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.
    group
        (n,) True for one group.
    fold
        (n,) the test fold of each patient.
    patients
        How many patients there are, where some are tested more than once; n when None.

    Returns
    -------
    float or None
        None for a single fold, and where a fold has nothing to test.

    References
    ----------
    Nadeau and Bengio: Inference for the generalization error. Machine Learning 2003.

    """
    from .comparisons import corrected_t_test

    time, event, group, fold = (np.asarray(one) for one in (time, event, group, fold))
    found = [_logrank(time[mine], event[mine], group[mine]) for mine in (fold == k for k in np.unique(fold))]
    if len(found) < 2 or None in found:
        return None
    n_test = len(time) / len(found)
    return corrected_t_test([one[0] for one in found if one], n_test, (patients or len(time)) - n_test).p


def hazard_ratio(time: ArrayLike, event: ArrayLike, group: ArrayLike, fold: ArrayLike | None = None) -> float | None:
    """The hazard of those in `group` (n,) over that of the others, by Cox's model with Efron's ties.

    Of a cross-validation it has no interval: Cox's would be too narrow, for the reason that `p_over_folds` gives.

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.
    group
        (n,) True for the group in the numerator.
    fold
        (n,) strata, each with a baseline hazard of its own; all in one when None.

    Returns
    -------
    float or None
        None where a group is empty or has no death, or all its deaths come before the others': then the ratio is 0,
        infinite or nothing.

    References
    ----------
    Cox: Regression models and life-tables. JRSS B 1972.
    Efron: The efficiency of Cox's likelihood function for censored data. JASA 1977.

    """
    from statsmodels.duration.hazard_regression import PHReg

    time, event, group = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(group, dtype=bool)
    if not event[group].any() or not event[~group].any():
        return None
    strata = np.zeros(len(time)) if fold is None else np.asarray(fold)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the groups part the deaths, the likelihood has no maximum
        try:
            model = PHReg(time, group[:, None].astype(float), status=event.astype(int), strata=strata, ties="efron")
            beta = float(model.fit(disp=0).params[0])
            information = -float(np.squeeze(model.hessian(np.array([beta]))))
        except (np.linalg.LinAlgError, ValueError):
            return None
    return float(np.exp(beta)) if np.isfinite(beta) and information >= 1e-6 else None


@dataclass(frozen=True)
class GroupCurve:
    """One group: its size, its deaths, and at the shared `moments` (months) survival, 95 % limits, numbers at risk."""

    patients: int
    died: int
    survival: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    at_risk: tuple[int, ...]


@dataclass(frozen=True)
class GroupCurves:
    """Both groups at `moments`, an even grid from 0 on; the hazard ratio high over low, stratified by fold, and the p
    of `p_over_folds`.
    """

    moments: tuple[float, ...]
    high: GroupCurve
    low: GroupCurve
    ratio: float | None = None
    p: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless every curve has a finite value at every moment."""
        for group in (self.high, self.low):
            for values in (group.survival, group.lower, group.upper, group.at_risk):
                if len(values) != len(self.moments) or not np.isfinite(values).all():
                    raise ValueError("expected as many finite numbers as there are moments")


def group_curves(
    time: ArrayLike, event: ArrayLike, group: ArrayLike, fold: ArrayLike, patients: int | None = None
) -> GroupCurves | None:
    """Kaplan-Meier curves of both groups on an even grid: the steps of an exact curve are the months in which patients
    died, and would tell them.

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.
    group
        (n,) "high" or "low".
    fold, patients
        As `p_over_folds` takes them.

    Returns
    -------
    GroupCurves or None
        None unless every patient is in one of the groups and both have some.

    """
    time, event, group = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(group, dtype=str)
    if not len(time) or set(group.tolist()) != set(GROUPS):
        return None
    step = next(s for s in (0.5, 1, 2, 3, 6, 12, 24, 120, 1e9) if time.max() / s <= _STEPS)
    moments = np.arange(0, time.max() + step, step)[: _STEPS + 2]
    curves: dict[str, GroupCurve] = {}
    for name in GROUPS:
        mine = group == name
        exact = kaplan_meier(time[mine], event[mine])
        at = exact.step(moments)
        curves[name] = GroupCurve(
            int(mine.sum()),
            int(event[mine].sum()),
            *(tuple(np.round(one[at], 4).tolist()) for one in (exact.survival, exact.lower, exact.upper)),
            at_risk=tuple(at_risk(time[mine], moments).tolist()),
        )
    high = group == "high"
    ratio, p = hazard_ratio(time, event, high, fold), p_over_folds(time, event, high, fold, patients)
    return GroupCurves(tuple(moments.tolist()), curves["high"], curves["low"], ratio, p)
