"""Models that know where patches lie give the numbers that the public codes gave, with their weights."""

import dataclasses

import numpy as np
import pytest
import torch
from golden_zoo import bag_of, check_bags, model_of, near, needs_spec, norms_of, parameters_of, zoo
from milsurv.models import protosurv
from milsurv.models.layers import mixture
from milsurv.models.layers.dropout import Dropout
from milsurv.models.registry import MODELS

pytestmark = needs_spec

UNUSED = {
    "protosurv": 2 * 8 + 2 * 16 + 16 * 33 + 16 * 13,
    "scmil": 2 * 24 * 25 + 72 * 25,
    "patchgcn": 2 * 16,
    "h2mil": 2 * 387,
}  # parameters of the public code that have no effect, and that ours does not have


@pytest.mark.parametrize("case", ["deepgraphsurv", "patchgcn", "mustmil", "csmil", "hipt", "zoommil", "dsca", "h2mil"])
def test_public_weights_give_the_public_numbers(case: str) -> None:
    model = model_of(case)
    assert parameters_of(model) + UNUSED.get(case, 0) == zoo()["cases"][case]["n_parameters"]
    check_bags(case, model, places=True)


# Millions of parameters of the published widths with 4 outputs at 1024 and 1536 features, and of these the dead ones.
PUBLISHED = {
    "deepgraphsurv": (0.79, 0.92, 0, 0),
    "patchgcn": (1.38, 1.45, 0, 0),
    "scmil": (10.2, 22.4, 5.24, 11.8),
    "protosurv": (53.0, 63.0, 0.92, 0.92),
    "zoommil": (2.89, 3.68, 0, 0),
    "mustmil": (0.46, 0.65, 0, 0),
    "csmil": (0.07, 0.10, 0, 0),
    "hipt": (3.50, 3.60, 0, 0),
    "dsca": (8.57, 11.5, 0, 0),
    "h2mil": (0.83, 1.09, 0.14, 0.14),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_hyperparameters_make_a_model_of_the_published_size(name: str) -> None:
    spec = MODELS[name]
    for dim, total, dead in zip((1024, 1536), PUBLISHED[name][:2], PUBLISHED[name][2:], strict=True):
        ours = parameters_of(spec.build(dim, 4, **spec.reference_defaults)) / 1e6
        assert ours + dead == pytest.approx(total, rel=0.01, abs=0.005)


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


def test_h2mil_pools_the_nodes_that_the_public_code_pools() -> None:
    model = model_of("h2mil")
    for b, bag in enumerate(zoo()["cases"]["h2mil"]["bags"]):
        tree = model.tree(*(lambda f, _, p: (f, p))(*bag_of("h2mil", b)), 0)
        assert sorted(zip(*tree.edges.tolist(), strict=True)) == sorted(zip(*bag["edges"], strict=True))
        x = model.norm(torch.relu(model.conv1(model.norm(tree.x), tree.edges, tree.level)))
        tree = dataclasses.replace(tree, x=x)
        assert model.pool1.assigned(tree).tolist() == bag["cluster_1"]
        tree = model.pool1(tree)
        tree = dataclasses.replace(tree, x=model.norm(torch.relu(model.conv2(tree.x, tree.edges, tree.level))))
        assert model.pool2.assigned(tree).tolist() == bag["cluster_2"]
        assert [len(tree.x), len(model.pool2(tree).x)] == bag["nodes_after"]


def given_clusters(model: torch.nn.Module, bag: dict) -> None:
    """Take the public code's k-means labels, which no other library gives, and check that it kept what ours keeps."""

    def labels(y: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        assert cells.tolist() == [bag["coords"]["20"][i] for i in bag["kept"]]
        return torch.tensor(bag["cluster_of_kept"])

    model.cluster = labels


def test_scmil_with_the_public_clusters_gives_the_public_numbers() -> None:
    model = model_of("scmil")
    assert parameters_of(model) + UNUSED["scmil"] == zoo()["cases"]["scmil"]["n_parameters"]
    for b, bag in enumerate(zoo()["cases"]["scmil"]["bags"]):
        given_clusters(model, bag)
        features, lengths, places = bag_of("scmil", b)
        logits = model(features, lengths, places)[0]
        assert logits.tolist() == near(bag["logits"])
        assert norms_of(logits, features) == near(bag["input_grad_norms"], 1e-3)


def test_scmil_with_its_mixture_gives_the_public_distribution() -> None:
    model = model_of("scmil-mdn")
    assert parameters_of(model) + UNUSED["scmil"] == zoo()["cases"]["scmil-mdn"]["n_parameters"]
    for b, bag in enumerate(zoo()["cases"]["scmil-mdn"]["bags"]):
        given_clusters(model, bag)
        features, lengths, places = bag_of("scmil-mdn", b)
        scores = model(features, lengths, places)
        w, mu, sigma = (part[0].tolist() for part in scores.chunk(3, 1))
        assert (np.exp(w).tolist(), mu, np.exp(sigma).tolist()) == (near(bag["w"]), near(bag["mu"]), near(bag["sigma"]))
        alive = [mixture.survival(scores, torch.tensor([t])).item() for t in bag["survival_at"]]
        assert alive == near(bag["survival"])
        assert mixture.density(scores, torch.tensor([1.25])).tolist() == near(bag["pdf_at_1.25"])
        (gradient,) = torch.autograd.grad(mixture.survival(scores, torch.tensor([1.0])).sum(), [features[20]])
        assert gradient.norm().item() == near(bag["input_grad_norm_of_survival_at_1"], 1e-3)


def test_the_mixture_stays_finite_beyond_seven_years() -> None:
    scores = torch.cat([torch.zeros(1, 1), torch.tensor([[100.0]]), torch.tensor([[2.0]])], 1).requires_grad_()
    alive = [mixture.survival(scores, torch.tensor([t])) for t in (1e-3, 29.9, 30.1, 88.0, 95.0, 400.0)]
    assert all(0 <= s.item() <= 1 for s in alive) and alive[3] > alive[4] > alive[5]
    density = mixture.density(scores, torch.tensor([120.0]))
    density.sum().backward()
    assert density.isfinite().all() and density > 0 and scores.grad.isfinite().all()


def test_protosurv_with_the_public_types_gives_the_public_risk_and_penalties() -> None:
    model, case = model_of("protosurv"), zoo()["cases"]["protosurv"]
    trained = parameters_of(model)
    assert trained + UNUSED["protosurv"] == case["n_parameters"]
    for b, bag in enumerate(case["bags"]):
        model.types = lambda x, bag=bag: torch.tensor(bag["types"])
        features, lengths, places = bag_of("protosurv", b)
        logits = model.eval()(features, lengths, places)[0]
        assert logits.tolist() == near(bag["logits"])
        (gradient,) = torch.autograd.grad(logits.sum(), [features[20]], retain_graph=True)
        assert [gradient.norm().item()] == near(bag["input_grad_norms_of_log_risk"], 1e-3)
        types, x = torch.tensor(bag["types"]), features[20]
        back = model.back(model.prototypes_of(x, types, [len(x)])[0])
        assert protosurv.compatibility(x, types, back).item() == near(bag["compatibility_loss"])
        assert protosurv.orthogonality(back).item() == near(bag["orthogonality_loss"])
        model.train()
        for module in model.modules():
            if isinstance(module, Dropout):
                module.p = 0.0
        given = model(features, lengths, places)
        assert given.scores[0].tolist() == near(bag["logits"])
        expected = 0.01 * bag["compatibility_loss"] + 0.1 * bag["orthogonality_loss"]
        assert given.penalty.tolist() == near([expected])
