"""Metrics of one fold at patient level: pure functions of follow-up and estimate, on scikit-survival.

Whatever a metric needs to know about censoring it learns from the training part. A metric that cannot be computed on
a fold raises `NotComputable` with the reason, and never becomes 0.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sksurv.compare import compare_survival
from sksurv.metrics import (
    brier_score,
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
    integrated_brier_score,
)
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

from .calibration import CannotCalibrate, calibration_index, d_calibration_p

MONTHS = (12, 36, 60)
"""Months at which AUC and calibration are read."""


class NotComputable(Exception):
    """A metric has no value on this fold; the message says why."""


@dataclass(frozen=True)
class FollowUp:
    """What is known of a group of patients: `time` in months `(n,)` and `event` (True = died) `(n,)`."""

    time: np.ndarray
    event: np.ndarray

    def censored_after(self, tau: float) -> "FollowUp":
        """The same patients, watched for `tau` months only. Weights before `tau` do not change by it."""
        return FollowUp(np.minimum(self.time, tau), self.event & (self.time <= tau))

    def table(self) -> np.ndarray:
        """As scikit-survival takes it."""
        return Surv.from_arrays(self.event, self.time)


@dataclass(frozen=True)
class Estimate:
    """What a model says of the test part.

    risk: `(n,)`, higher = earlier death.
    survival: `(n, m)`, the probability of being alive at the times `edges`.
    edges: `(m,)` months, increasing.
    high: `(n,)`, True where the risk is above the median risk of the training part.
    """

    risk: np.ndarray
    survival: np.ndarray
    edges: np.ndarray
    high: np.ndarray

    def survival_at(self, times: np.ndarray) -> np.ndarray:
        """Survival at any `times` `(k,)` -> `(n, k)`: linear between the edges, 1 at 0, flat after the last edge."""
        x = np.concatenate([[0.0], self.edges])
        y = np.concatenate([np.ones((len(self.survival), 1)), self.survival], axis=1)
        return np.stack([np.interp(times, x, row) for row in y])

    def survival_when_last_seen(self, test: FollowUp) -> np.ndarray:
        """Survival of every patient at the end of their own follow-up, `(n,)`."""
        return np.diagonal(self.survival_at(test.time))


@dataclass(frozen=True)
class Metric:
    """A number for one fold.

    name: the column it fills; title: as people call it; higher_is_better: its direction.
    score: (training follow-up, test follow-up, estimate) -> float, or `NotComputable`.
    bounds: the least and the largest value it can take; a row with another is refused.
    """

    name: str
    title: str
    higher_is_better: bool
    score: Callable[[FollowUp, FollowUp, Estimate], float]
    bounds: tuple[float, float] = (0.0, 1.0)


def harrell_c(train: FollowUp, test: FollowUp, estimate: Estimate) -> float:
    """Harrell's concordance index (Harrell et al. 1982); tied risks count one half."""
    return c_index(test.time, test.event, estimate.risk)


def c_index(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    """Harrell's concordance index of `risk` `(n,)`. Errors: `NotComputable` without a comparable pair."""
    try:
        return float(concordance_index_censored(event, time, risk)[0])
    except (ValueError, ZeroDivisionError) as error:
        raise NotComputable(f"no comparable pair among {len(time)} patients: {error}") from error


def horizon(train: FollowUp) -> float:
    """How far weights by the inverse of censoring reach: the last month at which a tenth of the training part is
    still under observation. Beyond it few patients carry the weight of many.
    """
    return float(np.sort(train.time)[int(np.floor(0.9 * (len(train.time) - 1)))])


def uno_c(train: FollowUp, test: FollowUp, estimate: Estimate) -> float:
    """Uno's concordance index up to `horizon` (Uno et al. 2011); censoring is estimated on the training part."""
    tau = horizon(train)
    if not (test.event & (test.time < tau)).any():
        raise NotComputable(f"nobody in the test part died in the first {tau:.0f} months")
    try:
        return float(concordance_index_ipcw(train.table(), test.table(), estimate.risk, tau=tau)[0])
    except (ValueError, ZeroDivisionError) as error:
        raise NotComputable(f"up to {tau:.0f} months: {error}") from error


def auc_at(months: int) -> Callable[[FollowUp, FollowUp, Estimate], float]:
    """The cumulative/dynamic AUC at `months` (Uno et al. 2007; Hung and Chiang 2010): died by then or alive after?"""

    def score(train: FollowUp, test: FollowUp, estimate: Estimate) -> float:
        cases = int((test.event & (test.time <= months)).sum())
        controls = int((test.time > months).sum())
        if not cases or not controls:
            raise NotComputable(f"{cases} deaths by {months} months and {controls} patients alive after them")
        if months >= train.time.max():
            raise NotComputable(f"nobody in the training part was followed for {months} months")
        watched = test.censored_after(np.nextafter(train.time.max(), 0))
        try:
            return float(cumulative_dynamic_auc(train.table(), watched.table(), estimate.risk, [months])[0][0])
        except ValueError as error:
            raise NotComputable(f"at {months} months: {error}") from error

    return score


def brier_times(train: FollowUp, test: FollowUp) -> np.ndarray:
    """100 months, evenly spread over what both parts observe, on which the Brier score is integrated."""
    start, stop = test.time.min(), min(test.time.max(), horizon(train))
    if not start < stop:
        raise NotComputable("no time range is observed in both the training and the test part")
    return np.linspace(start, stop, 102)[1:-1]


def _brier(train: FollowUp, test: FollowUp, survival: np.ndarray, times: np.ndarray) -> float:
    # Patients beyond the last time count as alive at every time, whenever they are censored later.
    watched = test.censored_after(np.nextafter(train.time.max(), 0))
    try:
        return float(integrated_brier_score(train.table(), watched.table(), survival, times))
    except ValueError as error:
        raise NotComputable(str(error)) from error


def brier_at(train: FollowUp, test: FollowUp, alive: np.ndarray, months: float) -> float:
    """The Brier score at `months` of survival probabilities `alive` `(n,)`, weighted by the inverse of censoring."""
    watched = test.censored_after(np.nextafter(train.time.max(), 0))
    try:
        return float(brier_score(train.table(), watched.table(), alive[:, None], [months])[1][0])
    except ValueError as error:
        raise NotComputable(str(error)) from error


def brier(train: FollowUp, test: FollowUp, estimate: Estimate) -> float:
    """Integrated Brier score (Graf et al. 1999), weighted by the inverse of censoring; 0.25 is a coin."""
    times = brier_times(train, test)
    return _brier(train, test, estimate.survival_at(times), times)


def brier_null(train: FollowUp, test: FollowUp) -> float:
    """The integrated Brier score of the training part's Kaplan-Meier curve, which knows nothing about a patient."""
    times = brier_times(train, test)
    months, alive = kaplan_meier_estimator(train.event, train.time)[:2]
    at = np.concatenate([[1.0], alive])[np.searchsorted(months, times, side="right")]
    return _brier(train, test, np.tile(at, (len(test.time), 1)), times)


def calibration_at(months: int) -> Callable[[FollowUp, FollowUp, Estimate], float]:
    """The integrated calibration index at `months` (Austin et al. 2020): how far predicted risks are from those that
    came true, on average; 0 is right.
    """

    def score(train: FollowUp, test: FollowUp, estimate: Estimate) -> float:
        dead = 1 - estimate.survival_at(np.array([months], dtype=float))[:, 0]
        try:
            return calibration_index(dead, test.time, test.event, months)
        except CannotCalibrate as reason:
            raise NotComputable(str(reason)) from reason

    return score


def d_calibration(train: FollowUp, test: FollowUp, estimate: Estimate) -> float:
    """p of D-calibration (Haider et al. 2020); a small one says that the survival curves are wrong."""
    try:
        return d_calibration_p(estimate.survival_when_last_seen(test), test.event)
    except CannotCalibrate as reason:
        raise NotComputable(str(reason)) from reason


def logrank_p(train: FollowUp, test: FollowUp, estimate: Estimate) -> float:
    """p of the log-rank test between the groups above and below the training part's median risk."""
    high = int(estimate.high.sum())
    if high in (0, len(estimate.high)):
        raise NotComputable(f"{high} of {len(estimate.high)} test patients are above the training part's median risk")
    if not test.event.any():
        raise NotComputable("nobody in the test part died")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a singular variance shows as a p that is not finite
        p = compare_survival(test.table(), estimate.high)[1]
    if not np.isfinite(p):
        raise NotComputable("the log-rank statistic is not finite: too few deaths")
    return float(p)


METRICS: tuple[Metric, ...] = (
    Metric("c_index", "Harrell's C", True, harrell_c),
    Metric("uno_c", "Uno's C", True, uno_c),
    *(Metric(f"auc_{months}", f"AUC at {months} months", True, auc_at(months)) for months in MONTHS),
    Metric("ibs", "integrated Brier score", False, brier),
    *(
        Metric(f"ici_{months}", f"calibration index at {months} months", False, calibration_at(months))
        for months in MONTHS
    ),
    Metric("d_calibration_p", "D-calibration p", True, d_calibration),
    Metric("logrank_p", "log-rank p", False, logrank_p),
)


def score_all(
    train: FollowUp, test: FollowUp, estimate: Estimate, metrics: Sequence[Metric] = METRICS
) -> dict[str, float | str | None]:
    """Every metric by its name; where one has no value it is None and `why_<name>` says why."""
    row: dict[str, float | str | None] = {}
    for metric in metrics:
        try:
            row[metric.name] = metric.score(train, test, estimate)
        except NotComputable as reason:
            row[metric.name] = None
            row[f"why_{metric.name}"] = str(reason)
    return row
