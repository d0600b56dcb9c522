"""Attributions of every model: what each says of patches, checked against what they are defined as."""

import pytest
import torch
from milsurv.benchmark.inference.heatmap.integrated import integrated_gradients
from milsurv.models.attribution.attention import TITLES, attention_maps
from milsurv.models.attribution.curves import deletion, insertion
from milsurv.models.attribution.gradients import gradient_times_input
from milsurv.models.attribution.occlusion import occlusion
from milsurv.models.attribution.scorer import Scorer
from milsurv.models.contract import Places
from milsurv.models.registry import MODELS
from small_models import DIM, build

every_model = pytest.mark.parametrize("name", MODELS)


def risk(scores: torch.Tensor) -> torch.Tensor:
    return scores.sigmoid().sum(1)


def scorer_of(name: str, cells: int = 4, **hyperparameters: object) -> Scorer:
    """A bag of `cells` 5x patches with all of their finer ones, under a small model."""
    spec = MODELS[name]
    generator = torch.Generator().manual_seed(1)
    coarse = torch.stack([torch.arange(cells) % 2, torch.arange(cells) // 2], 1)
    at: dict[int, torch.Tensor] = {5: coarse}
    for m in (10, 20):
        inside = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
        at[m] = (2 * at[m // 2][:, None] + inside).flatten(0, 1)
    read = spec.reads(spec.defaults)
    features = {m: torch.randn(len(at[m]), DIM, generator=generator) for m in read}
    places = None
    if spec.places:
        zeros = {m: torch.zeros(len(at[m]), dtype=torch.int32) for m in read}
        places = Places({m: at[m].int() for m in read}, zeros)
    return Scorer(build(name, **hyperparameters).eval(), risk, features, places)


@every_model
def test_every_patch_of_every_scale_gets_a_finite_value_by_each_method(name):
    scorer = scorer_of(name)
    groups = {m: torch.arange(len(x)) for m, x in scorer.features.items()}
    for found in (occlusion(scorer, groups), gradient_times_input(scorer), integrated_gradients(scorer, 4)):
        assert {m: len(values) for m, values in found.items()} == {m: len(x) for m, x in scorer.features.items()}
        assert all(values.isfinite().all() for values in found.values())


@every_model
def test_attention_maps_are_weights_of_the_patches_of_a_scale_that_is_read(name):
    scorer = scorer_of(name)
    for found in attention_maps(scorer):
        assert len(found.weights) == len(scorer.features[found.magnification])
        assert found.weights.min() >= 0 and found.weights.sum() == pytest.approx(1, abs=1e-5)


@every_model
def test_occlusion_is_the_change_of_the_risk_whatever_is_computed_together(name):
    scorer = scorer_of(name)
    m = max(scorer.features)
    groups = {m: torch.arange(len(scorer.features[m])) // 4}
    together = occlusion(scorer, groups, tokens=10_000)[m]
    alone = occlusion(scorer, groups, tokens=1)[m]
    assert together == pytest.approx(alone, abs=1e-4)
    changed = dict(scorer.features)
    changed[m] = changed[m].clone()
    changed[m][groups[m] == 1] = scorer.means()[m]
    fall = scorer.base() - Scorer(scorer.module, risk, changed, scorer.places).base()
    assert together[groups[m] == 1].sum() == pytest.approx(fall, abs=1e-4)


@pytest.mark.parametrize("name", ["meanpool", "abmil", "crossfusion", "transmil"])
def test_integrated_gradients_add_up_to_the_risk_over_that_of_mean_patches(name):
    scorer = scorer_of(name)
    found = sum(float(values.sum()) for values in integrated_gradients(scorer, 64).values())
    means = {m: mean.expand_as(scorer.features[m]) for m, mean in scorer.means().items()}
    expected = scorer.base() - Scorer(scorer.module, risk, means).base()
    assert found == pytest.approx(expected, abs=0.02 * max(1.0, abs(expected)))


def test_the_attention_of_abmil_is_what_weights_its_patches():
    scorer = scorer_of("abmil")
    (found,) = attention_maps(scorer)
    model = scorer.module
    h = model.embed(scorer.features[20])
    pooled = (found.weights[:, None] * h).sum(0, keepdim=True)
    assert risk(model.head(pooled)).item() == pytest.approx(scorer.base(), abs=1e-5)


def test_crossfusion_has_the_four_maps_of_the_papers_figure():
    found = attention_maps(scorer_of("crossfusion"))
    assert {one.title: one.magnification for one in found} == dict(zip(TITLES.values(), (5, 20, 10, 10), strict=True))


def test_received_cross_attention_is_the_mean_of_all_weights():
    scorer = scorer_of("crossfusion")
    module = scorer.module.streams.coarse_cross.attention
    streams = scorer.module.streams
    x, context = streams.source_projection(scorer.features[10]), streams.coarse_projection(scorer.features[5])
    width = x.shape[1]
    q = torch.nn.functional.linear(x + module.embedding, module.q.weight, module.q.bias)
    k = torch.nn.functional.linear(context + module.embedding, module.kv.weight, module.kv.bias)[:, :width]
    q, k = (part.unflatten(1, (module.heads, -1)).transpose(0, 1) for part in (q, k))
    weights = torch.softmax(q @ k.transpose(1, 2) / k.shape[2] ** 0.5, -1).mean((0, 1))
    found = next(one for one in attention_maps(scorer) if one.title == "coarse cross-attention")
    assert found.weights == pytest.approx(weights.detach(), abs=1e-6)


def test_the_groups_of_dtfd_do_not_disturb_the_order_of_patches():
    scorer = scorer_of("dtfd")
    (found,) = [one for one in attention_maps(scorer) if one.magnification == 20][:1]
    raw = scorer.module.attention.scores(scorer.module.embed(scorer.features[20]))[:, 0]
    count = min(scorer.module.groups, len(raw))
    expected = torch.empty(len(raw))
    for g in range(count):
        expected[g::count] = raw[g::count].softmax(0)
    assert found.weights == pytest.approx((expected / expected.sum()).detach(), abs=1e-5)


def test_nobody_hears_anything_once_nobody_listens():
    scorer = scorer_of("crossfusion")
    attention_maps(scorer)
    assert not any(module._forward_hooks for module in scorer.module.modules())


def test_taking_away_what_raises_the_risk_lowers_it_fastest():
    scorer = scorer_of("meanpool", cells=6)
    values = gradient_times_input(scorer)[20]
    first, last = (deletion(scorer, 20, ranked, (0.3, 0.6)) for ranked in (values, -values))
    assert (first < last).all()
    given = insertion(scorer, 20, values, (0.3, 0.6))
    assert (given > insertion(scorer, 20, -values, (0.3, 0.6))).all()
    assert deletion(scorer, 20, values, (1.0,)).item() == pytest.approx(scorer.base() - _over_means(scorer), abs=1e-4)


def _over_means(scorer: Scorer) -> float:
    means = {m: mean.expand_as(scorer.features[m]) for m, mean in scorer.means().items()}
    return scorer.base() - Scorer(scorer.module, risk, means).base()
