"""Learning is real: near the oracle where a hazard was planted, and at a coin's level where none was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from milsurv.benchmark.cross_validation.cross_validate import cross_validate
from milsurv.benchmark.cross_validation.parts import fold_parts
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.results.finished import Finished
from milsurv.datasets.simulated.cohort import simulate_cohort
from milsurv.models.registry import MODELS
from milsurv.survival.concordance import c_index

pytestmark = pytest.mark.slow


class Nobody:
    """Watches and records nothing."""

    def begin(self):
        pass

    def epoch(self, *args):
        pass

    def fold(self, *args):
        pass

    def end(self, *args):
        pass


def simulated_cohort(strength: float, folder: Path, patients: int) -> Path:
    return simulate_cohort("blca", "tiny", folder / "blca", strength=strength, patients=patients, cells=3, dim=64)


def finished(model: str, cohort_folder: Path, out: Path, **settings: str):
    features, labels = str(cohort_folder / "features"), cohort_folder / "labels.csv"
    request = Request(model, "blca", features_path=features, labels_path=labels, folds=3, settings=settings)
    experiment, data = load(request)
    rows = cross_validate(experiment, data, out, "", Nobody(), Nobody())
    return Finished(experiment, rows), experiment, data


@pytest.mark.parametrize("model", ["abmil", "crossfusion"])
def test_a_strong_hazard_is_found_to_within_five_hundredths_of_the_oracle(model, tmp_path):
    # As `--features synthetic` draws it, trained by the default recipe: what a newcomer gets.
    request = Request(model, "blca", features_path="synthetic", out=tmp_path, folds=3)
    experiment, data = load(request)
    first = replace(data, folds=replace(data.folds, splits=data.folds.splits[:1]))  # all of them take minutes
    (row,) = cross_validate(experiment, first, tmp_path, "", Nobody(), Nobody())
    oracle, found = row.score("oracle_c_index"), row.score("c_index_selected")
    assert oracle is not None and oracle > 0.75
    assert found is not None and found > oracle - 0.05


@pytest.fixture(scope="module")
def null(tmp_path_factory) -> Path:
    return simulated_cohort(0.0, tmp_path_factory.mktemp("null"), patients=150)


@pytest.mark.parametrize("model", MODELS)
def test_without_a_hazard_every_model_stays_within_noise_of_a_coin(model, null, tmp_path):
    small = {"embed_dim": "32"} if "embed_dim" in MODELS[model].defaults else {}
    small |= {"hidden": "64"} if model in ("rrtmil", "mambamil", "mhim-transmil") else {}
    small |= {key: "4" for key in MODELS[model].defaults if key.endswith("_heads")}
    if model in ("mambamil", "mhim-transmil"):  # minutes on the sixteen times as many patches of 20x
        small["scale"] = "5"
    result, experiment, data = finished(model, null, tmp_path, epochs="3", **small)
    tests = [fold_parts(experiment, data, split).test.followup for split in data.folds.splits]
    rng = np.random.default_rng(0)
    coins = [np.mean([c_index(t.time, t.event, rng.random(len(t.time))) for t in tests]) for _ in range(300)]
    assert np.std(coins) < 0.06
    assert abs(result.summary()["mean"]["selected"] - 0.5) < 3.5 * np.std(coins)
