"""Metrics of one fold: right where they exist, and silent about nothing where they do not."""

import numpy as np
import pytest
from milsurv.survival.concordance import c_index
from milsurv.survival.followup import FollowUp, NotComputable, Prediction
from milsurv.survival.metric import Metric
from milsurv.survival.metrics import METRICS, brier_null, score_all, truncation_time


def draw(n: int, seed: int, scale: float = 40.0):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    death, censoring = rng.exponential(scale * np.exp(-z)), rng.exponential(60, n)
    return FollowUp(np.minimum(death, censoring), death <= censoring), z


def estimate_of(z: np.ndarray, scale: float = 40.0) -> Prediction:
    edges = np.array([10.0, 30.0, 60.0, 100.0])
    return Prediction(z, np.exp(-np.exp(z)[:, None] * edges / scale), edges, z > 0)


def test_a_fold_gives_every_metric_and_no_reason():
    (train, _), (test, z) = draw(300, 0), draw(80, 1)
    row = score_all(train, test, estimate_of(z))
    assert set(row) == set(METRICS)
    assert all(isinstance(value, float) for value in row.values())


def test_the_truth_scores_better_than_noise_on_every_metric():
    (train, _), (test, z) = draw(400, 0), draw(400, 1)
    noise = np.random.default_rng(2).standard_normal(400)
    truth, random = (score_all(train, test, estimate_of(x)) for x in (z, noise))
    for metric in METRICS.values():
        assert (truth[metric.name] > random[metric.name]) == metric.higher_is_better


def test_tied_risks_count_one_half():
    assert c_index(np.array([1.0, 2.0]), np.array([True, True]), np.zeros(2)) == 0.5


def test_higher_risk_and_earlier_death_agree():
    assert c_index(np.array([1.0, 2.0, 3.0]), np.array([True] * 3), np.array([3.0, 2.0, 1.0])) == 1.0


def test_the_true_curve_beats_kaplan_meier():
    (train, _), (test, z) = draw(400, 0), draw(400, 1)
    ibs = score_all(train, test, estimate_of(z))["ibs"]
    assert ibs < brier_null(train, test) < 0.25


def test_kaplan_meier_as_an_estimate_scores_as_the_null():
    (train, _), (test, _) = draw(300, 0), draw(100, 1)
    from sksurv.nonparametric import kaplan_meier_estimator

    months, alive = kaplan_meier_estimator(train.event, train.time)
    estimate = Prediction(np.zeros(100), np.tile(alive, (100, 1)), months, np.zeros(100, bool))
    # Linear between the steps instead of a step: near, not equal.
    assert score_all(train, test, estimate)["ibs"] == pytest.approx(brier_null(train, test), abs=2e-3)


@pytest.mark.parametrize(
    ("test", "metric", "why"),
    [
        (FollowUp(np.array([5.0, 6.0]), np.array([False, False])), "c_index", "no comparable pair"),
        (FollowUp(np.array([5.0, 6.0]), np.array([False, False])), "logrank_p", "nobody in the test set died"),
        (FollowUp(np.array([500.0, 600.0]), np.array([True, True])), "auc_12", "0 deaths by 12 months"),
        (FollowUp(np.array([500.0, 600.0]), np.array([True, True])), "ibs", "no time range"),
        (FollowUp(np.array([500.0, 600.0]), np.array([True, True])), "uno_c", "nobody in the test set died"),
    ],
)
def test_a_metric_without_a_value_says_why_and_is_not_zero(test, metric, why):
    train, _ = draw(100, 0)
    row = score_all(train, test, estimate_of(np.array([0.1, -0.1])))
    assert row[metric] is None
    assert why in str(row[f"why_{metric}"])


def test_an_auc_beyond_the_training_follow_up_has_no_value():
    (test, z), train = draw(100, 1), FollowUp(np.linspace(1, 50, 60), np.tile([True, False], 30))
    assert "was followed for 60 months" in str(score_all(train, test, estimate_of(z))["why_auc_60"])


@pytest.mark.parametrize(
    ("needs", "prediction", "train", "why"),
    [
        ("survival", Prediction(np.zeros(2)), draw(9, 0)[0], "no survival probabilities were given"),
        ("risk_groups", Prediction(np.zeros(2)), draw(9, 0)[0], "no risk groups were given"),
        ("train_followup", estimate_of(np.zeros(2)), None, "follow-up of the training set is not known"),
    ],
)
def test_a_metric_without_what_it_needs_is_not_called_and_says_why(needs, prediction, train, why):
    metric = Metric("brier_24", "Brier score", False, lambda *_: pytest.fail("it was called"), needs=(needs,))
    row = score_all(train, draw(2, 1)[0], prediction, [metric])
    assert row["brier_24"] is None and why in str(row["why_brier_24"])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.01, -0.1])
def test_a_value_that_is_no_number_or_out_of_bounds_is_none_with_the_reason(value):
    metric = Metric("mine", "mine", False, lambda *_: value)
    row = score_all(None, draw(2, 1)[0], Prediction(np.zeros(2)), [metric])
    assert row["mine"] is None and "no number between 0 and 1" in str(row["why_mine"])


def test_a_metric_that_is_read_at_a_time_is_given_it():
    metric = Metric("month", "month", False, lambda train, test, prediction, months: months / 100, months=24.0)
    assert score_all(None, draw(2, 1)[0], Prediction(np.zeros(2)), [metric]) == {"month": 0.24}


@pytest.mark.parametrize(
    ("name", "needs", "why"), [("Brier 24", (), "small letters"), ("x", ("slides",), "it may need")]
)
def test_a_metric_that_no_row_could_hold_is_refused(name, needs, why):
    with pytest.raises(ValueError, match=why):
        Metric(name, "title", False, lambda *_: 0.0, needs=needs)


def test_one_risk_group_has_no_log_rank():
    (train, _), (test, z) = draw(100, 0), draw(50, 1)
    everyone_high = Prediction(z, estimate_of(z).survival, estimate_of(z).edges, np.ones(50, bool))
    assert "50 of 50" in str(score_all(train, test, everyone_high)["why_logrank_p"])


def test_the_truncation_time_is_learnt_from_the_training_set():
    train = FollowUp(np.arange(1.0, 102.0), np.ones(101, bool))
    assert truncation_time(train) == 91.0


def test_watching_patients_for_a_shorter_time_turns_late_deaths_into_survivors():
    watched = FollowUp(np.array([5.0, 50.0]), np.array([True, True])).censored_after(10)
    assert watched.time.tolist() == [5.0, 10.0] and watched.event.tolist() == [True, False]


def test_survival_is_one_at_the_start_and_flat_after_the_last_edge():
    estimate = Prediction(np.zeros(1), np.array([[0.5, 0.2]]), np.array([10.0, 20.0]), np.zeros(1, bool))
    assert estimate.survival_at(np.array([0.0, 5.0, 10.0, 15.0, 99.0]))[0].tolist() == [1.0, 0.75, 0.5, 0.35, 0.2]


def test_no_pair_is_an_explained_absence():
    with pytest.raises(NotComputable, match="no comparable pair among 1"):
        c_index(np.array([1.0]), np.array([True]), np.zeros(1))
