"""Survival times in months rather than ranks: restricted means, and what a censored patient's time is taken to be."""

import numpy as np
from numpy.typing import NDArray

from .followup import FollowUp, NotComputable, Prediction
from .kaplan_meier import KaplanMeier


def restricted_mean(curve: KaplanMeier, months: float) -> float:
    """The mean survival time of the first `months`: the area below a Kaplan-Meier curve (RMST).

    References
    ----------
    Royston and Parmar: Restricted mean survival time: an alternative to the hazard ratio. BMC Med Res Methodol 2013.

    Examples
    --------
    >>> from .kaplan_meier import kaplan_meier
    >>> restricted_mean(kaplan_meier([2, 4], [True, True]), 10)
    3.0

    """
    ends = np.minimum(np.append(curve.times, months), months)
    return float((np.diff(ends) * curve.survival).sum())


def predicted_mean(prediction: Prediction, months: float) -> NDArray[np.float64]:
    """The restricted mean of every predicted survival curve, (n,) months. Raises as `Prediction.survival_at`."""
    edges = np.array([]) if prediction.edges is None else prediction.edges
    times = np.unique(np.concatenate([[0.0, months], edges[edges < months]]))
    return np.trapezoid(prediction.survival_at(times), times, axis=1)


def surrogate_times(train: FollowUp, test: FollowUp) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When the patients of a test set died, and how much each counts: both (n,), times in months.

    Who died has that time, and counts one. Who was censored has the pseudo-observation of the mean survival time, what
    the patient's follow-up adds to that of the training set: (N + 1) times the mean with them, minus N times the mean
    without. They count 1 - S(censoring), S the training set's Kaplan-Meier curve: the later someone was censored, the
    more is known. Means are areas below the curve drawn with straight lines, which goes on along the line from
    (0, 1) through its last point.

    Raises
    ------
    NotComputable
        Where nobody in the training set died.

    References
    ----------
    Qi, Kumar, Farrokh, Sun, Kuan, Ranganath, Henao and Greiner: An effective meaningful way to evaluate survival
    models. ICML 2023, section 3.4.

    """
    if not train.event.any():
        raise NotComputable("nobody in the training set died")
    n = len(train.time)
    moments = np.unique(np.append(train.time[train.event], train.time.max()))
    deaths = np.array([(train.event & (train.time == one)).sum() for one in moments])
    watched = np.array([(train.time >= one).sum() for one in moments])
    times, weights = test.time.astype(float), np.ones(len(test.time))
    censored = np.flatnonzero(~test.event)
    if not len(censored):
        return times, weights
    last = test.time[censored]
    with_them = np.where(moments <= last[:, None], 1 - deaths / (watched + 1), 1 - deaths / watched).cumprod(axis=1)
    without = (1 - deaths / watched).cumprod()
    means = _areas(np.broadcast_to(moments, with_them.shape), with_them, last)
    times[censored] = (n + 1) * means - n * _areas(moments[None], without[None], moments[-1:])[0]
    step = np.searchsorted(moments, last, side="right")
    weights[censored] = 1 - np.concatenate([[1.0], without])[step]
    return times, weights


def _areas(times: NDArray[np.float64], alive: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas below curves (k, m) that are known up to `seen` (k,) or their last time, and go on to 0 in a line."""
    end = np.maximum(times[:, -1], seen)[:, None]
    left = alive[:, -1:]
    zero = np.where(left > 0, end / np.maximum(1 - left, 1e-12), end)
    x = np.concatenate([np.zeros_like(end), times, end, zero], axis=1)
    y = np.concatenate([np.ones_like(end), alive, left, np.zeros_like(end)], axis=1)
    return np.asarray(np.trapezoid(y, x, axis=1))
