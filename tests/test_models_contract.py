"""What every model of the registry keeps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.models.contract import Trained
from milsurv.models.registry import MODELS

DIM = 12
SMALL = {
    "hidden": 16,
    "attention": 8,
    "embed_dim": 16,
    "num_heads": 2,
    "landmarks": 8,
    "regions": 2,
}
every_model = pytest.mark.parametrize("name", MODELS)


def build(name: str, n_out: int = 4, **hyperparameters: object) -> torch.nn.Module:
    spec = MODELS[name]
    torch.manual_seed(3)
    small = {key: SMALL.get(key, value) for key, value in spec.defaults.items()}
    model = spec.build(DIM, n_out, **{**small, **hyperparameters})
    for p in model.parameters():  # the initial biases and class tokens are zero: that would hide much
        p.data += 0.1 * torch.randn_like(p)
    return model


def batch(sizes: dict[int, list[int]], seed: int = 0) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    features = {m: torch.randn(sum(n), DIM, generator=generator) for m, n in sizes.items()}
    return features, {m: torch.tensor(n) for m, n in sizes.items()}


def objective(given: torch.Tensor | Trained) -> torch.Tensor:
    """A scalar that reaches all that a model in training gives."""
    if not isinstance(given, Trained):
        return given.square().sum()
    parts = [given.scores, given.views, given.penalty]
    return sum(part.square().sum() for part in parts if part is not None)


def scores_of(given: torch.Tensor | Trained) -> torch.Tensor:
    return given.scores if isinstance(given, Trained) else given


def alone(features, lengths, bag: int):
    one = {m: x.split(lengths[m].tolist())[bag] for m, x in features.items()}
    return one, {m: n[bag : bag + 1] for m, n in lengths.items()}


MIXED = {5: [3, 1, 9, 2], 10: [14, 1, 37, 10], 20: [52, 3, 130, 1]}
bags_of_three_scales = st.lists(
    st.tuples(st.integers(1, 12), st.integers(1, 40), st.integers(1, 60)), min_size=1, max_size=6
)


@every_model
@settings(max_examples=12, deadline=None)
@given(bags=bags_of_three_scales, seed=st.integers(0, 99))
def test_a_batch_gives_every_bag_what_it_alone_gives(name: str, bags: list[tuple[int, int, int]], seed: int) -> None:
    model = build(name).eval()
    sizes = dict(zip((5, 10, 20), map(list, zip(*bags, strict=True)), strict=True))
    features, lengths = batch(sizes, seed)
    with torch.no_grad():
        together = model(features, lengths)
        apart = torch.cat([model(*alone(features, lengths, bag)) for bag in range(len(bags))])
    assert together.shape == (len(bags), 4)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


@every_model
def test_a_bag_gets_no_gradient_from_its_neighbours(name: str) -> None:
    model = build(name).eval()
    features, lengths = batch(MIXED)
    for x in features.values():
        x.requires_grad_()
    model(features, lengths)[2].sum().backward()
    for m in MODELS[name].reads():
        before, _, own, after = (g.abs().sum().item() for g in features[m].grad.split(MIXED[m]))
        assert before == after == 0
        assert own > 0


@every_model
def test_two_evaluations_are_equal(name: str) -> None:
    model = build(name).eval()
    features, lengths = batch(MIXED)
    torch.testing.assert_close(model(features, lengths), model(features, lengths), atol=0, rtol=0)


@every_model
@pytest.mark.parametrize("n_out", [1, 4])
def test_one_patch_is_a_bag(name: str, n_out: int) -> None:
    model = build(name, n_out)
    scores = scores_of(model(*batch({5: [1], 10: [1], 20: [1]})))
    assert scores.shape == (1, n_out)
    assert scores.isfinite().all()


@every_model
@pytest.mark.parametrize("n_out", [1, 4])
def test_training_reaches_every_parameter_and_every_scale_read(name: str, n_out: int) -> None:
    model = build(name, n_out).train()
    features, lengths = batch({5: [30, 9], 10: [60, 50], 20: [90, 100]})
    for x in features.values():
        x.requires_grad_()
    objective(model(features, lengths)).backward()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    assert [n for n, p in trained if p.grad is None] == []
    # Biases that a softmax cancels get no more than rounding errors; every weight matrix gets more.
    assert [n for n, p in trained if p.dim() > 1 and not p.grad.abs().max() > 1e-8] == []
    assert {m for m, x in features.items() if x.grad is not None} == set(MODELS[name].reads())


@every_model
def test_training_is_random_and_follows_the_seed(name: str) -> None:
    model = build(name, **{"ffn_dropout": 0.5} if "crossfusion" in name else {"input_dropout": 0.5}).train()
    features, lengths = batch(MIXED)
    torch.manual_seed(1)
    first, second = scores_of(model(features, lengths)), scores_of(model(features, lengths))
    torch.manual_seed(1)
    torch.testing.assert_close(scores_of(model(features, lengths)), first, atol=0, rtol=0)
    assert not torch.equal(first, second)


@every_model
def test_the_order_of_the_patches_matters_where_it_is_said_to(name: str) -> None:
    model = build(name).eval()
    features, lengths = batch({5: [9], 10: [21], 20: [50]})
    shuffled = {m: x[torch.randperm(len(x), generator=torch.Generator().manual_seed(5))] for m, x in features.items()}
    difference = (model(features, lengths) - model(shuffled, lengths)).abs().max()
    assert (difference < 1e-5) == MODELS[name].order_free


@every_model
def test_scales_that_are_not_read_are_ignored(name: str) -> None:
    model = build(name).eval()
    features, lengths = batch(MIXED)
    read = MODELS[name].reads()
    without = model({m: features[m] for m in read}, {m: lengths[m] for m in read})
    beside = model({**features, 40: torch.zeros(0, DIM)}, {**lengths, 40: torch.zeros(4, dtype=torch.long)})
    assert torch.equal(without, beside)


@pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if spec.family == "single-scale"])
def test_a_single_scale_model_reads_the_scale_it_is_given(name: str) -> None:
    features, lengths = batch(MIXED)
    at_20 = build(name).eval()({20: features[5]}, {20: lengths[5]})
    at_5 = build(name, scale=5).eval()(features, lengths)
    assert torch.equal(at_5, at_20)


@every_model
def test_the_state_makes_the_round_trip(name: str) -> None:
    features, lengths = batch(MIXED)
    model, other = (
        build(name).eval(),
        MODELS[name].build(DIM, 4, **{key: SMALL.get(key, value) for key, value in MODELS[name].defaults.items()}),
    )
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval()(features, lengths), model(features, lengths))


@every_model
def test_half_precision_by_autocast_trains(name: str) -> None:
    model = build(name).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = model(*batch({5: [9, 4], 10: [30, 12], 20: [60, 50]}))
    objective(given).float().backward()
    assert scores_of(given).isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@every_model
def test_double_precision_is_kept(name: str) -> None:
    model = build(name).double().eval()
    features, lengths = batch(MIXED)
    assert model({m: x.double() for m, x in features.items()}, lengths).dtype == torch.float64
