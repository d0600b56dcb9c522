"""Whatever a tuner may pick of a model's search space can be built and trained, and is what the model is by default."""

import math
import random

import pytest
import torch
from milsurv.benchmark import catalogue
from milsurv.benchmark.recipe import RECIPES, change
from milsurv.benchmark.training.losses import LOSSES
from milsurv.benchmark.tuning.spaces import TRAINING
from milsurv.models import registry
from milsurv.models.contract import Places, Prepares, Trained
from milsurv.models.spec import ModelSpec

DIM = 8
BAGS = {5: (2, 4), 10: (5, 9), 20: (11, 20)}  # patches of two bags, each of one slide


def points(spec: ModelSpec, count: int) -> list[dict[str, object]]:
    """Settings drawn from a space; the same ones every time."""
    draw = random.Random(spec.name)
    found = []
    for _ in range(count):
        point: dict[str, object] = {}
        for name, of in spec.search_space.items():
            if isinstance(of, tuple):
                point[name] = draw.choice(of)
            else:
                low, high = (math.log(float(str(of[end]))) for end in ("low", "high"))
                point[name] = math.exp(draw.uniform(low, high))
        found.append(point)
    return found


class Bag:
    def __init__(self, features):
        self.features = features


@pytest.mark.parametrize("spec", registry.specs(), ids=lambda s: s.name)
def test_drawn_settings_are_built_and_take_a_step(spec) -> None:
    generator = torch.Generator().manual_seed(0)
    features = {m: torch.randn(sum(n), DIM, generator=generator) for m, n in BAGS.items()}
    side = {m: torch.arange(sum(n)) for m, n in BAGS.items()}
    places = Places(
        {m: torch.stack([at % 6, at // 6], 1).int() for m, at in side.items()},
        {m: torch.arange(2, dtype=torch.int32).repeat_interleave(torch.tensor(n)) for m, n in BAGS.items()},
    )
    patients = {f"p{i}": Bag({m: x.split(BAGS[m])[i].half().numpy() for m, x in features.items()}) for i in range(2)}
    given = ({m: features[m] for m in spec.scales}, {m: torch.tensor(BAGS[m]) for m in spec.scales})
    for point in points(spec, 5):
        torch.manual_seed(0)
        model = spec.build(DIM, 4, **{**spec.defaults, **point})
        if isinstance(model, Prepares):
            import numpy as np

            model.prepare(patients, tuple(patients), np.random.default_rng(0))
        out = model.train()(*given, *((places,) if spec.places else ()))
        scores = out.scores if isinstance(out, Trained) else out
        assert scores.shape == (2, 4) and scores.isfinite().all(), point
        scores.square().sum().backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters()), point


@pytest.mark.parametrize("spec", registry.specs(), ids=lambda s: s.name)
def test_the_default_of_a_setting_is_in_its_space(spec) -> None:
    for name, of in spec.search_space.items():
        value = spec.defaults[name]
        inside = value in of if isinstance(of, tuple) else of["low"] <= value <= of["high"]
        assert inside, f"{name}={value} is not in {of}"
        assert name not in TRAINING


@pytest.mark.parametrize("spec", registry.specs(), ids=lambda s: s.name)
def test_every_dropout_of_a_model_but_those_kept_small_may_be_tuned(spec) -> None:
    """A model that is never given less, or more, dropout is tuned half."""
    assert "input_dropout" in spec.search_space or "input_dropout" not in spec.defaults
    assert "dropout" in spec.search_space or not spec.defaults.get("dropout")


def test_how_models_are_trained_is_one_space_of_fields_of_a_recipe() -> None:
    for name, of in TRAINING.items():
        ends = of if isinstance(of, tuple) else (of["low"], of["high"])
        for value in ends:
            assert getattr(change(RECIPES["default"], {name: str(value)}), name) == value
    assert set(TRAINING["loss"]) <= set(LOSSES)


@pytest.mark.parametrize(
    "space", [{"hiden": (1, 2)}, {"dropout": ()}, {"dropout": {"low": 0.0, "high": 0.5, "log": True}}]
)
def test_a_space_of_something_else_is_refused(space) -> None:
    spec = registry.get("abmil")
    with pytest.raises(ValueError, match=r"abmil: search_space"):
        ModelSpec(**{**vars(spec), "search_space": space})


def test_lists_show_the_spaces() -> None:
    rows = {row["name"]: row["tuned"] for row in catalogue.models()}
    assert "hidden 128, 256 or 512" in str(rows["abmil"]) and str(rows["clinical-cox"]).startswith(
        "penalty 0.01 to 1000"
    )
    assert {row["setting"] for row in catalogue.tuning()} == set(TRAINING)
