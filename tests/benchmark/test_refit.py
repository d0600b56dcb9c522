"""Training again on everyone: for the epochs that the validation split chose, and it is what `selected` reads."""

import dataclasses

import numpy as np
import pytest
import torch
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.planning.resolve import resolve
from milsurv.benchmark.recipe import RECIPES, Recipe, change, id_fields, title
from milsurv.benchmark.training import fold as folds
from milsurv.benchmark.training.fold import FoldParts, train_fold
from milsurv.benchmark.verify.ids import as_row_fields
from milsurv.models.registry import MODELS
from milsurv.survival.followup import FollowUp
from small_models import DIM
from tiny_fold import SHORT, Fold

REFIT = dataclasses.replace(SHORT, epochs=8, refit=True, learning_rate=0.05)


@pytest.fixture
def trainings(monkeypatch):
    """Who learned, who chose the epoch, and what came of it, training by training."""
    found, real = [], folds.fit

    def fit(model, loss, recipe, bags, train, val, *rest):
        fitted = real(model, loss, recipe, bags, train, val, *rest)
        found.append((train, val, fitted))
        return fitted

    monkeypatch.setattr(folds, "fit", fit)
    return found


def test_everyone_of_the_training_set_is_learned_from_for_the_chosen_epochs(trainings):
    fold = Fold("abmil", REFIT)
    outcome = fold.train()
    (train, val, first), (everyone, nobody, second) = trainings
    assert everyone.patients == (*train.patients, *val.patients) and nobody.patients == ()
    np.testing.assert_array_equal(everyone.followup.time, np.concatenate([train.followup.time, val.followup.time]))
    assert len(second.curve) == first.selected == outcome.fields["epoch_selected"] < len(first.curve)
    ends = [[line["learning_rate"] for line in one.curve] for one in (first, second)]
    assert ends[1] == pytest.approx(ends[0][: len(ends[1])], rel=0.2)  # the same course; an epoch has a step more


def test_only_selected_is_read_from_the_second_training():
    plain, again = (Fold("abmil", dataclasses.replace(REFIT, refit=refit)).train() for refit in (False, True))
    risks = [
        {reading: [line["risk"] for line in one.predictions if line["reading"] == reading] for reading in one.weights}
        for one in (plain, again)
    ]
    assert risks[0]["selected"] != risks[1]["selected"]
    assert risks[0]["last"] == risks[1]["last"] and risks[0]["best"] == risks[1]["best"]
    assert plain.curve == again.curve


def test_the_test_fold_moves_nothing(trainings):
    fold = Fold("abmil", REFIT)
    fold.train()
    test = fold.parts.test
    dealt = dataclasses.replace(test, followup=FollowUp(test.followup.time[::-1], ~test.followup.event))
    parts: FoldParts = dataclasses.replace(fold.parts, test=dealt, scored_test=dealt)
    train_fold(fold.experiment, parts, fold.bags, fold.build, DIM)
    weights = [fitted.weights for *_, fitted in trainings]
    for one, other in zip(weights[:2], weights[2:], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_recipe_without_a_validation_split_cannot_refit():
    with pytest.raises(ValueError, match="refit=True needs a validation split"):
        change(RECIPES["reference"], {"refit": "true"})
    with pytest.raises(ValueError, match="refit=maybe: expected true or false"):
        change(Recipe(), {"refit": "maybe"})


def test_ids_of_recipes_without_the_new_fields_stay_as_they_were():
    assert not {"refit", "train_patches"} & set(id_fields(Recipe()))
    assert id_fields(Recipe(refit=True))["refit"] is True
    assert title(Recipe(refit=True, train_patches=512)) == "default (refit=True, train_patches=512)"


def test_a_title_names_a_learning_rate_only_where_somebody_set_it():
    def recipe(**settings: str) -> Recipe:
        found = resolve(Request("abmil", "blca", features_path="synthetic", settings=settings)).recipe
        assert found is not None
        return found

    own = recipe()
    assert own.learning_rate == MODELS["abmil"].learning_rate and title(own) == "default"
    assert title(recipe(learning_rate="0.0003")) == "default (learning_rate=0.0003)"
    assert title(recipe(epochs="2", learning_rate="0.0003")) == "default (learning_rate=0.0003, epochs=2)"
    assert recipe(learning_rate=str(own.learning_rate)) == own
    rows = [as_row_fields({"recipe": id_fields(one), "protocol": 4}) for one in (own, recipe(learning_rate="0.0003"))]
    assert [row["recipe"] for row in rows] == ["default", "default (learning_rate=0.0003)"]
    before = [as_row_fields({"recipe": id_fields(Recipe(learning_rate=rate)), "protocol": 2}) for rate in (5e-4, 1e-3)]
    assert [row["recipe"] for row in before] == ["default", "default (learning_rate=0.001)"]
