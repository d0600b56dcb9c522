"""What a risk adds to covariates: nothing where it repeats them, and what the truth adds where it does not."""

import numpy as np
import pytest
from milsurv.survival.added_value import added_value, c_index_by
from milsurv.survival.concordance import c_index
from milsurv.survival.followup import NotComputable


def followed(seed=0, n=400):
    rng = np.random.default_rng(seed)
    age, other = rng.normal(size=(2, n))
    death, censored = rng.exponential(40 * np.exp(-0.8 * age - 0.8 * other)), rng.exponential(60, n)
    fold = np.arange(n) % 5
    return np.minimum(death, censored) + 0.1, death <= censored, age[:, None], other, fold


def test_a_risk_that_knows_more_adds_and_one_that_repeats_the_covariates_does_not():
    time, event, age, other, fold = followed()
    more = added_value(time, event, age, other, fold)
    assert more.gain.low > 0.03
    assert more.p < 1e-6
    assert more.both > max(more.clinic, more.risk)
    same = added_value(time, event, age, age[:, 0], fold)
    assert (abs(same.gain.value) < 0.01 and same.p > 0.05) or same.statistic < 1e-6
    assert same.risk > 0.6, "a high C-index adds nothing where it is age that it reads"


def test_the_scale_of_a_fold_does_not_count():
    time, event, age, other, fold = followed(1)
    scaled = added_value(time, event, age, other * (1 + 10 * fold) - 100 * fold, fold)
    plain = added_value(time, event, age, other, fold)
    assert scaled.fused == pytest.approx(plain.fused)
    assert scaled.statistic == pytest.approx(plain.statistic)


def test_the_fused_risk_of_a_fold_has_not_seen_its_outcomes():
    time, event, age, other, fold = followed(2)
    before = added_value(time, event, age, other, fold).fused
    changed = event.copy()
    changed[fold == 3] = ~changed[fold == 3]
    after = added_value(time, changed, age, other, fold).fused
    assert after[fold == 3] == pytest.approx(before[fold == 3])
    assert after[fold == 0] != pytest.approx(before[fold == 0])


def test_the_likelihood_ratio_is_that_of_lifelines():
    lifelines = pytest.importorskip("lifelines")
    import pandas as pd

    time, event, age, other, fold = followed(3, 200)
    standard = np.concatenate([(other[fold == k] - other[fold == k].mean()) / other[fold == k].std() for k in range(5)])
    order = np.concatenate([np.flatnonzero(fold == k) for k in range(5)])
    table = pd.DataFrame(
        {"t": time[order], "e": event[order], "age": age[order, 0], "risk": standard, "k": fold[order]}
    )
    of = [
        lifelines.CoxPHFitter().fit(table[columns], "t", "e", strata=["k"]).log_likelihood_
        for columns in (["t", "e", "age", "k"], ["t", "e", "age", "risk", "k"])
    ]
    assert added_value(time, event, age, other, fold).statistic == pytest.approx(2 * (of[1] - of[0]), rel=1e-4)


def test_within_a_group_only_its_own_pairs_of_one_fold_count():
    time, event, _, other, fold = followed(4, 60)
    whole = c_index_by(time, event, other, np.zeros(60, dtype=int), ["all"] * 60)
    assert whole["all"] == (60, int(event.sum()), pytest.approx(c_index(time, event, other)))
    groups = ["a" if one else "b" for one in np.arange(60) % 3]
    found = c_index_by(time, event, other + 1000 * fold, fold, groups)
    assert found["a"][0] == 40
    assert found == c_index_by(time, event, other, fold, groups), "the scale of a fold does not count"
    assert c_index_by(time[:1], event[:1], other[:1], fold[:1], ["x"]) == {"x": (1, int(event[0]), None)}


def test_one_fold_cannot_be_nested():
    time, event, age, other, _ = followed()
    with pytest.raises(NotComputable, match="two folds"):
        added_value(time, event, age, other, np.zeros(400, dtype=int))
