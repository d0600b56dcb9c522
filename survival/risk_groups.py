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
    from sksurv.compare import compare_survival
    from sksurv.util import Surv

    time, event, group = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(group, dtype=bool)
    if not event.any() or group.all() or not group.any():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a singular variance shows as a p that is not finite
        p = compare_survival(Surv.from_arrays(event, time), group)[1]
    return float(p) if np.isfinite(p) else None


@dataclass(frozen=True)
class HazardRatio:
    """How many times as fast one group dies as the other: `value`, and its 95 % interval (Wald, on the log scale)."""

    value: float
    low: float
    high: float


def hazard_ratio(time: ArrayLike, event: ArrayLike, group: ArrayLike) -> HazardRatio | None:
    """The hazard of those in `group` (n,) over that of the others, by Cox's model with Efron's ties.

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.
    group
        (n,) True for the group in the numerator.

    Returns
    -------
    HazardRatio or None
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
    model = PHReg(time, group[:, None].astype(float), status=event.astype(int), ties="efron")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the groups part the deaths, the likelihood has no maximum
        try:
            beta = float(model.fit(disp=0).params[0])
            information = -float(np.squeeze(model.hessian(np.array([beta]))))
        except (np.linalg.LinAlgError, ValueError):
            return None
    if not (np.isfinite(beta) and information >= 1e-6):
        return None
    width = 1.959963984540054 / np.sqrt(information)
    return HazardRatio(float(np.exp(beta)), float(np.exp(beta - width)), float(np.exp(beta + width)))


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
    """Both groups at `moments`, an even grid from 0 on; the log-rank p and the hazard ratio high over low."""

    moments: tuple[float, ...]
    high: GroupCurve
    low: GroupCurve
    logrank_p: float | None
    hazard_ratio: HazardRatio | None

    def __post_init__(self) -> None:
        """Raise ValueError unless every curve has a finite value at every moment."""
        for group in (self.high, self.low):
            for values in (group.survival, group.lower, group.upper, group.at_risk):
                if len(values) != len(self.moments) or not np.isfinite(values).all():
                    raise ValueError("expected as many finite numbers as there are moments")


def group_curves(time: ArrayLike, event: ArrayLike, group: ArrayLike) -> GroupCurves | None:
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
    p, ratio = logrank_p(time, event, high), hazard_ratio(time, event, high)
    return GroupCurves(tuple(moments.tolist()), curves["high"], curves["low"], p, ratio)
