"""The training loop: pieces equal wholes, and what it is not given it cannot use."""

import dataclasses
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from checkout import SHARED
from milsurv.benchmark.recipe import FAULTS, RECIPES, Recipe, change, epochs_of
from milsurv.benchmark.training.batches import Packed, epoch_batches, pack, pieces, prefetched
from milsurv.benchmark.training.fit import (
    Diverged,
    FollowedBags,
    Precision,
    Targets,
    backward,
    fit,
    learning_rate,
    predict,
    reads,
)
from milsurv.benchmark.training.losses import LOSSES
from milsurv.models import registry
from milsurv.models.contract import Trained
from milsurv.survival.followup import FollowUp
from milsurv.survival.time_bins import fit_bins

CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class Bag:
    features: dict[int, np.ndarray]
    cells: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    slide_lengths: dict[int, tuple[int, ...]] = dataclasses.field(default_factory=dict)


class Bags(dict):
    """Bags in memory, 16 wide, whose mean tells the risk."""

    def tokens(self, patient_id: str) -> int:
        return sum(len(x) for x in self[patient_id].features.values())


def cohort(n: int = 40, seed: int = 0) -> tuple[Bags, FollowedBags]:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    death, censoring = rng.exponential(30 * np.exp(-2 * z)), rng.exponential(60, n)
    bags = Bags()
    for i in range(n):
        sizes = {5: 2, 10: int(rng.integers(3, 9)), 20: int(rng.integers(8, 30))}
        bags[f"p{i}"] = Bag({m: (z[i] + rng.standard_normal((k, 16))).astype(np.float16) for m, k in sizes.items()})
    return bags, FollowedBags(tuple(bags), FollowUp(np.minimum(death, censoring) + 0.1, death <= censoring))


def model_of(name: str = "abmil", n_out: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    small = {"embed_dim": 32, "num_heads": 2} if name == "crossfusion" else {}
    return registry.get(name).build(dim=16, n_out=n_out, **small)


def packed(loss: str, cut: list[list[str]], bags: Bags) -> Iterator[Packed]:
    return (pack(bags, piece) for piece in reads(LOSSES[loss], cut))


def gradients(name: str, loss: str, tokens: int, train: bool = False) -> tuple[float, list[torch.Tensor]]:
    bags, part = cohort()
    bins = fit_bins(part.followup.time, part.followup.event, 4)
    model = model_of(name, LOSSES[loss].width(4)).train(train)
    torch.manual_seed(1)
    cut = list(pieces(bags, part.patients, tokens))
    targets = Targets(part, bins, CPU)
    value = backward(model, LOSSES[loss], 0.2, cut, packed(loss, cut, bags), targets, Precision("float32", CPU))
    return value, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["abmil", "crossfusion"])
def test_a_batch_in_pieces_has_the_gradient_of_the_whole_batch(name, loss):
    whole, expected = gradients(name, loss, tokens=10**9)
    split, found = gradients(name, loss, tokens=60)
    assert split == pytest.approx(whole, rel=1e-5)
    assert len(found) == len(expected) > 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_cox_in_pieces_carries_back_the_gradient_of_the_dropout_that_its_scores_were_made_with():
    """Once by `backward`, which runs every piece twice; once with all graphs kept, where every piece runs once."""
    found = gradients("crossfusion", "cox", tokens=60, train=True)[1]
    bags, part = cohort()
    bins = fit_bins(part.followup.time, part.followup.event, 4)
    precision, model = Precision("float32", CPU), model_of("crossfusion", 1).train()

    def expected(seed: int) -> list[torch.Tensor]:
        model.zero_grad()
        torch.manual_seed(seed)
        scores = [precision.scores(model, pack(bags, piece).to(CPU)) for piece in pieces(bags, part.patients, 60)]
        LOSSES["cox"].loss(torch.cat(scores), Targets(part, bins, CPU).of(part.patients), 0.2).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    for a, b in zip(found, expected(seed=1), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    other = expected(seed=2)  # dropout matters here: under another random state the gradient is another
    assert any(not torch.allclose(a, b, rtol=1e-2, atol=1e-4) for a, b in zip(found, other, strict=True))


def run_fit(recipe: Recipe, watch=lambda epoch, line: None, n_val: int = 10, seed: int = 0):
    bags, everyone = cohort()
    time, event = everyone.followup.time, everyone.followup.event

    def part(rows: slice) -> FollowedBags:
        return FollowedBags(everyone.patients[rows], FollowUp(time[rows], event[rows]))

    train, val = part(slice(0, 40 - n_val)), part(slice(40 - n_val, 40))
    bins = fit_bins(train.followup.time, train.followup.event, recipe.bins)
    model = model_of("meanpool")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    fitted = fit(model, LOSSES[recipe.loss], recipe, bags, train, val, bins, rng, CPU, watch)
    return model, fitted


def test_training_twice_gives_the_same_numbers():
    recipe = Recipe(epochs=3)
    assert run_fit(recipe)[1].curve == run_fit(recipe)[1].curve


def test_gradients_are_clipped_where_the_recipe_says_so():
    # A norm below Adam's epsilon stops its steps; without a limit the same recipe learns.
    start, held, free = (
        [p.detach().clone() for p in model.parameters()]
        for model in (
            model_of("meanpool"),
            *(run_fit(Recipe(epochs=2, weight_decay=0.0, max_norm=norm))[0] for norm in (1e-13, 0.0)),
        )
    )
    assert max(float((a - b).abs().max()) for a, b in zip(start, held, strict=True)) < 1e-6
    assert max(float((a - b).abs().max()) for a, b in zip(start, free, strict=True)) > 1e-4


def test_training_lowers_the_loss():
    curve = run_fit(Recipe(epochs=12, learning_rate=3e-3))[1].curve
    assert curve[-1]["train_loss"] < 0.9 * curve[0]["train_loss"]


def test_the_chosen_epoch_is_the_best_of_the_validation_part_and_its_weights_are_kept():
    seen = {}
    recipe = Recipe(epochs=8, learning_rate=2e-2, schedule="constant")
    model, fitted = run_fit(recipe, lambda epoch, line: seen.update({epoch: line["val_loss"]}))
    assert fitted.selected == min(seen, key=lambda epoch: seen[epoch])
    bags, part = cohort()
    model.load_state_dict(fitted.weights)
    val = part.patients[30:]
    bins = fit_bins(part.followup.time[:30], part.followup.event[:30], 4)
    scores = predict(model, bags, val, 10**9, Precision("float32", CPU))
    targets = Targets(FollowedBags(val, FollowUp(part.followup.time[30:], part.followup.event[30:])), bins, CPU)
    again = LOSSES["nll"].loss(scores, targets.of(val), 0.0).item()
    assert again == pytest.approx(seen[fitted.selected], rel=1e-5)


def test_patience_stops_after_epochs_without_improvement():
    fitted = run_fit(Recipe(epochs=200, patience=3, learning_rate=0.05, schedule="constant"))[1]
    assert len(fitted.curve) == fitted.selected + 3 < 200


def test_without_a_validation_part_the_last_epoch_is_selected():
    fitted = run_fit(Recipe(epochs=2, validation=0.0), n_val=0)[1]
    assert fitted.selected == 2 and fitted.curve[0]["val_loss"] is None


def test_training_that_leaves_the_finite_numbers_says_so():
    bags, part = cohort(10)
    bags["p0"] = Bag({m: np.full_like(x, np.inf) for m, x in bags["p0"].features.items()})
    bins = fit_bins(part.followup.time, part.followup.event, 2)
    nobody = FollowedBags((), FollowUp(np.zeros(0), np.zeros(0, bool)))
    model = registry.get("meanpool").build(dim=16, n_out=bins.count)
    with pytest.raises(Diverged, match="lower learning_rate"):
        rng = np.random.default_rng(0)
        fit(model, LOSSES["nll"], Recipe(), bags, part, nobody, bins, rng, CPU, lambda epoch, line: None)


def test_bfloat16_autocast_trains_and_losses_stay_in_float32():
    bags, part = cohort(8)
    scores = Precision("bfloat16", CPU).scores(model_of(), pack(bags, part.patients).to(CPU))
    assert scores.dtype == torch.float32
    assert all(np.isfinite(line["train_loss"]) for line in run_fit(Recipe(epochs=2, precision="bfloat16"))[1].curve)


def test_only_float16_has_a_gradient_scaler():
    assert not Precision("bfloat16", CPU).scaler.is_enabled()
    assert Precision("float16", CPU).scaler.is_enabled()


@pytest.mark.parametrize("sampling", ["shuffle", "events"])
def test_every_patient_is_seen_once_an_epoch(sampling):
    _, part = cohort(37)
    rng = np.random.default_rng(0)
    batches = epoch_batches(sampling, part.patients, np.zeros(37, int), part.followup.event, 8, rng)
    assert sorted(p for batch in batches for p in batch) == sorted(part.patients)


def test_event_sampling_deals_deaths_evenly():
    patients = [f"p{i}" for i in range(64)]
    event = np.arange(64) < 8
    batches = epoch_batches("events", patients, np.zeros(64, int), event, 16, np.random.default_rng(0))
    assert [sum(int(p[1:]) < 8 for p in batch) for batch in batches] == [2, 2, 2, 2]


def test_class_sampling_makes_rare_classes_as_likely_as_common_ones():
    patients = [f"p{i}" for i in range(1000)]
    event = np.arange(1000) < 50
    batches = epoch_batches("classes", patients, np.zeros(1000, int), event, 32, np.random.default_rng(0))
    died = np.mean([int(p[1:]) < 50 for batch in batches for p in batch])
    assert 0.45 < died < 0.55


def test_pieces_respect_the_token_budget_and_lose_nobody():
    bags, part = cohort()
    cut = list(pieces(bags, part.patients, 70))
    assert [p for piece in cut for p in piece] == list(part.patients)
    assert all(len(piece) == 1 or sum(map(bags.tokens, piece)) <= 70 for piece in cut)
    assert len(cut) > 5


def test_prefetching_keeps_order_and_passes_errors_on():
    assert list(prefetched(lambda x: x * 2, range(5))) == [0, 2, 4, 6, 8]
    with pytest.raises(ZeroDivisionError):
        list(prefetched(lambda x: 1 // x, [1, 0]))


def test_what_is_read_ahead_stays_within_its_bounds_and_nothing_is_read_once_nobody_asks():
    read = []
    ahead = prefetched(lambda x: read.append(x) or x, range(50), lambda x: 10, most=30)
    for used in range(10):
        assert next(ahead) == used
        assert len(read) <= used + 1 + 3
    ahead.close()
    assert len(read) <= 13
    assert list(prefetched(str, [7, 100, 8], lambda x: x, most=1)) == ["7", "100", "8"]  # one is, however large


class Watched(Bags):
    """Bags that count how many of them were asked for."""

    def __init__(self, bags: Bags) -> None:
        super().__init__(bags)
        self.asked, self.more = 0, threading.Condition()

    def __getitem__(self, patient_id: str) -> Bag:
        with self.more:
            self.asked += 1
            self.more.notify_all()
        return super().__getitem__(patient_id)

    def tokens(self, patient_id: str) -> int:
        return 1


class Waits(torch.nn.Module):
    """A model that computes no bag before the next one of its epoch is being read."""

    def __init__(self, bags: Watched, epoch: int) -> None:
        super().__init__()
        self.head, self.bags, self.epoch, self.done, self.overlaps = torch.nn.Linear(16, 4), bags, epoch, 0, 0

    def forward(self, features, lengths):
        self.done += 1
        if self.done % self.epoch:
            with self.bags.more:
                self.overlaps += self.bags.more.wait_for(lambda: self.bags.asked > self.done, timeout=20)
        return self.head(features[20].mean(0, keepdim=True))


def test_the_next_bag_is_read_while_one_is_computed_across_pieces_steps_and_into_the_validation_split():
    bags, everyone = cohort(20)
    watched, epochs = Watched(bags), 2
    model = Waits(watched, len(everyone.patients))

    def part(rows: slice) -> FollowedBags:
        time, event = everyone.followup.time, everyone.followup.event
        return FollowedBags(everyone.patients[rows], FollowUp(time[rows], event[rows]))

    train, val = part(slice(0, 15)), part(slice(15, 20))
    bins = fit_bins(train.followup.time, train.followup.event, 4)
    recipe = Recipe(epochs=epochs, batch=4, tokens=1)  # each bag is a piece, and four of them a step
    rng = np.random.default_rng(0)
    fit(model, LOSSES["nll"], recipe, watched, train, val, bins, rng, CPU, lambda epoch, line: None)
    assert model.done == watched.asked == epochs * 20
    assert model.overlaps == epochs * 19


def test_carried_gradients_change_training_and_only_the_reference_recipe_may_ask_for_them():
    clean = dataclasses.replace(RECIPES["reference"], epochs=3, batch=12, learning_rate=1e-2)
    carried = dataclasses.replace(clean, faults=("carried-gradients",))
    first, second = run_fit(clean, n_val=0)[1].curve, run_fit(carried, n_val=0)[1].curve
    assert first != second
    with pytest.raises(ValueError, match="reference"):
        Recipe(faults=("carried-gradients",))


def test_the_reference_schedule_falls_for_ten_epochs_and_rises_again():
    rates = [learning_rate(RECIPES["reference"], epoch, 100) for epoch in range(21)]
    assert rates[0] == rates[20] == pytest.approx(1e-4)
    assert rates[10] == pytest.approx(0.0, abs=1e-12)
    assert rates[:11] == sorted(rates[:11], reverse=True)


def test_the_cosine_schedule_warms_up_and_ends_at_zero():
    recipe = Recipe(epochs=10, warmup_epochs=2)
    rates = [learning_rate(recipe, epoch, 10) for epoch in (0, 1, 2, 6, 10)]
    assert rates[0] < rates[1] < rates[2] == recipe.learning_rate > rates[3] > rates[4] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": "2"}, "alpha is 2.0; it must lie between 0 and 1"),
        ({"epochs": "many"}, "epochs=many: expected int"),
        ({"epochs": "2.5"}, "epochs=2.5: expected int"),
        ({"optimizer": "lion"}, "optimizer is 'lion'; it may be one of adam, adamw"),
        ({"faults": "typos"}, "unknown fault typos"),
    ],
)
def test_a_recipe_explains_what_it_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        change(RECIPES["reference"], changes)


def test_every_fault_can_be_asked_for():
    assert change(RECIPES["reference"], {"faults": ",".join(FAULTS)}).faults == tuple(FAULTS)


def test_few_patients_are_trained_for_as_many_steps_as_many_patients():
    recipe = RECIPES["default"]
    assert epochs_of(recipe, 612) == 8  # 39 steps an epoch
    assert epochs_of(recipe, 100) == 43  # 7 steps an epoch
    assert epochs_of(recipe, 100_000) == 5
    assert epochs_of(RECIPES["reference"], 100) == 100


class Viewed(torch.nn.Module):
    """A pooling model that uses all of the contract: cells, views, penalties, a look at the training set, steps."""

    def __init__(self, dim: int, n_out: int, *, penalty: str = "bin", dropout: float = 0.5) -> None:
        super().__init__()
        self.heads = torch.nn.ModuleList(torch.nn.Linear(dim + 2, n_out) for _ in range(3))
        self.penalty, self.dropout, self.steps = penalty, torch.nn.Dropout(dropout), 0
        self.register_buffer("centre", torch.zeros(dim))

    def prepare(self, bags, patients, rng) -> None:
        self.seen = tuple(patients)
        self.centre.copy_(
            torch.stack([torch.from_numpy(bags[p].features[20]).float().mean(0) for p in patients]).mean(0)
        )

    def after_step(self) -> None:
        self.steps += 1

    def forward(self, features, lengths, places) -> torch.Tensor | Trained:
        x = torch.cat([features[20] - self.centre, places.cells[20].float() / 10], 1)
        x = torch.stack([self.dropout(bag).mean(0) for bag in x.split(lengths[20].tolist())])
        scores, *views = [head(x) for head in self.heads]
        if not self.training:
            return scores
        penalty = {"bin": scores**2, "patient": (scores**2).mean(1), "none": None}[self.penalty]
        return Trained(scores, torch.stack(views), 0.3, penalty)


def placed(n: int = 40) -> tuple[Bags, FollowedBags]:
    bags, part = cohort(n)
    rng = np.random.default_rng(9)
    for patient, bag in bags.items():
        cells = {m: rng.integers(0, 9, (len(x), 2)).astype(np.int32) for m, x in bag.features.items()}
        bags[patient] = Bag(bag.features, cells, {m: (1, len(x) - 1) for m, x in bag.features.items()})
    return bags, part


@pytest.mark.parametrize("penalty", ["bin", "patient", "none"])
@pytest.mark.parametrize("loss", LOSSES)
def test_views_and_penalties_in_pieces_have_the_gradient_of_the_whole_batch(loss, penalty):
    bags, part = placed()
    bins = fit_bins(part.followup.time, part.followup.event, 4)
    targets, found = Targets(part, bins, CPU), {}
    for tokens in (60, 10**9):
        torch.manual_seed(0)
        model = Viewed(16, LOSSES[loss].width(4), penalty=penalty, dropout=0.0)
        cut = list(pieces(bags, part.patients, tokens))
        value = backward(model, LOSSES[loss], 0.2, cut, packed(loss, cut, bags), targets, Precision("float32", CPU))
        found[tokens] = value, [p.grad for p in model.parameters()]
    (split, some), (whole, others) = found.values()
    assert split == pytest.approx(whole, rel=1e-5)
    for a, b in zip(some, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("loss", ["nll", "cox"])
@pytest.mark.parametrize("name", ["mustmil", "protosurv", "acmil", "clam-sb"])
def test_views_and_penalties_of_the_models_in_pieces_are_those_of_the_whole_batch(name, loss):
    bags, part = placed(10) if registry.get(name).places else cohort(10)
    bins = fit_bins(part.followup.time, part.followup.event, 2)
    defaults, found = registry.get(name).defaults, {}
    calm = {key: 0.0 for key in defaults if "dropout" in key or key == "mask_ratio"}
    for tokens in (60, 10**9):
        torch.manual_seed(0)
        model = registry.get(name).build(16, LOSSES[loss].width(2), **{**defaults, **calm})
        cut = list(pieces(bags, part.patients, tokens))
        targets, precision = Targets(part, bins, CPU), Precision("float32", CPU)
        value = backward(model, LOSSES[loss], 0.2, cut, packed(loss, cut, bags), targets, precision)
        found[tokens] = value, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    (split, some), (whole, others) = found.values()
    assert split == pytest.approx(whole, rel=1e-5)
    assert some.keys() == others.keys()
    for key, gradient in some.items():
        torch.testing.assert_close(gradient, others[key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_objective_is_the_loss_of_all_views_and_the_penalty_of_the_dead(loss):
    bags, part = placed(12)
    bins = fit_bins(part.followup.time, part.followup.event, 2)
    targets = Targets(part, bins, CPU)
    torch.manual_seed(0)
    model = Viewed(16, LOSSES[loss].width(2), dropout=0.0)
    whole = [list(part.patients)]
    value = backward(model, LOSSES[loss], 0.2, whole, packed(loss, whole, bags), targets, Precision("float32", CPU))
    batch = pack(bags, part.patients).to(CPU)
    given = model(batch.features, batch.lengths, batch.places)
    target = targets.of(part.patients)
    bin, event = target.bin, target.event
    losses = [LOSSES[loss].loss(s, target, 0.2).item() for s in (given.scores, *given.views)]
    columns = bin if given.penalty.shape[1] > 1 else torch.zeros_like(bin)
    penalty = sum(given.penalty[i, c].item() for i, c in enumerate(columns) if event[i])
    assert value == pytest.approx(losses[0] + 0.3 * sum(losses[1:]) + penalty / 12, rel=1e-5)


def test_slides_are_numbered_through_the_whole_batch():
    bags, part = placed(3)
    batch = pack(bags, part.patients)
    for m, slide in batch.places.slide.items():
        assert slide.tolist() == [
            s for i, n in enumerate(batch.lengths[m].tolist()) for s in [2 * i] + (n - 1) * [2 * i + 1]
        ]
        assert batch.places.cells[m].shape == (len(slide), 2)


def test_a_model_that_steps_is_called_after_every_step():
    bags, part = placed(20)
    bins = fit_bins(part.followup.time, part.followup.event, 4)
    nobody = FollowedBags((), FollowUp(np.zeros(0), np.zeros(0, bool)))
    model, recipe = Viewed(16, bins.count), Recipe(epochs=3, batch=5)
    fit(model, LOSSES["nll"], recipe, bags, part, nobody, bins, np.random.default_rng(0), CPU, lambda epoch, line: None)
    assert model.steps == 3 * 4


REFERENCE = {  # field: (value, the words of the description that say so)
    "name": ("reference", None),
    "loss": ("nll-mcat", "NLL survival loss with alpha 0.2"),
    "alpha": (0.2, "NLL survival loss with alpha 0.2"),
    "bins": (4, "Four time bins"),
    "optimizer": ("adam", "Adam, lr 1e-4"),
    "learning_rate": (1e-4, "Adam, lr 1e-4"),
    "weight_decay": (4e-6, "weight decay 4e-6"),
    "schedule": ("restarts", "cosine annealing with T_max 10"),
    "warmup_epochs": (0, "cosine annealing with T_max 10"),  # its warm-up is of the choice of the epoch: best_after
    "batch": (32, "gradients accumulated over 32 slides"),
    "max_norm": (0.0, None),
    "sampling": ("classes", "sampling with replacement, weighted by the inverse size of the (time bin, censoring)"),
    "epochs": (100, "at most 100 epochs"),
    "steps": (300, None),  # epochs are given
    "patience": (0, None),
    "validation": (0.0, "5 folds of two parts"),
    "select_by": ("loss", None),
    "best_after": (5, "best validation C-index after 5 warm-up epochs"),
    "best_patience": (20, "patience 20"),
    "tokens": (60_000, None),
    "precision": ("auto", "Half precision by autocast"),
    "refit": (False, None),
    "train_patches": (0, None),
    "learning_rate_set": (False, None),
    "faults": ((), None),
}


def test_the_reference_recipe_is_that_of_the_public_script():
    assert dataclasses.asdict(RECIPES["reference"]) == {field: value for field, (value, _) in REFERENCE.items()}
    described = SHARED / "spec" / "reference-models.md"
    if described.is_file():
        text = " ".join(described.read_text(encoding="utf-8").split())
        assert [words for _, words in REFERENCE.values() if words and words not in text] == []
