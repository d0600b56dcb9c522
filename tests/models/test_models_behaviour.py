"""What single models promise beside the common contract."""

import re

import pytest
import torch
from milsurv.models.abmil import ABMIL
from milsurv.models.abmil_late import ABMILLate
from milsurv.models.crossfusion import CrossFusion
from milsurv.models.dsmil import DSMIL
from milsurv.models.reference import CASES, REFERENCE_NAMES, load_reference, reference_entries
from milsurv.models.registry import MODELS

SIZES = {5: [4, 3], 10: [11, 7], 20: [30, 41]}
FEATURES = {m: torch.randn(sum(n), 8, generator=torch.Generator().manual_seed(m)) for m, n in SIZES.items()}
LENGTHS = {m: torch.tensor(n) for m, n in SIZES.items()}


@pytest.mark.parametrize("name", ["crossfusion", "crossfusion-concat", "crossfusion-single"])
def test_attention_dropout_in_evaluation_is_off_and_can_be_left_on_as_in_the_public_code(name: str) -> None:
    small = {"embed_dim": 16, "num_heads": 2, "attention_dropout": 0.5}
    torch.manual_seed(0)
    sound = MODELS[name].build(8, 4, **small).eval()
    defect = MODELS[name].build(8, 4, **small, attention_dropout_in_eval=True).eval()
    for p in sound.parameters():
        p.data += 0.2 * torch.randn_like(p)
    defect.load_state_dict(sound.state_dict())
    assert torch.equal(sound(FEATURES, LENGTHS), sound(FEATURES, LENGTHS))
    assert not torch.equal(defect(FEATURES, LENGTHS), defect(FEATURES, LENGTHS))


def test_features_of_the_embedding_width_are_not_projected() -> None:
    model = CrossFusion(16, 4, embed_dim=16, num_heads=2)
    assert isinstance(model.streams.source_projection, torch.nn.Identity)


def test_crossfusion_starts_from_the_published_initialisation() -> None:
    torch.manual_seed(0)
    model = CrossFusion(96, 4, embed_dim=64)
    linear = model.streams.fine_cross.attention.kv
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not linear.bias.any() and not model.fuse.conv7.bias.any() and not model.fuse.mix.bias.any()
    fan_out = 7 * 7 * 32  # as torch counts it, without the groups
    assert model.fuse.conv7.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
    assert 0 < model.head.class_token.abs().max() < 1e-5
    assert model.streams.coarse_cross.attention.embedding.std().item() == pytest.approx(0.02, rel=0.3)


def test_abmil_late_is_the_mean_of_three_abmils() -> None:
    model = ABMILLate(8, 3, hidden=16, attention=8).eval()
    apart = []
    for scale in (5, 10, 20):
        one = ABMIL(8, 3, scale=scale, hidden=16, attention=8).eval()
        one.load_state_dict(model.models[f"x{scale}"].state_dict())
        apart.append(one(FEATURES, LENGTHS))
    torch.testing.assert_close(model(FEATURES, LENGTHS), sum(apart) / 3)


def test_dsmil_averages_its_two_streams() -> None:
    model = DSMIL(8, 2, hidden=4).eval()
    both = model(FEATURES, LENGTHS)
    model.instance_weight = 0.0
    bag = model(FEATURES, LENGTHS)
    largest = torch.stack([s.amax(0) for s in model.instance(FEATURES[20]).split(SIZES[20])])
    torch.testing.assert_close(both, (bag + largest) / 2)


def test_abmil_attends_to_the_patch_with_the_largest_score() -> None:
    model = ABMIL(8, 1, hidden=16, attention=8).eval()
    model.pool.score.weight.data *= 1e4  # a hard attention: the weights become one and zeros
    x = model.embed(FEATURES[20][:30])
    scores = model.pool.score(torch.tanh(model.pool.content(x)) * torch.sigmoid(model.pool.gate(x)))
    torch.testing.assert_close(model(FEATURES, LENGTHS)[0], model.head(x[scores.argmax()]), atol=1e-4, rtol=1e-4)


def reference_weights(name: str) -> dict[str, torch.Tensor]:
    """Weights of the reference's names and shapes, all ones."""
    small = {"embed_dim": 32} if "crossfusion" in name else {}
    case = CASES[name]
    spec = MODELS[case.model]
    ours = spec.build(24, 12, **{**spec.reference_defaults, **case.fixed, **small}).state_dict()
    weights = {}
    for entry, value in ours.items():
        if any(re.search(pattern, entry) for pattern in case.ours_alone):
            continue
        names = reference_entries(name, entry)
        weights |= {n: torch.ones_like(part) for n, part in zip(names, value.chunk(len(names)), strict=True)}
    return weights


@pytest.mark.parametrize("name", REFERENCE_NAMES)
def test_a_checkpoint_of_data_parallel_loads(name: str) -> None:
    weights = {f"module.{key}": value for key, value in reference_weights(name).items()}
    model = load_reference(name, weights)
    assert not model.training
    assert all((p == 1).all() for p in model.parameters())


def test_weights_that_do_not_fit_are_all_listed() -> None:
    weights = reference_weights("abmil")
    weights["attention_net.2.attention_c.weight"] = torch.ones(1, 7)
    del weights["attention_net.2.attention_b.0.bias"]
    weights["something.else"] = torch.ones(1)
    with pytest.raises(ValueError) as caught:
        load_reference("abmil", weights)
    message = str(caught.value)
    assert "missing: attention_net.2.attention_b.0.bias" in message
    assert "unexpected: something.else" in message
    assert "shape: attention_net.2.attention_c.weight gives (1, 7), expected (1, 256)" in message


def test_a_foreign_state_dict_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(ValueError, match=r"missing: mlp_head.0.bias, cls_token"):
        load_reference("crossfusion", {"weight": torch.ones(1)})
    with pytest.raises(ValueError, match="no weights of 'meanpool'; it has crossfusion"):
        load_reference("meanpool", {})
