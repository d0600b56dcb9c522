"""Kaplan-Meier curves and the log-rank test, from scipy, in the words of this project (event True = died)."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats


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
    """How many times the hazard of one group is that of the other, with its 95 % interval."""

    value: float
    low: float
    high: float


def hazard_ratio(time: ArrayLike, event: ArrayLike, group: ArrayLike) -> HazardRatio | None:
    """The hazard of the patients of `group` (n,) over that of the others: Cox's partial likelihood (1972) with ties
    after Breslow (1974), and Wald's interval. None where a group is empty, or where all deaths of the last patients at
    risk are in one group, so that the ratio has no end.
    """
    time, event, group = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(group, dtype=bool)
    if group.all() or not group.any():
        return None
    moments, deaths = np.unique(time[event], return_counts=True)  # (k,)
    ones = at_risk(time[group], moments).astype(float)  # (k,)
    zeros = at_risk(time[~group], moments).astype(float)
    died = int((event & group).sum())
    both = (ones > 0) & (zeros > 0)  # at other moments the group of who dies is no chance
    free = died - deaths[~both & (ones > 0)].sum()
    if not 0 < free < deaths[both].sum():
        return None
    ones, zeros, deaths = ones[both], zeros[both], deaths[both]

    def score(beta: float) -> float:
        return float(free - (deaths * ones / (ones + zeros * np.exp(-beta))).sum())

    beta = optimize.root_scalar(score, bracket=(-30.0, 30.0), xtol=1e-10).root  # the score falls all the way
    share = ones / (ones + zeros * np.exp(-beta))
    reach = 1.959964 / np.sqrt((deaths * share * (1 - share)).sum())
    return HazardRatio(*(float(np.exp(beta + step)) for step in (0.0, -reach, reach)))


def at_risk(time: ArrayLike, moments: ArrayLike) -> NDArray[np.int64]:
    """How many patients are still under observation just before each moment; (len(moments),)."""
    time = np.asarray(time, dtype=float)
    return (time[None, :] >= np.asarray(moments, dtype=float)[:, None]).sum(axis=1)


def _censored(time: NDArray[np.float64], event: NDArray[np.bool_]) -> stats.CensoredData:
    return stats.CensoredData(uncensored=time[event], right=time[~event])
