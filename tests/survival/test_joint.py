"""One standard error with three sources: patients (the jackknife), seeds, and training sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.survival.comparisons import means_over_folds
from milsurv.survival.concordance import c_index
from milsurv.survival.followup import NotComputable
from milsurv.survival.influence import influences
from milsurv.survival.joint import Joint, training_covariance
from scipy import stats


def followed(seed, n=120):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    death, censored = rng.exponential(40 * np.exp(-truth)), rng.exponential(45, n)
    event = death <= censored
    fold = np.empty(n, dtype=int)
    fold[np.argsort(~event, kind="stable")] = np.arange(n) % 4
    risks = truth + rng.normal(size=(3, n))
    return np.minimum(death, censored) + 0.1, event, risks, fold


def mean_c(time, event, risk, fold, kept):
    folds = [np.flatnonzero((fold == k) & kept) for k in np.unique(fold)]
    return np.mean([c_index(time[at], event[at], risk[at]) for at in folds])


@pytest.mark.parametrize("slides", [1, 3])
def test_leaving_a_patient_out_is_what_it_says(slides):
    time, event, risks, fold = followed(1, 60)
    owner = np.arange(60)
    if slides > 1:  # three scores of each patient, in the same fold, and some tied
        time, event, fold, owner = (np.repeat(one, slides) for one in (time, event, fold, owner))
        risks = np.round(np.repeat(risks, slides, axis=1) + np.random.default_rng(0).normal(size=(3, 180)), 1)
    found = influences(time, event, risks, fold, owner)
    for at, risk in enumerate(risks):
        assert found.values[at] == pytest.approx(mean_c(time, event, risk, fold, np.ones(len(time), dtype=bool)))
        left = np.array([mean_c(time, event, risk, fold, owner != one) for one in range(60)])
        of = np.array([fold[owner == one][0] for one in range(60)])
        variance = sum(left[of == k].var() * ((of == k).sum() - 1) for k in range(4))
        assert (found.patients[at] ** 2).sum() == pytest.approx(variance)


@pytest.mark.parametrize("n", [21, 60])
def test_how_much_patients_move_a_c_index_is_the_same_to_the_last_bit_with_other_risks_beside_it(n):
    time, event, risks, fold = followed(4, n)
    together = influences(time, event, risks, fold)
    for at in range(len(risks)):
        alone = influences(time, event, risks[[at]], fold)
        assert (alone.values[0], *alone.patients[0]) == (together.values[at], *together.patients[at])


def test_patients_who_are_tested_in_several_folds_are_left_out_of_all():
    time, event, risks, fold = followed(2, 60)
    twice = [np.concatenate([one, one]) for one in (time, event)]
    repeats = np.concatenate([fold, 4 + np.random.default_rng(1).permutation(fold)])
    risk = np.concatenate([risks[0], risks[1]])[None]
    owner = np.concatenate([np.arange(60)] * 2)
    found = influences(*twice, risk, repeats, owner)
    left = np.array([mean_c(*twice, risk[0], repeats, owner != one) for one in range(60)])
    assert (found.patients[0] ** 2).sum() == pytest.approx(left.var() * 59)


def test_standard_errors_are_those_of_the_bootstrap_without_a_resample():
    time, event, risks, fold = followed(3, 300)
    found = influences(time, event, risks, fold)
    draws = means_over_folds(time, event, risks, fold, 4000).draws
    expected = np.cov(draws.T)
    assert found.patients @ found.patients.T == pytest.approx(expected, rel=0.12, abs=4e-5)
    one = np.sqrt(((found.patients[0] - found.patients[1]) ** 2).sum())
    assert one == pytest.approx((draws[:, 0] - draws[:, 1]).std(), rel=0.06)


def test_a_fold_of_too_few_deaths_is_refused_with_its_number():
    time, event, fold = np.arange(1.0, 9), np.zeros(8, dtype=bool), np.arange(8) % 2
    event[[0, 1, 3]] = True
    with pytest.raises(NotComputable, match="fold 0: all its comparable pairs hang on one patient"):
        influences(time, event, np.ones((1, 8)), fold)
    event[0] = False
    with pytest.raises(NotComputable, match="fold 0: no comparable pair"):
        influences(time, event, np.ones((1, 8)), fold)


def joint_of(values, patients, scores=None, ratio=0.25, df=100.0):
    training, training_df = training_covariance(scores or [None] * len(values), [ratio] * len(values))
    return Joint(np.array(values), np.array(patients), df, training, training_df)


PAIR = np.array([[0, 1]])


def test_the_error_of_a_difference_adds_seeds_and_training_sets_by_the_formula():
    rng = np.random.default_rng(0)
    scores = [{seed: list(0.6 + rng.normal(0, 0.03, 5)) for seed in (0, 1, 2)} for _ in range(2)]
    patients = np.array([[4e-4, 1e-4], [1e-4, 5e-4]])
    (found,) = joint_of([0.62, 0.6], patients, scores).differences(PAIR)
    difference = np.array([list(scores[0][s]) for s in range(3)]) - np.array([list(scores[1][s]) for s in range(3)])
    seeds = difference.var(axis=0, ddof=1).mean() * (1 / 15 + 0.25)
    assert found.standard_error**2 == pytest.approx(7e-4 + seeds)
    assert found.df == pytest.approx((7e-4 + seeds) ** 2 / (7e-4**2 / 100 + seeds**2 / 10))
    assert found.p == pytest.approx(2 * stats.t.sf(0.02 / found.standard_error, found.df))
    assert found.notable == pytest.approx(stats.t.cdf(0.01 / found.standard_error, found.df))


def test_seeds_that_move_two_models_alike_do_not_tell_them_apart():
    scores = {seed: [0.6 + 0.02 * seed, 0.61 - 0.03 * seed] for seed in range(3)}
    patients = np.full((2, 2), 1e-4)
    (found,) = joint_of([0.6, 0.6], patients, [scores, dict(scores)]).differences(PAIR)
    assert (found.standard_error, found.p) == (0.0, 1.0)
    other = {seed: scores[(seed + 1) % 3] for seed in range(3)}
    (apart,) = joint_of([0.6, 0.6], patients, [scores, other]).differences(PAIR)
    assert apart.standard_error > 0


def test_what_is_without_any_error_is_certain():
    nothing = np.zeros((2, 2))
    assert joint_of([0.5, 0.5], nothing).differences(PAIR)[0].p == 1.0
    assert joint_of([0.6, 0.5], nothing).differences(PAIR)[0].p == 0.0
    assert joint_of([0.5, 0.5], nothing).estimate(0).low == 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 7), st.integers(0, 10**6))
def test_adjusted_p_values_keep_the_order_and_are_never_below_their_own(lines, seed):
    rng = np.random.default_rng(seed)
    loads = rng.normal(0, 0.01, (lines, 40))
    joint = joint_of(0.6 + rng.normal(0, 0.1, lines), loads @ loads.T)
    pairs = np.array([(i, j) for i in range(lines) for j in range(i)])
    alone = np.array([one.p for one in joint.differences(pairs)])
    adjusted, alpha = joint.adjusted(pairs)
    assert (adjusted >= alone).all()
    assert (np.diff(adjusted[np.argsort(alone)]) >= 0).all()
    assert alpha <= 0.0501
    assert (adjusted <= np.minimum(1, len(pairs) * alone) + 0.02).all(), "never shyer than Bonferroni"


def test_among_equals_something_is_shown_on_one_board_in_twenty():
    rng = np.random.default_rng(5)
    pairs = np.array([(i, j) for i in range(5) for j in range(i)])
    covariance = 1e-4 * (0.5 + 0.5 * np.eye(5))
    root = np.linalg.cholesky(covariance)
    found = 0
    for _ in range(300):
        joint = joint_of(0.6 + root @ rng.normal(size=5), covariance, df=1e6)
        found += joint.adjusted(pairs)[0].min() <= 0.05
    assert stats.binomtest(found, 300, 0.05).pvalue > 0.01


def test_what_is_not_known_of_two_lines_leaves_the_others_comparable():
    patients = np.array([[1e-4, 5e-5, np.nan], [5e-5, 1e-4, np.nan], [np.nan, np.nan, 1e-4]])
    joint = joint_of([0.7, 0.6, 0.65], patients)
    assert (joint.known(0, 1), joint.known(0, 2)) == (True, False)
    assert joint.adjusted(PAIR)[0][0] < 1e-6
