"""Metrics of one fold at patient level: pure functions of follow-up and prediction, on scikit-survival.

Whatever a metric needs to know about censoring it learns from the training set. A metric that cannot be computed on
a fold raises `NotComputable` with the reason, and never becomes 0. scikit-survival is imported where it is used, so
that the names of the metrics cost nothing.
"""

from collections.abc import Iterable

import numpy as np

from ..plugins import registered
from .calibration import calibration_index, d_calibration_p
from .concordance import c_index
from .followup import FollowUp, NotComputable, Prediction
from .kaplan_meier import kaplan_meier
from .metric import Metric
from .restricted_mean import predicted_mean, restricted_mean, surrogate_times
from .risk_groups import logrank_p

ENTRY_POINTS = "milsurv.metrics"
"""The entry-point group through which other packages add metrics."""
MONTHS = (12, 36, 60)
"""Months at which AUC and calibration are read."""


def harrell_c(train: FollowUp | None, test: FollowUp, prediction: Prediction) -> float:
    """Harrell's concordance index (Harrell et al. 1982); tied risks count one half."""
    return c_index(test.time, test.event, prediction.risk)


def truncation_time(train: FollowUp) -> float:
    """How far censoring weights (IPCW) reach: the last month at which a tenth of the training set is still under
    observation. Beyond it few patients carry the weight of many.
    """
    return float(np.sort(train.time)[int(np.floor(0.9 * (len(train.time) - 1)))])


def truncated_c(train: FollowUp, test: FollowUp, prediction: Prediction) -> float:
    """Harrell's concordance index of the follow-up up to `truncation_time`: deaths after it are not compared.

    How long a test fold happens to be followed then decides nothing, and all lines of a fold stop at the same month.
    """
    seen = test.censored_after(truncation_time(train))
    return c_index(seen.time, seen.event, prediction.risk)


def uno_c(train: FollowUp, test: FollowUp, prediction: Prediction, months: float | None = None) -> float:
    """Uno's concordance index up to `months`, or up to `truncation_time`.

    Censoring weights (IPCW) are estimated on the training set.

    Raises
    ------
    NotComputable
        Where nobody in the test set died by then, or the weights cannot be estimated.

    References
    ----------
    Uno, Cai, Pencina, D'Agostino and Wei: On the C-statistics for evaluating overall adequacy of risk prediction
    procedures with censored survival data. Statistics in Medicine 2011.

    """
    from sksurv.metrics import concordance_index_ipcw

    tau = truncation_time(train) if months is None else months
    if not (test.event & (test.time < tau)).any():
        raise NotComputable(f"nobody in the test set died in the first {tau:.0f} months")
    try:
        return float(concordance_index_ipcw(_table(train), _table(test), prediction.risk, tau=tau)[0])
    except (ValueError, ZeroDivisionError) as error:
        raise NotComputable(f"up to {tau:.0f} months: {error}") from error


def auc(train: FollowUp, test: FollowUp, prediction: Prediction, months: float) -> float:
    """The cumulative/dynamic AUC at `months`: died by then, or alive after?

    Raises
    ------
    NotComputable
        Where one of the two is empty, or the training set was not followed for so long.

    References
    ----------
    Uno, Cai, Tian and Wei: Evaluating prediction rules for t-year survivors. JASA 2007.
    Hung and Chiang: Estimation methods for time-dependent AUC models with survival data. Can J Stat 2010.

    """
    from sksurv.metrics import cumulative_dynamic_auc

    cases = int((test.event & (test.time <= months)).sum())
    controls = int((test.time > months).sum())
    if not cases or not controls:
        raise NotComputable(f"{cases} deaths by {months} months and {controls} patients alive after them")
    if months >= train.time.max():
        raise NotComputable(f"nobody in the training set was followed for {months} months")
    watched = test.censored_after(np.nextafter(train.time.max(), 0))
    try:
        return float(cumulative_dynamic_auc(_table(train), _table(watched), prediction.risk, [months])[0][0])
    except ValueError as error:
        raise NotComputable(f"at {months} months: {error}") from error


def integrated_auc(train: FollowUp, test: FollowUp, prediction: Prediction) -> float:
    """The cumulative/dynamic AUC over all times up to `truncation_time`, weighted by how many die when.

    Raises
    ------
    NotComputable
        Where the test set has no deaths by then with others alive after them.

    References
    ----------
    Lambert and Chevret: Summary measure of discrimination in survival models based on cumulative/dynamic time-dependent
    ROC curves. Statistical Methods in Medical Research 2016.

    """
    from sksurv.metrics import cumulative_dynamic_auc

    if not test.event.any():
        raise NotComputable("nobody in the test set died")
    first, last = test.time[test.event].min(), min(test.time.max(), truncation_time(train))
    if not first < last:
        raise NotComputable(f"nobody in the test set died before month {last:.0f}")
    times = np.linspace(first, last, 101)[:-1]
    watched = test.censored_after(np.nextafter(train.time.max(), 0))
    try:
        return float(cumulative_dynamic_auc(_table(train), _table(watched), prediction.risk, times)[1])
    except ValueError as error:
        raise NotComputable(f"up to {last:.0f} months: {error}") from error


def absolute_error(train: FollowUp, test: FollowUp, prediction: Prediction) -> float:
    """How many months the predicted survival time is off, on average (MAE, Qi et al. 2023), up to `truncation_time`.

    The predicted time is the restricted mean of the predicted curve; that of a censored patient is the
    pseudo-observation of `surrogate_times`, with its weight. Both stop at the truncation time.
    """
    tau = truncation_time(train)
    times, weights = surrogate_times(train, test)
    if not weights.sum():
        raise NotComputable("all test patients were censored before anybody in the training set died")
    off = np.abs(np.minimum(times, tau) - predicted_mean(prediction, tau))
    return float(np.average(off, weights=weights))


def rmst_difference(train: FollowUp, test: FollowUp, prediction: Prediction) -> float:
    """By how many months the group of low risk outlives that of high risk, of the months up to `truncation_time`.

    It stops earlier where one of the groups was not followed for so long.
    """
    high = prediction.high_risk()
    if high.all() or not high.any():
        raise NotComputable(f"{high.sum()} of {len(high)} test patients are above the training set's median risk")
    tau = min(truncation_time(train), *(float(test.time[group].max()) for group in (high, ~high)))
    low_mean, high_mean = (
        restricted_mean(kaplan_meier(test.time[group], test.event[group]), tau) for group in (~high, high)
    )
    return low_mean - high_mean


def brier_times(train: FollowUp, test: FollowUp) -> np.ndarray:
    """100 months, evenly spread over what both sets observe, on which the Brier score is integrated."""
    start, stop = test.time.min(), min(test.time.max(), truncation_time(train))
    if not start < stop:
        raise NotComputable("no time range is observed in both the training and the test set")
    return np.linspace(start, stop, 102)[1:-1]


def integrated_brier(train: FollowUp, test: FollowUp, survival: np.ndarray, times: np.ndarray) -> float:
    """The Brier score of `survival` (n, k) at `times` (k,) months, integrated over them, with censoring weights."""
    from sksurv.metrics import integrated_brier_score

    # Patients beyond the last time count as alive at every time, whenever they are censored later.
    watched = test.censored_after(np.nextafter(train.time.max(), 0))
    try:
        return float(integrated_brier_score(_table(train), _table(watched), survival, times))
    except ValueError as error:
        raise NotComputable(str(error)) from error


def brier_at(train: FollowUp, test: FollowUp, alive: np.ndarray, months: float) -> float:
    """The Brier score at `months` of survival probabilities `alive` `(n,)`, with censoring weights (IPCW)."""
    from sksurv.metrics import brier_score

    watched = test.censored_after(np.nextafter(train.time.max(), 0))
    try:
        return float(brier_score(_table(train), _table(watched), alive[:, None], [months])[1][0])
    except ValueError as error:
        raise NotComputable(str(error)) from error


def brier(train: FollowUp, test: FollowUp, prediction: Prediction) -> float:
    """Integrated Brier score with censoring weights (IPCW); 0.25 is a coin.

    Raises
    ------
    NotComputable
        Where survival is not predicted, or training and test set share no time range.

    References
    ----------
    Graf, Schmoor, Sauerbrei and Schumacher: Assessment and comparison of prognostic classification schemes for
    survival data. Statistics in Medicine 1999.

    """
    times = brier_times(train, test)
    return integrated_brier(train, test, prediction.survival_at(times), times)


def brier_null(train: FollowUp, test: FollowUp) -> float:
    """The integrated Brier score of the training set's Kaplan-Meier curve, which knows nothing about a patient."""
    times = brier_times(train, test)
    alive = kaplan_meier(train.time, train.event).at(times)
    return integrated_brier(train, test, np.tile(alive, (len(test.time), 1)), times)


def calibration(train: FollowUp | None, test: FollowUp, prediction: Prediction, months: float) -> float:
    """The integrated calibration index at `months` (Austin et al. 2020): how far predicted risks are from those that
    came true, on average; 0 is right.
    """
    dead = 1 - prediction.survival_at(np.array([months], dtype=float))[:, 0]
    return calibration_index(dead, test.time, test.event, months)


def d_calibration(train: FollowUp | None, test: FollowUp, prediction: Prediction) -> float:
    """p of D-calibration (Haider et al. 2020); a small one says that the survival curves are wrong."""
    return d_calibration_p(prediction.survival_when_last_seen(test), test.event)


def logrank(train: FollowUp | None, test: FollowUp, prediction: Prediction) -> float:
    """p of the log-rank test between the groups above and below the training set's median risk (Mantel 1966)."""
    groups = prediction.high_risk()
    high = int(groups.sum())
    if high in (0, len(groups)):
        raise NotComputable(f"{high} of {len(groups)} test patients are above the training set's median risk")
    if not test.event.any():
        raise NotComputable("nobody in the test set died")
    p = logrank_p(test.time, test.event, groups)
    if p is None:
        raise NotComputable("the log-rank statistic is not finite: too few deaths")
    return p


def _table(followup: FollowUp) -> np.ndarray:
    """As scikit-survival takes it."""
    from sksurv.util import Surv

    return Surv.from_arrays(followup.event, followup.time)


METRICS: dict[str, Metric] = registered(
    Metric,
    ENTRY_POINTS,
    (
        Metric("c_index", "Harrell's C", True, harrell_c),
        Metric("uno_c", "Uno's C", True, uno_c, needs=("train_followup",)),
        *(
            Metric(f"auc_{months}", f"AUC at {months} months", True, auc, needs=("train_followup",), months=months)
            for months in MONTHS
        ),
        Metric("ibs", "integrated Brier score", False, brier, needs=("survival", "train_followup")),
        *(
            Metric(
                f"ici_{months}",
                f"calibration index at {months} months",
                False,
                calibration,
                needs=("survival",),
                months=months,
            )
            for months in MONTHS
        ),
        Metric("d_calibration_p", "D-calibration p", True, d_calibration, needs=("survival",)),
        Metric("logrank_p", "log-rank p", False, logrank, needs=("risk_groups",)),
        Metric("c_index_tau", "Harrell's C up to the truncation time", True, truncated_c, needs=("train_followup",)),
        Metric("auc_mean", "integrated AUC", True, integrated_auc, needs=("train_followup",)),
        Metric(
            "mae",
            "mean absolute error, months",
            False,
            absolute_error,
            needs=("survival", "train_followup"),
            bounds=(0.0, np.inf),
        ),
        Metric(
            "rmst_difference",
            "RMST of low minus high risk, months",
            True,
            rmst_difference,
            needs=("risk_groups", "train_followup"),
            bounds=(-np.inf, np.inf),
        ),
    ),
)
"""Every metric by its name, in the order of columns: ours, then those of other packages."""


def score_all(
    train: FollowUp | None, test: FollowUp, prediction: Prediction, metrics: Iterable[Metric] | None = None
) -> dict[str, float | str | None]:
    """Every metric by its name; where one has no value it is None and `why_<name>` says why."""
    row: dict[str, float | str | None] = {}
    for metric in METRICS.values() if metrics is None else metrics:
        try:
            row[metric.name] = metric(train, test, prediction)
        except NotComputable as reason:
            row[metric.name] = None
            row[f"why_{metric.name}"] = str(reason)
    return row
