"""Calibration: equal to the reference implementations, right about the truth, and silent where nothing can be said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milsurv.survival.calibration import (
    calibration_index,
    d_calibration_p,
    observed_risk,
    probability_counts,
)
from milsurv.survival.followup import FollowUp, NotComputable, Prediction
from milsurv.survival.metrics import score_all

MONTHS = (12, 36, 60)


def draw(n: int, seed: int, noise: float = 0.0):
    """Exponential deaths, a third censored; survival(months) as a model says it that sees the hazard with `noise`."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    death, censoring = rng.exponential(40 * np.exp(-z)), rng.exponential(90, n)
    seen = z + noise * rng.standard_normal(n)
    return np.minimum(death, censoring), death <= censoring, lambda months: np.exp(-np.exp(seen) * months / 40)


@pytest.mark.parametrize(("n", "noise"), [(75, 0.0), (75, 1.0), (300, 0.5)])
def test_the_calibration_index_is_that_of_survivaleval(n, noise):
    from SurvivalEVAL.evaluations.calibration.single_time import integrated_calibration_index

    time, event, alive = draw(n, n, noise)
    for months in MONTHS:
        dead = 1 - alive(months)
        expected = integrated_calibration_index(dead, time, event, months)
        assert calibration_index(dead, time, event, months) == pytest.approx(expected["ICI"], abs=1e-6)
        grid = expected["curve"]["grid"]
        assert observed_risk(dead, time, event, months, grid) == pytest.approx(expected["curve"]["cal_pred"], abs=1e-6)


@pytest.mark.parametrize(("n", "noise"), [(75, 0.0), (75, 1.0), (300, 0.5)])
def test_d_calibration_is_that_of_survivaleval(n, noise):
    from SurvivalEVAL.evaluations.calibration.distributional import d_calibration

    time, event, alive = draw(n, n, noise)
    _, p, counts = d_calibration(alive(time), event)
    assert d_calibration_p(alive(time), event) == pytest.approx(p)
    assert probability_counts(alive(time), event) == pytest.approx(counts[::-1])


def test_true_probabilities_fail_d_calibration_no_more_often_than_a_test_may():
    failed = 0
    for seed in range(200):
        time, event, alive = draw(100, seed)
        failed += d_calibration_p(alive(time), event) < 0.05
    assert failed <= 18  # binomial(200, 0.05): at most 18 in 99.8 % of cases; the censored only make it fewer


def test_wrong_probabilities_fail_it():
    time, event, alive = draw(200, 0)
    assert d_calibration_p(alive(time) ** 3, event) < 1e-6


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_every_patient_is_counted_once(patients):
    alive, event = np.array([p for p, _ in patients]), np.array([died for _, died in patients])
    counts = probability_counts(alive, event)
    assert (counts >= 0).all() and counts.sum() == pytest.approx(len(patients))


def test_a_censored_patient_is_divided_over_the_probabilities_that_are_left():
    counts = probability_counts(np.array([0.25]), np.array([False]))
    assert counts[:3] == pytest.approx([0.4, 0.4, 0.2]) and not counts[3:].any()


def test_the_truth_is_better_calibrated_than_the_same_probabilities_halved():
    time, event, alive = draw(400, 3)
    dead = 1 - alive(36)
    assert calibration_index(dead, time, event, 36) < 0.05 < calibration_index(dead / 2, time, event, 36)


def test_the_curve_of_halved_probabilities_is_twice_as_high():
    time, event, alive = draw(2000, 4)
    curve = observed_risk((1 - alive(36)) / 2, time, event, 36, np.array([0.15, 0.25, 0.4]))
    assert curve == pytest.approx([0.3, 0.5, 0.8], abs=0.06)


def test_one_probability_for_everyone_is_held_against_kaplan_meier():
    from sksurv.nonparametric import kaplan_meier_estimator

    time, event, _ = draw(100, 5)
    months, alive = kaplan_meier_estimator(event, time)[:2]
    dead = 1 - alive[np.searchsorted(months, 36, side="right") - 1]
    assert calibration_index(np.full(100, 0.3), time, event, 36) == pytest.approx(abs(dead - 0.3))


def test_a_model_of_few_probabilities_has_an_index():
    time, event, alive = draw(200, 6)
    coarse = np.where(1 - alive(36) > 0.5, 0.8, 0.3)
    assert 0 <= calibration_index(coarse, time, event, 36) < 0.3


@pytest.mark.parametrize(
    ("time", "event", "why"),
    [
        ([20.0] * 60, [True] * 60, "0 deaths by 12 months"),
        ([5.0] * 60, [True] * 60, "0 patients alive after them"),
        (np.r_[np.linspace(1, 5, 30), np.linspace(20, 30, 30)], [True] * 30 + [False] * 30, "separate the dead"),
    ],
)
def test_what_cannot_be_calibrated_says_why(time, event, why):
    dead = np.r_[np.linspace(0.9, 0.99, 30), np.linspace(0.1, 0.01, 30)]
    with pytest.raises(NotComputable, match=why):
        calibration_index(dead, np.array(time), np.array(event), 12)


@pytest.mark.parametrize("seed", [39, 59, 79])
def test_a_fit_that_ends_at_infinity_has_no_index(seed):
    """Here the optimiser says that it converged; the curve is NaN or infinite all the same."""
    rng = np.random.default_rng(seed)
    time, event = np.round(rng.exponential(30, 20) + 1), rng.random(20) < 0.5
    foreseen = np.clip(1 / time, 0.001, 0.999)  # the order of deaths, exactly
    with pytest.raises(NotComputable, match="separate the dead from the living"):
        calibration_index(foreseen, time, event, 36)


def test_a_small_fold_has_no_d_calibration_and_says_why():
    time, event, alive = draw(40, 7)
    edges = np.array([10.0, 30.0, 60.0, 100.0])
    estimate = Prediction(1 - alive(36), np.stack([alive(m) for m in edges], axis=1), edges, alive(36) < 0.5)
    row = score_all(FollowUp(time, event), FollowUp(time, event), estimate)
    assert row["d_calibration_p"] is None and "40 patients" in str(row["why_d_calibration_p"])
    assert isinstance(row["ici_36"], float)
