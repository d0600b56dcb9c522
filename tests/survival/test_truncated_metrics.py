"""Metrics that stop at the truncation time, each against an independent library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.survival.followup import FollowUp, NotComputable, Prediction
from milsurv.survival.kaplan_meier import kaplan_meier
from milsurv.survival.metrics import METRICS, auc, truncation_time
from milsurv.survival.restricted_mean import predicted_mean, restricted_mean, surrogate_times


def drawn(seed: int, n: int = 80, ties: bool = False) -> tuple[FollowUp, FollowUp, Prediction]:
    rng = np.random.default_rng(seed)

    def some(count: int) -> tuple[np.ndarray, FollowUp]:
        x = rng.standard_normal(count)
        death, censoring = rng.exponential(30 * np.exp(-x)), rng.exponential(40, count)
        time = np.maximum(np.minimum(death, censoring), 0.1)
        return x, FollowUp(np.ceil(time) if ties else time, death <= censoring)

    _, train = some(160)
    x, test = some(n)
    edges = np.array([6.0, 18.0, 40.0, 90.0])
    return train, test, Prediction(x, np.exp(-np.outer(np.exp(x), edges) / 30), edges, x > 0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_truncated_c_index_is_that_of_sksurv_on_follow_up_that_stops(seed, ties):
    from sksurv.metrics import concordance_index_censored

    train, test, prediction = drawn(seed, ties=ties)
    tau = truncation_time(train)
    seen = test.event & (test.time <= tau)
    expected = concordance_index_censored(seen, np.minimum(test.time, tau), prediction.risk)[0]
    assert METRICS["c_index_tau"](train, test, prediction) == pytest.approx(expected, abs=1e-12)


def test_what_happens_after_the_truncation_time_changes_no_truncated_metric():
    train, test, prediction = drawn(0, 200)
    tau = truncation_time(train)
    late = test.time > tau
    assert late.sum() > 5
    later = FollowUp(np.where(late, test.time + 1, test.time), np.where(late, ~test.event, test.event))
    for name in ("c_index_tau", "uno_c"):
        assert METRICS[name](train, later, prediction) == pytest.approx(
            METRICS[name](train, test, prediction), abs=1e-12
        )


@pytest.mark.parametrize("seed", range(3))
def test_the_integrated_auc_weighs_the_auc_of_every_time_by_who_dies_then(seed):
    from lifelines import KaplanMeierFitter

    train, test, prediction = drawn(seed, 150)
    first, last = test.time[test.event].min(), min(test.time.max(), truncation_time(train))
    times = np.linspace(first, last, 101)[:-1]
    alive = KaplanMeierFitter().fit(test.time, test.event).predict(times).to_numpy()
    falls = -np.diff(np.concatenate([[1.0], alive]))
    at = np.array([auc(train, test, prediction, float(month)) for month in times])
    assert METRICS["auc_mean"](train, test, prediction) == pytest.approx((at * falls).sum() / (1 - alive[-1]), abs=1e-6)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_error_by_pseudo_observations_is_that_of_survivaleval(seed, ties):
    from SurvivalEVAL.evaluations.prediction_error.mean_error import mean_error

    train, test, prediction = drawn(seed, ties=ties)
    tau = truncation_time(train)
    expected = mean_error(
        predicted_mean(prediction, tau), test.time, test.event, train.time, train.event, method="Pseudo_obs",
        truncation_time=tau,
    )  # fmt: skip
    assert METRICS["mae"](train, test, prediction) == pytest.approx(expected, rel=1e-9)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=25)
def test_a_censored_patient_is_taken_to_die_after_the_censoring(seed):
    train, test, _ = drawn(seed)
    times, weights = surrogate_times(train, test)
    assert (times[test.event] == test.time[test.event]).all() and (weights[test.event] == 1).all()
    assert (times >= test.time - 1e-6).all() or not (train.time.max() >= test.time.max())
    assert ((weights >= 0) & (weights <= 1)).all()


@pytest.mark.parametrize("seed", range(3))
def test_restricted_means_are_those_of_lifelines(seed):
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    train, test, prediction = drawn(seed, 150)
    high = prediction.high_risk()
    tau = min(truncation_time(train), test.time[high].max(), test.time[~high].max())
    means = [
        restricted_mean_survival_time(KaplanMeierFitter().fit(test.time[g], test.event[g]), t=tau)
        for g in (~high, high)
    ]
    low, other = np.array(means, float)
    assert METRICS["rmst_difference"](train, test, prediction) == pytest.approx(low - other, rel=1e-6)
    assert restricted_mean(kaplan_meier(test.time, test.event), 0) == 0


def test_a_predicted_mean_is_the_area_below_the_curve():
    prediction = Prediction(np.zeros(1), np.array([[0.8, 0.4]]), np.array([10.0, 20.0]))
    assert predicted_mean(prediction, 15) == pytest.approx([9 + 5 * 0.7])
    assert predicted_mean(prediction, 30) == pytest.approx([9 + 6 + 4])


def test_metrics_say_why_they_have_no_value():
    train, test, prediction = drawn(1)
    nobody = FollowUp(test.time, np.zeros(len(test.time), bool))
    for name, words in (("c_index_tau", "comparable"), ("auc_mean", "nobody in the test set died")):
        with pytest.raises(NotComputable, match=words):
            METRICS[name](train, nobody, prediction)
    with pytest.raises(NotComputable, match="nobody in the training set died"):
        METRICS["mae"](FollowUp(train.time, np.zeros(160, bool)), test, prediction)
    alike = Prediction(prediction.risk, prediction.survival, prediction.edges, np.ones(len(test.time), bool))
    with pytest.raises(NotComputable, match="80 of 80 test patients"):
        METRICS["rmst_difference"](train, test, alike)
