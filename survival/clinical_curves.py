"""What clinicians read off a model as curves: how well it does at every time, and whether its probabilities hold.

One tidy table, a point a row: `curve`, `fold` (empty where the test sets of all folds are taken together), `x`, `y`.

auc, brier, brier_km   x: months, every quarter of a year up to the truncation time of the censoring weights; y: the
                       time-dependent AUC, the Brier score, and that of the training set's Kaplan-Meier curve
calibration_12 …       x: the predicted risk of dying by 12 (36, 60) months; y: the risk that came true there
net_benefit_12 …       x: the risk from which one would treat; y: the net benefit of treating by the model
treat_all_12 …         the same for treating everyone (treating nobody has none)
d_calibration          x: upper end of a tenth of predicted survival; y: the share of patients in it, 0.1 if right
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .calibration import GROUPS, calibration_index, d_calibration_p, observed_risk, probability_counts
from .followup import FollowUp, NotComputable, Prediction
from .kaplan_meier import kaplan_meier
from .metrics import MONTHS, auc, brier_at, truncation_time

EVERY = 3
"""Months between two points of a curve over time."""
THRESHOLDS = np.linspace(0.05, 0.95, 19)
_POINTS = 50

Point = dict[str, object]


@dataclass(frozen=True)
class ScoredFold:
    """A fold as its curves need it: follow-up of its training and test set, and what is predicted for the latter."""

    fold: int
    train: FollowUp
    test: FollowUp
    prediction: Prediction


def clinical_curves(folds: Sequence[ScoredFold]) -> list[Point]:
    """All curves of one reading; a point that has no value is left out."""
    points = [point for one in folds for point in _over_time(one)]
    if all(one.prediction.survival is not None for one in folds):
        points += _pooled(folds)
    return points


def pooled_calibration(folds: Sequence[ScoredFold]) -> dict[str, float | str]:
    """Calibration of the test sets of all folds taken together, where it is seldom too few patients to be computed.

    `d_calibration_p`, and `ici_12`, `ici_36`, `ici_60`; the reason where one has no value. Every patient is tested
    once, and predicted by a model that has not seen them.
    """
    time, event, last = _together(folds)

    def index(months: float) -> float:
        return calibration_index(_dying(folds, months), time, event, months)

    found: dict[str, float | str] = {}
    readings = {"d_calibration_p": lambda: d_calibration_p(last, event)}
    readings |= {f"ici_{months}": lambda months=months: index(months) for months in MONTHS}
    for name, read in readings.items():
        try:
            found[name] = read()
        except NotComputable as reason:
            found[name] = str(reason)
    return found


def _together(folds: Sequence[ScoredFold]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Months and deaths of all test sets, and survival of every patient at the end of their own follow-up."""
    time = np.concatenate([one.test.time for one in folds])
    event = np.concatenate([one.test.event for one in folds])
    return time, event, np.concatenate([one.prediction.survival_when_last_seen(one.test) for one in folds])


def _dying(folds: Sequence[ScoredFold], months: float) -> np.ndarray:
    """The predicted risk of dying by `months`."""
    return 1 - np.concatenate([one.prediction.survival_at(np.array([float(months)]))[:, 0] for one in folds])


def _over_time(one: ScoredFold) -> Iterator[Point]:
    with_survival = one.prediction.survival is not None
    alive = kaplan_meier(one.train.time, one.train.event)
    for months in range(EVERY, int(min(truncation_time(one.train), one.test.time.max())) + 1, EVERY):
        readings = [("auc", lambda m: auc(one.train, one.test, one.prediction, m))]
        if with_survival:
            null = float(alive.at(months))
            readings += [
                ("brier", lambda m: brier_at(one.train, one.test, one.prediction.survival_at(np.array([m]))[:, 0], m)),
                ("brier_km", lambda m, null=null: brier_at(one.train, one.test, np.full(len(one.test.time), null), m)),
            ]
        for name, read in readings:
            try:
                yield {"curve": name, "fold": one.fold, "x": months, "y": read(months)}
            except NotComputable:
                continue


def _pooled(folds: Sequence[ScoredFold]) -> Iterator[Point]:
    time, event, last = _together(folds)
    for months in MONTHS:
        dead = _dying(folds, months)
        low, high = np.quantile(dead, [0.01, 0.99])
        grid = np.linspace(low, high, _POINTS)
        try:
            observed = observed_risk(dead, time, event, months, grid)
        except NotComputable:
            continue
        yield from _points(f"calibration_{months}", grid, observed)
        yield from _points(f"net_benefit_{months}", THRESHOLDS, net_benefit(dead, time, event, months, THRESHOLDS))
        everyone = net_benefit(np.ones(len(dead)), time, event, months, THRESHOLDS)
        yield from _points(f"treat_all_{months}", THRESHOLDS, everyone)
    shares = probability_counts(last, event) / len(last)
    yield from _points("d_calibration", np.arange(1, GROUPS + 1) / GROUPS, shares)


def _points(curve: str, x: np.ndarray, y: np.ndarray) -> Iterator[Point]:
    for across, up in zip(x, y, strict=True):
        yield {"curve": curve, "fold": "", "x": round(float(across), 6), "y": float(up)}


def net_benefit(
    dead: np.ndarray, time: np.ndarray, event: np.ndarray, months: float, thresholds: np.ndarray
) -> np.ndarray:
    """Net benefit at `months` of treating whoever's risk reaches a threshold (decision curve).

    Per patient of the cohort, deaths that were treated minus survivors that were treated, the latter weighed by the
    odds of the threshold; the share that died among the treated is Kaplan and Meier's.

    Parameters
    ----------
    dead
        (n,) predicted risk of dying by `months`.
    time
        (n,) months.
    event
        (n,) True = died.
    months
        When deaths are counted.
    thresholds
        (k,) risks from which one would treat, between 0 and 1.

    Returns
    -------
    ndarray
        (k,).

    References
    ----------
    Vickers, Cronin, Elkin and Gonen: Extensions to decision curve analysis. BMC Med Inform Decis Mak 2008.

    """
    values = []
    for threshold in thresholds:
        treated = dead >= threshold
        if not treated.any():
            values.append(0.0)
            continue
        alive = float(kaplan_meier(time[treated], event[treated]).at(months))
        values.append(float(treated.mean() * ((1 - alive) - alive * threshold / (1 - threshold))))
    return np.array(values)
