"""Kaplan-Meier curves and the log-rank test from scipy, and the hazard ratio of two groups, in the words of this
project (event True = died).
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


@dataclass(frozen=True)
class Curve:
    """A Kaplan-Meier estimate as steps: survival and its 95 % log-log interval from `times[i]` on. All (k,), from
    time 0."""

    times: NDArray[np.float64]
    survival: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def kaplan_meier_curve(time: ArrayLike, event: ArrayLike) -> Curve:
    """The product-limit estimate (Kaplan and Meier 1958) with log-log confidence limits (Borgan and Liestøl 1990)."""
    time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
    survival = stats.ecdf(_censored(time, event)).sf
    with warnings.catch_warnings():
        # Before the first and after the last death the limits are undefined; they are drawn as the curve itself.
        warnings.filterwarnings("ignore", message="The confidence interval is undefined")
        interval = survival.confidence_interval(method="log-log")
    limits = [
        np.where(np.isnan(limit.probabilities), survival.probabilities, limit.probabilities)
        for limit in (interval.low, interval.high)
    ]
    start = np.ones(1)
    return Curve(
        np.concatenate([np.zeros(1), survival.quantiles]),
        *(np.concatenate([start, values]) for values in (survival.probabilities, *limits)),
    )


def logrank_p(time: ArrayLike, event: ArrayLike, group: ArrayLike) -> float | None:
    """p-value of the two-sided log-rank test between two groups (Mantel 1966).

    `group` (n,) is True for one group. None where a group is empty or nobody died: then there is nothing to test.
    """
    time, event, group = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(group, dtype=bool)
    if not event.any() or group.all() or not group.any():
        return None
    p = stats.logrank(_censored(time[group], event[group]), _censored(time[~group], event[~group])).pvalue
    return float(p) if np.isfinite(p) else None


@dataclass(frozen=True)
class HazardRatio:
    """How many times as fast one group dies as the other: `value`, and its 95 % interval (Wald, on the log scale)."""

    value: float
    low: float
    high: float


def hazard_ratio(time: ArrayLike, event: ArrayLike, group: ArrayLike) -> HazardRatio | None:
    """The hazard of those in `group` (n,) over that of the others, by Cox's model with Efron's ties.

    None where a group is empty or has no death, or all its deaths come before the others': then the ratio is 0,
    infinite or nothing.
    """
    time, event, group = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(group, dtype=bool)
    if not event[group].any() or not event[~group].any():
        return None
    moments = np.unique(time[event])
    deaths = np.stack([[(time[event & mine] == t).sum() for t in moments] for mine in (group, ~group)])
    at = np.stack([at_risk(time[mine], moments) for mine in (group, ~group)])
    # One row per death: the i-th of d tied deaths finds i/d of them already gone.
    tied = deaths.sum(axis=0)
    row = np.repeat(np.arange(len(moments)), tied)
    gone = (np.arange(len(row)) - np.repeat(np.cumsum(tied) - tied, tied)) / tied[row]
    inside, outside = at[:, row] - gone * deaths[:, row]
    beta, information = 0.0, 0.0
    for _ in range(50):
        share = inside * np.exp(beta) / (inside * np.exp(beta) + outside)
        information = float((share * (1 - share)).sum())
        if information < 1e-6:
            return None
        step = (deaths[0].sum() - share.sum()) / information
        beta += float(np.clip(step, -2, 2))
        if abs(step) < 1e-9:
            break
    width = stats.norm.ppf(0.975) / np.sqrt(information)
    return HazardRatio(float(np.exp(beta)), float(np.exp(beta - width)), float(np.exp(beta + width)))


def at_risk(time: ArrayLike, moments: ArrayLike) -> NDArray[np.int64]:
    """How many patients are still under observation just before each moment; (len(moments),)."""
    time = np.asarray(time, dtype=float)
    return (time[None, :] >= np.asarray(moments, dtype=float)[:, None]).sum(axis=1)


def _censored(time: NDArray[np.float64], event: NDArray[np.bool_]) -> stats.CensoredData:
    return stats.CensoredData(uncensored=time[event], right=time[~event])
