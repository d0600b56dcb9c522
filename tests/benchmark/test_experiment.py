"""An experiment's id is a hash of all that decides its numbers, and of nothing else; so are the seeds of its folds."""

from dataclasses import fields, replace

import pytest
from milsurv.benchmark.experiment import Experiment, id_of, seed_for
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.planning.resolve import resolve
from milsurv.benchmark.recipe import RECIPES, Tuning
from milsurv.errors import UsageError

TRAINED = Experiment(
    model="abmil", hyperparameters={"embed_dim": 128}, cohort="blca", cohort_version="1", recipe=RECIPES["default"],
    folds_name="official", n_folds=5, seed=0, device="cpu", labels_fingerprint="a", folds_fingerprint="b",
    features_fingerprint="c", backbone="uni", magnifications=(20,),
)  # fmt: skip
OTHER = {
    "model": "dsmil", "hyperparameters": {"embed_dim": 64}, "cohort": "brca", "cohort_version": "2",
    "recipe": RECIPES["reference"], "folds_name": "stratified-5-seed0", "n_folds": 4, "seed": 1, "device": "cuda",
    "labels_fingerprint": "d", "folds_fingerprint": "d", "features_fingerprint": "d", "backbone": "conch",
    "magnifications": (5, 20), "endpoint": "dss", "slides": "first-dx", "missing": "drop", "synthetic": True,
    "predictions_fingerprint": "d", "protocol": TRAINED.protocol + 1,
    "tuning": Tuning(30, None, 3, {"batch": {"choices": [8, 16]}}), "covariates": ("age",),
}  # fmt: skip
# A baseline is fitted once, on the CPU, to labels and at most to how many patches there are.
SAME_BASELINE = {
    "cohort_version", "n_folds", "device", "backbone", "magnifications", "endpoint", "missing", "covariates",
}  # fmt: skip


def test_every_field_is_tried():
    assert OTHER.keys() == {field.name for field in fields(Experiment)}
    assert all(getattr(TRAINED, name) != value for name, value in OTHER.items())


@pytest.mark.parametrize("name", sorted(OTHER.keys() - {"predictions_fingerprint"}))
def test_whatever_decides_the_numbers_of_a_model_decides_its_id(name):
    assert replace(TRAINED, **{name: OTHER[name]}).id != TRAINED.id


@pytest.mark.parametrize("name", sorted(OTHER.keys() - {"predictions_fingerprint", "recipe"}))
def test_a_baseline_has_another_id_only_where_its_numbers_may_be_others(name):
    baseline = replace(TRAINED, recipe=None)
    assert (replace(baseline, **{name: OTHER[name]}).id == baseline.id) == (name in SAME_BASELINE)


def test_the_order_of_settings_does_not_matter_and_an_id_is_the_same_on_every_machine():
    assert id_of({"a": 1, "b": [5, 10]}) == id_of({"b": [5, 10], "a": 1}) == "4ebad0d029"


def test_seeds_differ_by_fold_and_purpose_and_are_the_same_on_every_machine():
    purposes = ("weights", "batches", "validation", "dropout")
    assert len({seed_for(s, f, p) for s in (0, 1) for f in (0, 1) for p in purposes}) == 16
    assert seed_for(0, 0, "weights") == 6114210651174087966


def test_a_loss_with_a_head_of_its_own_names_it():
    resolve(Request("scmil", "blca", settings={"head": "mixture", "loss": "mixture"}))
    with pytest.raises(UsageError, match="the loss mixture needs a head of its own: --set head=mixture"):
        resolve(Request("abmil", "blca", settings={"loss": "mixture"}))
    with pytest.raises(UsageError, match="--set head=mixture"):
        resolve(Request("scmil", "blca", settings={"loss": "mixture"}))
    with pytest.raises(UsageError, match="not trained by the loss nll: --loss mixture"):
        resolve(Request("scmil", "blca", settings={"head": "mixture"}))


def test_a_file_among_the_settings_counts_by_its_content_and_is_left_out_where_there_is_none(tmp_path):
    file = tmp_path / "texts.pt"
    found = []
    for content in (b"one", b"two", b"one"):
        file.write_bytes(content)
        asked = Request("protosurv", "blca", settings={"type_vectors": str(file)})
        found.append(resolve(asked).hyperparameters["type_vectors"])
    assert found[0] == found[2] != found[1] and found[0].startswith(f"{file}@")
    with pytest.raises(UsageError, match=r"type_vectors=.*nothing: No such file"):
        resolve(replace(asked, settings={"type_vectors": str(tmp_path / "nothing")}))
    assert "type_vectors" not in resolve(Request("protosurv", "blca")).hyperparameters
