"""What every model of the registry keeps."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.models.contract import Places, Prepares, Trained
from milsurv.models.registry import MODELS
from small_models import DIM, SMALL, build
from torch import Tensor

every_model = pytest.mark.parametrize("name", MODELS)


@dataclass(frozen=True)
class Batch:
    """Bags laid end to end, with places for the models that ask for them."""

    features: dict[int, Tensor]
    lengths: dict[int, Tensor]
    places: Places

    def into(self, model: torch.nn.Module, name: str) -> Tensor | Trained:
        """What the model gives for this batch."""
        places = (self.places,) if MODELS[name].places else ()
        return model(self.features, self.lengths, *places)

    def scores(self, model: torch.nn.Module, name: str) -> Tensor:
        given = self.into(model, name)
        return given.scores if isinstance(given, Trained) else given

    def alone(self, bag: int) -> "Batch":
        """One of the bags, as a batch of its own."""

        def of(tensors: dict[int, Tensor]) -> dict[int, Tensor]:
            return {m: x.split(self.lengths[m].tolist())[bag] for m, x in tensors.items()}

        slide = of(self.places.slide)
        first = min(int(s.min()) for s in slide.values())
        places = Places(of(self.places.cells), {m: s - first for m, s in slide.items()})
        return Batch(of(self.features), {m: n[bag : bag + 1] for m, n in self.lengths.items()}, places)

    def taken(self, rows: dict[int, Tensor]) -> "Batch":
        """The same bags with their rows, and what belongs to them, in another order."""
        places = Places(
            {m: x[rows[m]] for m, x in self.places.cells.items()}, {m: x[rows[m]] for m, x in self.places.slide.items()}
        )
        return replace(self, features={m: x[rows[m]] for m, x in self.features.items()}, places=places)


def batch(sizes: dict[int, list[int]], seed: int = 0, shared: bool = True) -> Batch:
    """Bags of these sizes with random features; a bag of two or more patches at every scale has two slides.

    Cells are random, as of tissue of any outline on grids of any tool: some have no parent, and with `shared` several
    patches may lie in one, as where patches overlap.
    """
    generator = torch.Generator().manual_seed(seed)
    features = {m: torch.randn(sum(n), DIM, generator=generator) for m, n in sizes.items()}
    cells, slide = {}, {}
    for m, counts in sizes.items():
        side = int(max(counts) ** 0.5) + 2
        cells[m] = torch.randint(0, side, (sum(counts), 2), generator=generator, dtype=torch.int32)
        if not shared:
            flat = torch.cat([torch.randperm(side**2, generator=generator)[:n] for n in counts])
            cells[m] = torch.stack([flat % side, flat // side], 1).int()
        numbers, first = [], 0
        for bag, n in enumerate(counts):
            two = all(of[bag] > 1 for of in sizes.values())
            numbers += [first] * (n - n // 3 if two and n > 2 else n - two) + [first + 1] * (
                max(n // 3, 1) if two else 0
            )
            first += 1 + two
        slide[m] = torch.tensor(numbers, dtype=torch.int32)
    return Batch(features, {m: torch.tensor(n) for m, n in sizes.items()}, Places(cells, slide))


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
    whole = batch(sizes, seed)
    with torch.no_grad():
        together = whole.into(model, name)
        apart = torch.cat([whole.alone(bag).into(model, name) for bag in range(len(bags))])
    assert together.shape == (len(bags), 4)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


@every_model
def test_a_bag_gets_no_gradient_from_its_neighbours(name: str) -> None:
    model = build(name).eval()
    whole = batch(MIXED)
    for x in whole.features.values():
        x.requires_grad_()
    whole.into(model, name)[2].sum().backward()
    for m in MODELS[name].reads():
        before, _, own, after = (g.abs().sum().item() for g in whole.features[m].grad.split(MIXED[m]))
        assert before == after == 0
        assert own > 0


@every_model
def test_two_evaluations_are_equal_and_are_one_tensor(name: str) -> None:
    model = build(name).eval()
    whole = batch(MIXED)
    assert isinstance(whole.into(model, name), Tensor)
    torch.testing.assert_close(whole.into(model, name), whole.into(model, name), atol=0, rtol=0)


@every_model
@pytest.mark.parametrize("n_out", [1, 4])
def test_one_patch_is_a_bag(name: str, n_out: int) -> None:
    model = build(name, n_out)
    for mode in (True, False):
        scores = batch({5: [1], 10: [1], 20: [1]}).scores(model.train(mode), name)
        assert scores.shape == (1, n_out)
        assert scores.isfinite().all()


def objective(given: Tensor | Trained) -> Tensor:
    """A scalar that all of what a model gives in training has a part in."""
    if isinstance(given, Tensor):
        return given.float().square().sum()
    parts = [given.scores, given.views, given.penalty]
    return sum(part.float().square().sum() for part in parts if part is not None)


@every_model
@pytest.mark.parametrize("n_out", [1, 4])
def test_training_reaches_every_parameter_and_every_scale_read(name: str, n_out: int) -> None:
    model = build(name, n_out).train()
    whole = batch({5: [30, 9], 10: [60, 50], 20: [90, 100]})
    for x in whole.features.values():
        x.requires_grad_()
    objective(whole.into(model, name)).backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None] == []
    # Biases that a softmax cancels get no more than rounding errors; every weight matrix gets more.
    assert [n for n, p in trained.items() if p.dim() > 1 and not p.grad.abs().max() > 1e-8] == []
    assert {m for m, x in whole.features.items() if x.grad is not None} == set(MODELS[name].reads())


@every_model
def test_what_a_model_gives_in_training_keeps_the_contract(name: str) -> None:
    model = build(name).train()
    given = batch(MIXED).into(model, name)
    given = given if isinstance(given, Trained) else Trained(given)
    assert given.scores.shape == (4, 4)
    assert given.views is None or given.views.shape[1:] == (4, 4)
    assert given.penalty is None or given.penalty.shape in [(4,), (4, 4), (4, 1)]


@every_model
def test_training_is_random_and_follows_the_seed(name: str) -> None:
    rates = {"ffn_dropout": 0.5} if "crossfusion" in name else {"input_dropout": 0.5}
    model = build(name, **{rate: p for rate, p in rates.items() if rate in MODELS[name].defaults}).train()
    whole = batch(MIXED)
    torch.manual_seed(1)
    first, second = whole.scores(model, name), whole.scores(model, name)
    torch.manual_seed(1)
    torch.testing.assert_close(whole.scores(model, name), first, atol=0, rtol=0)
    assert not torch.equal(first, second)


@every_model
def test_the_order_of_the_patches_matters_where_it_is_said_to(name: str) -> None:
    model = build(name).eval()
    whole = batch({5: [9], 10: [21], 20: [50]}, shared=False)
    generator = torch.Generator().manual_seed(5)
    shuffled = whole.taken({m: torch.randperm(len(x), generator=generator) for m, x in whole.features.items()})
    difference = (whole.into(model, name) - shuffled.into(model, name)).abs().max()
    assert (difference < 1e-5) == MODELS[name].order_free


placed = pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if spec.places])


@placed
def test_moving_a_slide_changes_nothing(name: str) -> None:
    """By a multiple of every region: what lies where on the glass is chance."""
    model = build(name).eval()
    whole = batch(MIXED)
    far = {m: x + 64 * m * (1 + whole.places.slide[m][:, None]) for m, x in whole.places.cells.items()}
    moved = replace(whole, places=Places(far, whole.places.slide))
    torch.testing.assert_close(moved.into(model, name), whole.into(model, name), atol=1e-5, rtol=1e-5)


@placed
def test_places_matter(name: str) -> None:
    model = build(name).eval()
    whole = batch({5: [9], 10: [40], 20: [90]})
    generator = torch.Generator().manual_seed(5)
    cells = {m: x[torch.randperm(len(x), generator=generator)] for m, x in whole.places.cells.items()}
    elsewhere = replace(whole, places=Places(cells, whole.places.slide))
    assert not torch.allclose(elsewhere.into(model, name), whole.into(model, name), atol=1e-6)


@every_model
def test_scales_that_are_not_read_are_ignored(name: str) -> None:
    model = build(name).eval()
    whole = batch(MIXED)
    read = MODELS[name].reads()

    def only(tensors: dict[int, Tensor]) -> dict[int, Tensor]:
        return {m: tensors[m] for m in read}

    cut = Batch(only(whole.features), only(whole.lengths), Places(only(whole.places.cells), only(whole.places.slide)))
    without = cut.into(model, name)
    beside = replace(
        whole,
        features={**whole.features, 40: torch.zeros(0, DIM)},
        lengths={**whole.lengths, 40: torch.zeros(4, dtype=torch.long)},
    ).into(model, name)
    assert torch.equal(without, beside)


@pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if spec.family == "single-scale"])
def test_a_single_scale_model_reads_the_scale_it_is_given(name: str) -> None:
    whole = batch(MIXED)
    places = Places({20: whole.places.cells[5]}, {20: whole.places.slide[5]})
    at_20 = Batch({20: whole.features[5]}, {20: whole.lengths[5]}, places).into(build(name).eval(), name)
    at_5 = whole.into(build(name, scale=5).eval(), name)
    assert torch.equal(at_5, at_20)


@every_model
def test_the_state_makes_the_round_trip(name: str) -> None:
    whole = batch(MIXED)
    model, other = (
        build(name).eval(),
        MODELS[name].build(DIM, 4, **{key: SMALL.get(key, value) for key, value in MODELS[name].defaults.items()}),
    )
    for buffer in model.buffers():  # what `prepare` fits
        if buffer.is_floating_point():
            buffer.normal_(generator=torch.Generator().manual_seed(1))
    other.load_state_dict(model.state_dict())
    assert torch.equal(whole.into(other.eval(), name), whole.into(model, name))


@every_model
def test_half_precision_by_autocast_trains(name: str) -> None:
    model = build(name).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = batch({5: [9, 4], 10: [30, 12], 20: [60, 50]}).into(model, name)
    loss = objective(given)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@every_model
def test_double_precision_is_kept(name: str) -> None:
    model = build(name).double().eval()
    whole = batch(MIXED)
    double = replace(whole, features={m: x.double() for m, x in whole.features.items()})
    assert double.into(model, name).dtype == torch.float64


class Watched(dict):
    """Bags that note who was looked at."""

    def __init__(self, bags: dict) -> None:
        super().__init__(bags)
        self.seen: set[str] = set()

    def __getitem__(self, patient: str) -> object:
        self.seen.add(patient)
        return super().__getitem__(patient)


def cohort_of(seed: int) -> Watched:
    """Twelve patients with the features of `prepare`'s contract: float16 in numpy, not to be written to."""
    rng = np.random.default_rng(seed)
    sizes = {5: 6, 10: 20, 20: 40}
    bags = {f"p{i}": {m: rng.standard_normal((n, DIM)).astype(np.float16) for m, n in sizes.items()} for i in range(12)}
    for features in bags.values():
        for matrix in features.values():
            matrix.setflags(write=False)
    return Watched({name: SimpleNamespace(features=features) for name, features in bags.items()})


@pytest.mark.parametrize("name", [name for name in MODELS if isinstance(build(name), Prepares)])
def test_what_is_prepared_comes_from_the_training_set_alone_follows_the_seed_and_is_in_the_state(name: str) -> None:
    train = tuple(f"p{i}" for i in range(8))
    states = []
    for seed in (0, 0, 1):
        bags, model = cohort_of(0), build(name)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        if len(states) == 1:  # other test patients: nothing may move
            others = cohort_of(5)
            for patient in set(bags) - set(train):
                dict.__setitem__(bags, patient, dict.__getitem__(others, patient))
        model.prepare(bags, train, np.random.default_rng(seed))
        assert bags.seen == set(train)
        states.append(model.state_dict())
        changed = {key for key, value in states[-1].items() if not torch.equal(value, before[key])}
        assert changed and changed <= {key for key, _ in model.named_buffers()}
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
