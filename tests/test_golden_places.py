"""Models that know where patches lie give the numbers that the public codes gave, with their weights."""

import numpy as np
import pytest
import torch
from golden_zoo import bag_of, check_bags, model_of, near, needs_spec, norms_of, parameters_of, zoo

pytestmark = needs_spec

UNUSED = {"patchgcn": 2 * 16}  # parameters of the public code that have no effect, and that ours does not have


@pytest.mark.parametrize("case", ["deepgraphsurv", "patchgcn", "mustmil", "csmil", "hipt", "zoommil", "dsca"])
def test_public_weights_give_the_public_numbers(case: str) -> None:
    model = model_of(case)
    assert parameters_of(model) + UNUSED.get(case, 0) == zoo()["cases"][case]["n_parameters"]
    check_bags(case, model, places=True)


def test_mustmil_trains_on_the_scores_of_every_scale() -> None:
    model = model_of("mustmil")
    for b, bag in enumerate(zoo()["cases"]["mustmil"]["bags"]):
        given = model.train()(*bag_of("mustmil", b))
        assert given.scores[0].tolist() == near(bag["logits"])
        assert [view[0].tolist() for view in given.views] == [near(bag[f"logits_{m}"]) for m in (20, 10, 5)]
        assert given.view_weight == 1


def test_zoommil_in_training_selects_under_noise() -> None:
    model, seed = model_of("zoommil").train(), zoo()["seed"]
    for b, bag in enumerate(zoo()["cases"]["zoommil"]["bags"]):

        def noise(level: int, scores: torch.Tensor, b: int = b) -> torch.Tensor:
            drawn = np.random.default_rng([seed, b, 7000 + level]).standard_normal((1, 100, len(scores)))
            return torch.from_numpy(drawn.astype(np.float32)[0])

        model.noise = noise
        features, lengths, places = bag_of("zoommil", b)
        logits = model(features, lengths, places)[0]
        assert logits.tolist() == near(bag["training"]["logits"])
        assert norms_of(logits, features) == near(bag["training"]["input_grad_norms"], 1e-3)
