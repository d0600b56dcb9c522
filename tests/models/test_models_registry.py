"""The registry lists ours by name, takes in other packages' models, and helps with names it does not know."""

from importlib.metadata import EntryPoint
from inspect import signature

import pytest
from milsurv.benchmark import catalogue
from milsurv.errors import UnknownName
from milsurv.models import abmil, registry
from milsurv.models.spec import ModelSpec
from milsurv.plugins import registered


def test_every_name_is_the_name_of_its_spec() -> None:
    assert all(name == spec.name for name, spec in registry.MODELS.items())
    assert len(set(registry.NAMES)) == len(registry.NAMES) <= len(registry.MODELS)


def test_an_unknown_name_ends_with_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        registry.get("CrossFusion_Concat2")
    message = str(caught.value)
    assert "Did you mean crossfusion-concat?" in message
    assert all(name in message for name in registry.MODELS)
    assert isinstance(caught.value, ValueError)


def test_a_broken_entry_point_is_named_and_the_others_remain() -> None:
    broken = EntryPoint("theirs", "no_such_package_anywhere:SPEC", registry.ENTRY_POINTS)
    with pytest.warns(RuntimeWarning, match=r"theirs = no_such_package_anywhere:SPEC.*cannot be loaded"):
        models = registered(ModelSpec, registry.ENTRY_POINTS, registry.specs(), [broken])
    assert set(models) == {spec.name for spec in registry.specs()}


@pytest.mark.parametrize(
    ("value", "why"),
    [("milsurv.models.abmil:ABMIL", "not a .*ModelSpec"), ("milsurv.models.abmil:SPEC", "exists already")],
)
def test_an_entry_point_that_is_no_new_spec_is_left_out_with_a_warning(value: str, why: str) -> None:
    with pytest.warns(RuntimeWarning, match=why):
        entry = EntryPoint("theirs", value, registry.ENTRY_POINTS)
        registered(ModelSpec, registry.ENTRY_POINTS, [abmil.SPEC], [entry])


def test_an_entry_point_with_a_spec_joins_the_registry() -> None:
    entry = EntryPoint("maxpool", "milsurv.models.maxpool:SPEC", registry.ENTRY_POINTS)
    assert set(registered(ModelSpec, registry.ENTRY_POINTS, [abmil.SPEC], [entry])) == {"abmil", "maxpool"}


@pytest.mark.parametrize("spec", registry.specs(), ids=lambda s: s.name)
def test_what_a_spec_reads_follows_its_scale(spec) -> None:
    assert spec.reads() == spec.reads({}) == spec.scales
    if spec.family == "single-scale":
        assert spec.reads({"scale": 5}) == (5,)
        assert spec.scales == (20,)
    else:
        assert len(spec.scales) > 1 and set(spec.scales) <= {5, 10, 20}


@pytest.mark.parametrize("spec", registry.specs(), ids=lambda s: s.name)
def test_both_recipes_name_every_hyperparameter_that_the_model_takes(spec) -> None:
    takes = [p.name for p in signature(spec.build).parameters.values() if p.kind == p.KEYWORD_ONLY]
    assert list(spec.defaults) == list(spec.reference_defaults) == takes
    assert set(spec.search_space) <= set(takes)


@pytest.mark.parametrize("spec", registry.specs(), ids=lambda s: s.name)
def test_defaults_and_search_spaces_build(spec) -> None:
    for hyperparameters in (spec.defaults, spec.reference_defaults):
        spec.build(16, 2, **hyperparameters)
    for name, choices in spec.search_space.items():
        values = choices if isinstance(choices, tuple) else (choices["low"], choices["high"])
        for value in values:
            spec.build(16, 2, **{**spec.defaults, name: value})


def test_the_list_of_models_says_which_need_coordinates() -> None:
    needs = {row["name"]: row["needs"] for row in catalogue.models()}
    assert all((needs[name] == "coordinates") == spec.places for name, spec in registry.MODELS.items())
    assert needs["patchgcn"] == "coordinates" and needs["abmil"] == ""
