"""Statistics between models agree with scikit-survival, with brute force and with closed forms, and are valid."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.survival.bootstrap import draw_counts, resampled, scored_pairs
from milsurv.survival.comparisons import (
    bootstrap_interval,
    corrected_t_test,
    minimum_detectable_difference,
    paired_bootstrap,
)
from milsurv.survival.concordance import c_index
from milsurv.survival.kaplan_meier import at_risk, kaplan_meier
from milsurv.survival.risk_groups import hazard_ratio, logrank_p, p_over_folds
from scipy import stats
from sksurv.compare import compare_survival
from sksurv.metrics import concordance_index_censored
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv


def cohort(n, seed=0, censoring=40.0):
    """Patients with a known risk (n,), rounded times that tie, and five folds."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    death, censored = rng.exponential(40 * np.exp(-0.7 * truth)), rng.exponential(censoring, n)
    return truth, np.round(np.minimum(death, censored) + 0.5), death <= censored, np.arange(n) % 5


def theirs(time, event, risk):
    return concordance_index_censored(np.asarray(event, dtype=bool), time, risk)[0]


# Few distinct values, so that times, events and risks tie in every combination.
patients = st.lists(
    st.tuples(st.integers(1, 5), st.booleans(), st.sampled_from([0.0, 0.5, 0.5 + 5e-9, 0.5 + 2e-8, 1.0])),
    min_size=2,
    max_size=25,
)


@given(patients)
def test_c_index_is_scikit_survivals_with_every_kind_of_tie(rows):
    time, event, risk = (np.array(column) for column in zip(*rows, strict=True))
    time = time.astype(float)
    order = [(t, not died) for t, died in zip(time, event, strict=True)]  # a death comes before a censoring that ties
    if any(died and rank < other for died, rank in zip(event, order, strict=True) for other in order):
        assert c_index(time, event, risk) == pytest.approx(theirs(time, event, risk), abs=1e-12)
    else:
        with pytest.raises(ValueError, match="no comparable pair"):
            c_index(time, event, risk)


@given(patients, st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_a_resample_scores_as_if_its_patients_were_written_out(rows, seed):
    time, event, risk = (np.array(column) for column in zip(*rows, strict=True))
    counts = next(draw_counts(len(rows), 5, np.random.default_rng(seed)))
    scores = resampled(scored_pairs(time, event, risk), counts)
    for score, count in zip(scores, counts, strict=True):
        at = np.repeat(np.arange(len(rows)), count)
        if np.isnan(score):
            with pytest.raises(ValueError, match="no comparable pair"):
                c_index(time[at], event[at], risk[at])
        else:
            assert score == pytest.approx(c_index(time[at], event[at], risk[at]), abs=1e-12)


def test_resamples_of_a_thousand_patients_equal_scikit_survival():
    truth, time, event, _ = cohort(1000)
    risk = np.round(truth + np.random.default_rng(1).normal(size=1000), 1)
    counts = np.concatenate(list(draw_counts(1000, 530, np.random.default_rng(2))))
    assert counts.shape == (530, 1000)
    assert (counts.sum(axis=1) == 1000).all()
    scores = resampled(scored_pairs(time, event, risk), counts)
    for index in (0, 1, 511, 512, 529):  # both sides of a chunk's border
        at = np.repeat(np.arange(1000), counts[index])
        assert abs(scores[index] - theirs(time[at], event[at], risk[at])) < 1e-7


def test_reversing_the_risks_mirrors_the_c_index():
    truth, time, event, _ = cohort(100)
    assert c_index(time, event, truth) + c_index(time, event, -truth) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("time", "event", "risk", "message"),
    [
        ([1, 2], [1, 0], [0.1], "of one length"),
        ([1, np.nan], [1, 0], [0, 1], "finite"),
        ([1, 2], [1, 0], [0, np.inf], "finite"),
        ([1, 2], [1, 2], [0, 1], "True .died. or False"),
        ([1, 2], [0, 0], [0, 1], "no comparable pair"),
    ],
)
def test_numbers_that_cannot_be_are_refused(time, event, risk, message):
    with pytest.raises(ValueError, match=message):
        c_index(time, event, risk)


def test_bootstrap_finds_the_standard_error_that_new_cohorts_show():
    drawn = [c_index(time, event, truth) for truth, time, event, _ in (cohort(150, seed) for seed in range(300))]
    truth, time, event, _ = cohort(150, seed=1000)
    found = bootstrap_interval(time, event, truth, np.zeros(150), resamples=2000)
    assert found.standard_error == pytest.approx(np.std(drawn, ddof=1), rel=0.25)


def test_paired_bootstrap_of_a_model_with_itself_finds_nothing():
    truth, time, event, fold = cohort(200)
    found = paired_bootstrap(time, event, truth, truth, fold, resamples=500)
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_paired_bootstrap_is_antisymmetric_and_its_value_is_the_mean_over_folds():
    truth, time, event, fold = cohort(200)
    noisy = truth + np.random.default_rng(3).normal(size=200)
    one = paired_bootstrap(time, event, truth, noisy, fold, resamples=800)
    other = paired_bootstrap(time, event, noisy, truth, fold, resamples=800)
    by_fold = [
        theirs(time[at], event[at], truth[at]) - theirs(time[at], event[at], noisy[at])
        for at in (fold == k for k in range(5))
    ]
    assert one.value == pytest.approx(np.mean(by_fold))
    assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))
    assert one.p == other.p


def test_pairing_narrows_the_interval_of_two_models_that_agree():
    truth, time, event, fold = cohort(300)
    rng = np.random.default_rng(4)
    shared = truth + rng.normal(size=300)
    first, second = shared + 0.1 * rng.normal(size=(2, 300))
    paired = paired_bootstrap(time, event, first, second, fold, resamples=1000)
    alone = [
        bootstrap_interval(time, event, risk, fold, resamples=1000, seed=s) for s, risk in ((1, first), (2, second))
    ]
    assert paired.standard_error < 0.5 * np.hypot(alone[0].standard_error, alone[1].standard_error)


def test_p_value_and_interval_of_the_bootstrap_tell_the_same_story():
    for seed in range(40):
        truth, time, event, fold = cohort(150, seed)
        noisy = truth + np.random.default_rng(seed).normal(size=150)
        found = paired_bootstrap(time, event, truth, noisy, fold, resamples=999)
        if abs(found.p - 0.05) > 0.01:  # quantiles interpolate, so the very border may fall either way
            assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


def test_a_fold_without_deaths_is_named():
    truth, time, event, fold = cohort(50)
    event[fold == 3] = False
    with pytest.raises(ValueError, match="fold 3: no comparable pair"):
        bootstrap_interval(time, event, truth, fold)


def test_resamples_without_comparable_pairs_are_counted():
    time, event, risk = np.arange(1.0, 9.0), np.array([True] + [False] * 7), np.arange(8.0)
    found = bootstrap_interval(time, event, risk, np.zeros(8), resamples=1000)
    # the one death is missing from a resample with probability (7/8)^8 = 0.34
    assert 280 < found.undefined < 410


def test_equally_good_models_are_called_different_at_most_one_time_in_twenty():
    rejected = {"bootstrap": 0, "t": 0}
    for seed in range(300):
        truth, time, event, fold = cohort(200, seed)
        first, second = truth + 1.5 * np.random.default_rng([seed, 9]).normal(size=(2, 200))
        rejected["bootstrap"] += paired_bootstrap(time, event, first, second, fold, resamples=400, seed=seed).p <= 0.05
        scores = [
            [c_index(time[at], event[at], risk[at]) for at in (fold == k for k in range(5))] for risk in (first, second)
        ]
        rejected["t"] += corrected_t_test(np.subtract(*scores), n_test=40, n_train=160).p <= 0.05
    for count in rejected.values():  # 300 comparisons cannot tell this rate from one above 5 %
        assert stats.binomtest(int(count), 300, 0.05, alternative="greater").pvalue > 0.01


def test_a_better_model_is_found():
    found = 0
    for seed in range(20):
        truth, time, event, fold = cohort(400, seed)
        noise = np.random.default_rng([seed, 8]).normal(size=(2, 400))
        found += (
            paired_bootstrap(time, event, truth + 0.3 * noise[0], truth + 2 * noise[1], fold, resamples=400).p <= 0.05
        )
    assert found >= 18


def test_corrected_t_test_is_students_when_nothing_overlaps():
    differences = [0.02, -0.01, 0.05, 0.03, 0.01]
    found = corrected_t_test(differences, n_test=1e-12, n_train=1)
    expected = stats.ttest_1samp(differences, 0)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_corrected_t_test_follows_the_published_formula():
    differences = np.array([0.02, -0.01, 0.05, 0.03, 0.01])
    found = corrected_t_test(differences, n_test=75, n_train=300)
    t = differences.mean() / np.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1))
    assert found.p == pytest.approx(2 * stats.t.sf(t, 4))


@pytest.mark.parametrize(("differences", "p"), [([0.0, 0.0, 0.0], 1.0), ([0.1, 0.1], 0.0)])
def test_corrected_t_test_without_any_variance(differences, p):
    assert corrected_t_test(differences, 1, 4).p == p


@pytest.mark.parametrize("bad", [[0.1], [], [0.1, float("nan")]])
def test_corrected_t_test_needs_two_finite_folds(bad):
    with pytest.raises(ValueError, match="at least two finite differences"):
        corrected_t_test(bad, 1, 4)


def test_the_minimum_detectable_difference_is_detected_with_the_promised_power():
    error = 0.013
    difference = minimum_detectable_difference(error, alpha=0.05, power=0.8)
    estimates = np.random.default_rng(0).normal(difference, error, 20_000)
    assert (np.abs(estimates / error) > stats.norm.ppf(0.975)).mean() == pytest.approx(0.8, abs=0.01)
    assert minimum_detectable_difference(error, df=4) > difference


def test_kaplan_meier_is_scikit_survivals():
    _, time, event, _ = cohort(200)
    curve = kaplan_meier(time, event)
    times, survival, limits = kaplan_meier_estimator(event, time, conf_type="log-log")
    assert curve.times[1:] == pytest.approx(times)
    assert curve.survival[1:] == pytest.approx(survival)
    inner = (survival < 1) & (survival > 0)
    assert curve.lower[1:][inner] == pytest.approx(limits[0][inner])
    assert curve.upper[1:][inner] == pytest.approx(limits[1][inner])


def test_logrank_is_scikit_survivals():
    truth, time, event, _ = cohort(200)
    group = truth + np.random.default_rng(1).normal(size=200) > 0
    _, expected = compare_survival(Surv.from_arrays(event, time), group)
    assert logrank_p(time, event, group) == pytest.approx(expected)


@pytest.mark.parametrize(("event", "group"), [([0, 0, 0], [1, 0, 1]), ([1, 1, 1], [1, 1, 1]), ([1, 1, 1], [0, 0, 0])])
def test_logrank_of_nothing_is_none(event, group):
    assert logrank_p([1, 2, 3], event, group) is None


def repeated(n, seed, repeats):
    """Patients scored in several cross-validations by two equally good models, whose errors mostly stay."""
    rng = np.random.default_rng([seed, 1])  # not the cohort's own numbers: noise must know no truth
    truth, time, event, _ = cohort(n, seed)
    stays = truth + 0.8 * rng.normal(size=(2, n))
    risks = np.concatenate([stays + 0.3 * rng.normal(size=(2, n)) for _ in range(repeats)], axis=1)
    folds = np.concatenate([5 * r + rng.permutation(np.arange(n) % 5) for r in range(repeats)])
    whose = np.tile(np.arange(n), repeats)
    return np.tile(time, repeats), np.tile(event, repeats), risks, folds, whose


def test_patients_who_are_scored_once_are_drawn_as_ever():
    truth, time, event, fold = cohort(100)
    risk = truth + np.random.default_rng(1).normal(size=100)
    names = np.array([f"P{i:03d}" for i in range(100)])
    one, other = (bootstrap_interval(time, event, risk, fold, 500, patient=who) for who in (None, names))
    assert one == other


def test_scores_told_twice_say_no_more_than_once():
    truth, time, event, fold = cohort(200)
    risk = truth + np.random.default_rng(1).normal(size=200)
    once = bootstrap_interval(time, event, risk, fold, 2000)
    twice = [np.tile(column, 2) for column in (time, event, risk)]
    # By slide: both scores lie in one fold. In repeats: they lie in two.
    for folds in (np.tile(fold, 2), np.concatenate([fold, fold + 5])):
        pooled = bootstrap_interval(*twice, folds, 2000, patient=np.tile(np.arange(200), 2))
        naive = bootstrap_interval(*twice, folds, 2000)
        assert pooled.value == pytest.approx(once.value)
        assert pooled.standard_error == pytest.approx(once.standard_error, rel=0.12)
        assert naive.standard_error < 0.8 * once.standard_error


def test_two_equal_models_in_repeats_differ_no_more_often_than_a_test_may():
    called = {"patients": 0, "scores": 0}
    for seed in range(60):
        time, event, (first, second), fold, whose = repeated(60, seed, repeats=3)
        for drawn, patient in (("patients", whose), ("scores", None)):
            found = paired_bootstrap(time, event, first, second, fold, resamples=400, seed=seed, patient=patient)
            called[drawn] += found.p <= 0.05
    assert called["patients"] <= 8  # a valid test exceeds 8 of 60 in 0.3 % of cases
    assert called["patients"] < called["scores"]


@pytest.mark.parametrize("unit", [1e-6, 3.0])
def test_the_hazard_ratio_is_that_of_lifelines_with_and_without_ties(unit):
    from lifelines import CoxPHFitter

    truth, time, event, _ = cohort(200)
    time = np.ceil(time / unit) * unit
    group = truth + np.random.default_rng(1).normal(size=200) > 0
    table = pd.DataFrame({"time": time, "event": event, "group": group.astype(float)})
    expected = CoxPHFitter().fit(table, "time", "event")
    found = hazard_ratio(time, event, group)
    assert found is not None and np.log(found) == pytest.approx(expected.params_["group"], abs=1e-4)


def test_the_hazard_ratio_of_several_folds_is_that_of_lifelines_with_strata():
    from lifelines import CoxPHFitter

    truth, time, event, _ = cohort(200)
    fold = np.arange(200) % 4
    group = truth + np.random.default_rng(1).normal(size=200) > 0
    table = pd.DataFrame({"time": time * (1 + fold), "event": event, "group": group.astype(float), "fold": fold})
    expected = CoxPHFitter(strata=["fold"]).fit(table, "time", "event")
    found = hazard_ratio(table["time"], event, group, fold)
    assert found is not None and np.log(found) == pytest.approx(expected.params_["group"], abs=1e-4)


def out_of_fold_groups(strength: float, seed: int, patients: int = 150, folds: int = 5):
    """Patients of five folds, divided by the score of an exponential model of the other folds at its median."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((patients, 4))
    died, left = rng.exponential(60, patients) * np.exp(-strength * features[:, 0]), rng.exponential(300, patients)
    time, event, fold = np.minimum(died, left), died <= left, np.arange(patients) % folds
    group = np.zeros(patients, dtype=bool)
    for k in range(folds):
        train, test = fold != k, fold == k
        expected = time[train] * event[train].sum() / time[train].sum()
        weights = features[train].T @ (event[train] - expected)
        group[test] = features[test] @ weights > np.median(features[train] @ weights)
    return time, event, group, fold


def test_groups_of_noise_differ_over_folds_no_more_often_than_a_test_may_though_the_pooled_test_does():
    groups = [out_of_fold_groups(0.0, seed) for seed in range(150)]
    pooled = sum((logrank_p(*one[:3]) or 1.0) < 0.05 for one in groups)
    over_folds = sum((p_over_folds(*one) or 1.0) < 0.05 for one in groups)
    assert over_folds <= 13 < pooled  # of 150; a valid test exceeds 13 in 1.5 % of cases


def test_groups_that_differ_are_found_over_folds():
    time, event, group, fold = out_of_fold_groups(1.5, 0)
    assert p_over_folds(time, event, group, fold) < 0.01
    assert p_over_folds(time, event, ~group, fold) == pytest.approx(p_over_folds(time, event, group, fold))


def test_one_fold_or_one_that_cannot_be_tested_gives_no_test_over_folds():
    time, event, group, fold = out_of_fold_groups(1.0, 0)
    assert p_over_folds(time, event, group, np.zeros_like(fold)) is None
    assert p_over_folds(time, event, group & (fold > 0), fold) is None


def test_the_hazard_ratio_turns_over_with_the_groups():
    truth, time, event, _ = cohort(200)
    there, back = (hazard_ratio(time, event, group) for group in (truth > 0, truth <= 0))
    assert there is not None and back is not None
    assert there == pytest.approx(1 / back, rel=1e-4)


@pytest.mark.parametrize(("event", "group"), [([0, 1, 1], [1, 0, 0]), ([1, 1, 1], [1, 1, 1]), ([1, 1, 1], [1, 1, 0])])
def test_a_hazard_ratio_that_is_no_number_is_none(event, group):
    assert hazard_ratio([1, 2, 3], event, group) is None


def test_numbers_at_risk_count_those_still_observed():
    assert at_risk([5, 10, 10, 20], [0, 5, 6, 10, 11, 21]).tolist() == [4, 4, 3, 3, 1, 0]
