"""Clinical curves: points that scikit-survival and plain counting give too, and none where nothing can be said."""

import numpy as np
import pytest
from milsurv.benchmark.results.scored_fold import read_fold
from milsurv.survival.calibration import calibration_index
from milsurv.survival.clinical_curves import ScoredFold, clinical_curves, net_benefit, pooled_calibration
from milsurv.survival.followup import FollowUp, Prediction
from milsurv.survival.metrics import METRICS, truncation_time
from sksurv.metrics import brier_score, cumulative_dynamic_auc
from sksurv.util import Surv

EDGES = np.array([10.0, 30.0, 60.0, 100.0])


def part(n: int, seed: int) -> tuple[FollowUp, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    death, censoring = rng.exponential(40 * np.exp(-z)), rng.exponential(60, n)
    return FollowUp(np.minimum(death, censoring), death <= censoring), z


def fold(k: int, survival: bool = True) -> ScoredFold:
    (train, _), (test, z) = part(300, k), part(100, k + 10)
    alive = np.exp(-np.exp(z)[:, None] * EDGES / 40)
    curves = (alive, EDGES) if survival else (None, None)
    return ScoredFold(k, train, test, Prediction(z, *curves, high=z > 0))


@pytest.fixture(scope="module")
def drawn() -> tuple[list[ScoredFold], list[dict]]:
    folds = [fold(0), fold(1)]
    return folds, clinical_curves(folds)


def table(followup: FollowUp) -> np.ndarray:
    return Surv.from_arrays(followup.event, followup.time)


def curve(points, name, number=""):
    found = [(p["x"], p["y"]) for p in points if p["curve"] == name and p["fold"] == number]
    return np.array(found).T


def test_curves_over_time_are_those_of_scikit_survival(drawn):
    (one, _), points = drawn
    watched = one.test.censored_after(np.nextafter(one.train.time.max(), 0))
    months, auc = curve(points, "auc", 0)
    assert auc == pytest.approx(
        cumulative_dynamic_auc(table(one.train), table(watched), one.prediction.risk, months)[0]
    )
    months, score = curve(points, "brier", 0)
    alive = one.prediction.survival_at(months)
    assert score == pytest.approx(brier_score(table(one.train), table(watched), alive, months)[1])
    assert (score[3:] < curve(points, "brier_km", 0)[1][3:]).all()


def test_they_are_read_every_quarter_up_to_the_truncation_time(drawn):
    folds, points = drawn
    for one in folds:
        months = curve(points, "auc", one.fold)[0]
        assert set(np.diff(months)) == {3} and truncation_time(one.train) - 3 < months[-1] <= truncation_time(one.train)


def test_the_calibration_curve_of_the_truth_lies_near_the_diagonal(drawn):
    folds, points = drawn
    predicted, observed = curve(points, "calibration_36")
    assert np.abs(predicted - observed).mean() < 0.05
    time, event = (np.concatenate([getattr(one.test, what) for one in folds]) for what in ("time", "event"))
    dead = 1 - np.concatenate([one.prediction.survival_at(np.array([36.0]))[:, 0] for one in folds])
    assert calibration_index(dead, time, event, 36) < 0.05


def test_shares_of_d_calibration_sum_to_one(drawn):
    upper, share = curve(drawn[1], "d_calibration")
    assert upper[-1] == 1 and share.sum() == pytest.approx(1) and share == pytest.approx(0.1, abs=0.06)


def test_without_censoring_net_benefit_is_counting():
    rng = np.random.default_rng(0)
    time, dead = rng.uniform(1, 100, 200), rng.uniform(0, 1, 200)
    thresholds = np.array([0.2, 0.5, 0.9])
    found = net_benefit(dead, time, np.ones(200, bool), 50, thresholds)
    treated, died = dead[:, None] >= thresholds, time[:, None] <= 50
    odds = thresholds / (1 - thresholds)
    assert found == pytest.approx(((treated & died).sum(0) - (treated & ~died).sum(0) * odds) / 200)


def test_treating_nobody_has_no_benefit():
    assert net_benefit(np.zeros(3), np.arange(1.0, 4.0), np.ones(3, bool), 2, np.array([0.5])) == 0


def test_the_model_beats_treating_everyone_where_it_matters(drawn):
    threshold, model = curve(drawn[1], "net_benefit_36")
    everyone = curve(drawn[1], "treat_all_36")[1]
    middle = (threshold > 0.4) & (threshold < 0.9)
    assert (model[middle] > np.maximum(everyone[middle], 0)).all()


def test_risks_alone_give_an_auc_and_nothing_that_needs_probabilities():
    assert {point["curve"] for point in clinical_curves([fold(0, survival=False)])} == {"auc"}


def test_a_fold_is_read_back_from_its_predictions():
    one = fold(0)
    predicted, time, event = one.prediction, one.test.time, one.test.event
    lines = [
        {
            "time": str(t), "event": str(int(e)), "risk": str(r), "risk_group": "high" if h else "low",
            **{f"edge_{j + 1}": str(edge) for j, edge in enumerate(EDGES)},
            **{f"survival_{j + 1}": str(s) for j, s in enumerate(alive)},
        }
        for t, e, r, h, alive in zip(time, event, predicted.risk, predicted.high, predicted.survival, strict=True)
    ]  # fmt: skip
    assert clinical_curves([read_fold(0, one.train, lines)]) == clinical_curves([one])


def test_calibration_over_folds_is_that_of_all_patients_at_once():
    rng = np.random.default_rng(3)
    folds = []
    for fold in range(4):
        time, event = rng.exponential(30, 45), rng.random(45) < 0.7
        alive = np.sort(rng.uniform(0.05, 0.95, (45, 3)))[:, ::-1]
        prediction = Prediction(alive.sum(axis=1), alive, np.array([12.0, 36.0, 60.0]))
        folds.append(ScoredFold(fold, FollowUp(time, event), FollowUp(time, event), prediction))
    together = FollowUp(*(np.concatenate([getattr(one.test, part) for one in folds]) for part in ("time", "event")))
    alive = np.concatenate([one.prediction.survival_at(np.array([12.0, 36.0, 60.0])) for one in folds])
    everybody = Prediction(alive.sum(axis=1), alive, np.array([12.0, 36.0, 60.0]))
    found = pooled_calibration(folds)
    for name in ("d_calibration_p", "ici_12", "ici_36", "ici_60"):
        assert found[name] == pytest.approx(METRICS[name](together, together, everybody)), name
    alone = pooled_calibration(folds[:1])
    assert "45 patients are too few" in str(alone["d_calibration_p"])
