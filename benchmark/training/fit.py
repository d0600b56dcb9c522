"""The training loop: one, visible, for every model, loss and recipe.

It is given a training set and a validation split and nothing else. What happens on the test fold is watched from
outside through `watch`, which is shown the model and cannot answer. It may end after any step and go on from there in
another process: all that this needs is in `Training`.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...models.contract import Steps, Trained
from ...survival.concordance import c_index
from ...survival.followup import FollowUp, NotComputable
from ...survival.time_bins import TimeBins
from ..recipe import Recipe, epochs_of
from .batches import BagSource, Packed, epoch_batches, pieces, stream
from .checkpointing import Between, Checkpoint, nothing
from .loss import SurvivalLoss, Target
from .sampling import training_bags


class Diverged(Exception):
    """Training left the finite numbers."""


@dataclass(frozen=True)
class FollowedBags:
    """Bags to learn from, to choose with or to score: their ids, and the follow-up in the same order."""

    patients: tuple[str, ...]
    followup: FollowUp


@dataclass
class Fitted:
    """What training leaves behind.

    curve: one dict per epoch: epoch (from 1), learning_rate, train_loss, val_loss, val_c_index (None without a
        validation split).
    selected: the epoch chosen on the validation split, or the last one without it; `weights` are its state dict.
    """

    curve: list[dict[str, float | int | None]] = field(default_factory=list)
    selected: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class Precision:
    """Where arithmetic may be halved: autocast around the model, a gradient scaler for float16 alone."""

    def __init__(self, wanted: str, device: torch.device) -> None:
        if wanted == "auto":
            wanted = "float32"
            if device.type == "cuda":
                wanted = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        self.dtype = getattr(torch, wanted)
        self.device = device
        # float16 has too few exponents for gradients; bfloat16 has as many as float32.
        self.scaler = torch.amp.GradScaler(device.type, enabled=wanted == "float16")  # type: ignore[attr-defined]

    def outputs(self, model: nn.Module, batch: Packed) -> Trained:
        """What the model gives in its present mode, in float32: losses are never computed in halves."""
        places = () if batch.places is None else (batch.places,)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            given = model(batch.features, batch.lengths, *places)
        return (given if isinstance(given, Trained) else Trained(given)).float()

    def scores(self, model: nn.Module, batch: Packed) -> Tensor:
        """Raw scores in float32, `(b, n_out)`."""
        return self.outputs(model, batch).scores


@torch.no_grad()
def predict(
    model: nn.Module,
    bags: BagSource,
    patients: Sequence[str],
    tokens: int,
    precision: Precision,
    between: Between = nothing,
) -> Tensor:
    """Raw scores of these patients in evaluation mode, `(n, n_out)` on the CPU; `between` is called piece by piece."""
    reading = ((bags, piece) for piece in pieces(bags, patients, tokens))
    with closing(stream(reading, tokens, precision.device)) as packed:
        return _scores(model, packed, precision, between)


@torch.no_grad()
def _scores(model: nn.Module, packed: Iterator[Packed], precision: Precision, between: Between) -> Tensor:
    was_training = model.training
    model.eval()
    scores = []
    for batch in packed:
        scores.append(precision.scores(model, batch.to(precision.device)))
        between()
    model.train(was_training)
    return torch.cat(scores).cpu()


@contextmanager
def _random_state_of(state: tuple[Tensor, Tensor | None]) -> Iterator[None]:
    """Replay dropout: run the block under a random state recorded earlier."""
    now = _random_state(state[1] is not None)
    _set_random_state(state)
    yield
    _set_random_state(now)


def _random_state(cuda: bool) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if cuda else None


def _set_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])


@dataclass
class Training:
    """All that must survive for a training to go on as if it had never stopped.

    model, optimizer, scaler, batches: with their states; `batches` draws the patients of each step. Gradients that are
        carried over to the next step count, and so does torch's random state.
    fitted, best: what is found so far, and how much the validation split likes it.
    epoch, step, losses: the epoch and its step that come next, from 0, and the losses of the steps before it. After its
        last step an epoch is evaluated.
    drawn: the state of `batches` when the epoch began.
    random: torch's random state where it is not that of this moment: an evaluation that stops begins again.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: "torch.amp.GradScaler"  # type: ignore[name-defined]
    batches: np.random.Generator
    cuda: bool
    fitted: Fitted = field(default_factory=Fitted)
    best: float = -math.inf
    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    over: bool = False
    drawn: Mapping[str, Any] | None = None
    random: tuple[Tensor, Tensor | None] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The state as it is now, as plain values and tensors."""
        carried = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        return {
            "modules": [part.state_dict() for part in (self.model, self.optimizer, self.scaler)],
            "carried": carried,
            "random": self.random or _random_state(self.cuda),
            "batches": self.drawn or self.batches.bit_generator.state,
            "fitted": dict(vars(self.fitted)),
            "position": (self.best, self.epoch, self.step, self.losses, self.over),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state."""
        for part, value in zip((self.model, self.optimizer, self.scaler), state["modules"], strict=True):
            part.load_state_dict(value)
        for name, p in self.model.named_parameters():
            p.grad = state["carried"][name].to(p.device) if name in state["carried"] else None
        _set_random_state(state["random"])
        self.batches.bit_generator.state = state["batches"]
        self.fitted = Fitted(**state["fitted"])
        self.best, self.epoch, self.step, self.losses, self.over = state["position"]


class Targets:
    """What is known of patients, as tensors."""

    def __init__(self, part: FollowedBags, bins: TimeBins, device: torch.device) -> None:
        self.device = device
        self.row = {patient: i for i, patient in enumerate(part.patients)}
        self.bin = torch.from_numpy(bins.assign(part.followup.time))
        self.time = torch.from_numpy(part.followup.time)
        self.event = torch.from_numpy(part.followup.event)
        self.share = torch.from_numpy(bins.share(part.followup.time)).float()

    def of(self, patients: Sequence[str]) -> Target:
        """Those of these patients, `(b,)` each, on the device, which is not waited for."""
        rows = torch.tensor([self.row[patient] for patient in patients])
        known = (self.bin[rows], self.time[rows], self.event[rows], self.share[rows])
        return Target(*(one.to(self.device, non_blocking=True) for one in known))


def _all_scores(given: Trained) -> Tensor:
    """Scores and further views as one tensor, (1 + v, b, n_out)."""
    first = given.scores[None]
    return first if given.views is None else torch.cat([first, given.views])


def _penalty(given: Trained, bin: Tensor, event: Tensor) -> Tensor | None:
    """The sum of the penalties of a piece's patients; one that depends on the bin counts for those who died in it."""
    if given.penalty is None or given.penalty.dim() == 1:
        return None if given.penalty is None else given.penalty.sum()
    column = bin.clamp(max=given.penalty.shape[1] - 1)
    return (given.penalty.gather(1, column[:, None]).squeeze(1) * event).sum()


def reads(loss: SurvivalLoss, batch: Sequence[list[str]]) -> Sequence[list[str]]:
    """The pieces of a batch in the order in which `backward` takes them."""
    return batch if loss.separable else [*batch, *batch[1:]]


def backward(
    model: nn.Module,
    loss: SurvivalLoss,
    alpha: float,
    batch: Sequence[list[str]],
    packed: Iterator[Packed],
    targets: Targets,
    precision: Precision,
) -> float:
    """Add the gradient of one batch's objective, computed in pieces, and return the objective.

    batch: its patients, piece by piece; packed: gives the pieces that `reads` says, packed.
    The objective is the loss of the scores, and of further views and penalties where the model gives them: see
    `milsurv.models.contract.Trained`. The result is that of the undivided batch. A loss that is a mean over patients is
    simply summed piece by piece, as penalties are. Cox's couples all patients of the batch: its gradient with respect
    to the scores of all views is taken first, from a pass that keeps no graph, and each piece is then run again, under
    the same random state, to carry its share back.
    """
    patients = [patient for piece in batch for patient in piece]

    def objective(views: Tensor, weight: float, of: Sequence[str]) -> Tensor:
        """The loss of the scores and of the views, (1 + v, b, n_out), of these patients."""
        losses = [loss.loss(scores, targets.of(of), alpha) for scores in views]
        return losses[0] + weight * torch.stack(losses[1:]).sum() if len(losses) > 1 else losses[0]

    def penalty_of(given: Trained, piece: Sequence[str]) -> Tensor | None:
        target = targets.of(piece)
        penalty = _penalty(given, target.bin, target.event)
        return None if penalty is None else penalty / len(patients)

    if loss.separable or len(batch) == 1:
        values = []
        for piece in batch:
            given = precision.outputs(model, next(packed).to(precision.device))
            value = objective(_all_scores(given), given.view_weight, piece) * (len(piece) / len(patients))
            penalty = penalty_of(given, piece)
            value = value if penalty is None else value + penalty
            precision.scaler.scale(value).backward()
            values.append(value.detach())
        return reduce(add, torch.stack(values).tolist())  # the one moment in a step at which a GPU is waited for

    states, scores, weight, first = [], [], 1.0, None
    with torch.no_grad():
        for _ in batch:
            bag = next(packed)
            first = first or bag
            states.append(_random_state(precision.device.type == "cuda"))
            given = precision.outputs(model, bag.to(precision.device))
            scores.append(_all_scores(given))
            weight = given.view_weight
    joined = torch.cat(scores, 1).requires_grad_()  # (1 + v, n, n_out)
    value = objective(joined, weight, patients)
    (gradient,) = torch.autograd.grad(precision.scaler.scale(value), joined)
    shares = gradient.split([len(piece) for piece in batch], 1)
    values = [value.detach()]
    for at, (piece, state, share) in enumerate(zip(batch, states, shares, strict=True)):
        bag = next(packed) if at else first
        assert bag is not None
        with _random_state_of(state):
            given = precision.outputs(model, bag.to(precision.device))
            penalty = penalty_of(given, piece)
            if penalty is None:
                _all_scores(given).backward(share)
            else:
                torch.autograd.backward([_all_scores(given), precision.scaler.scale(penalty)], [share, None])
                values.append(penalty.detach())
    return reduce(add, torch.stack(values).tolist())


def learning_rate(recipe: Recipe, epoch: float, epochs: int) -> float:
    """The learning rate at a point of training, in epochs from 0, of so many."""
    if recipe.schedule == "restarts":
        # A cosine with a half-period of 10 epochs and no restart: the rate rises again, as the reference's does.
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * math.floor(epoch) / 10))
    if epoch < recipe.warmup_epochs:
        return recipe.learning_rate * (epoch + 1e-2) / recipe.warmup_epochs
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = (epoch - recipe.warmup_epochs) / max(1e-9, epochs - recipe.warmup_epochs)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def fit(
    model: nn.Module,
    loss: SurvivalLoss,
    recipe: Recipe,
    bags: BagSource,
    train: FollowedBags,
    val: FollowedBags,
    bins: TimeBins,
    rng: np.random.Generator,
    device: torch.device,
    watch: Callable[[int, dict[str, float | int | None]], None],
    checkpoint: Checkpoint | None = None,
    patches_seed: int = 0,
    course: tuple[int, int] | None = None,
    part: str = "training",
) -> Fitted:
    """Train `model` in place and choose an epoch on `val`.

    val may be empty: then nothing is held out and `selected` is the last epoch.
    rng: draws the batches. Dropout uses torch's global generator, which the caller seeds.
    watch: called after every epoch with its number and its line of the curve.
    checkpoint: where training goes on from, and where it is kept; nowhere by default. part: what it is called there.
    patches_seed: draws the patches of every bag, where the recipe takes some.
    course: after how many epochs training ends, and of how many the learning rate runs the course; those of the recipe
        and the size of the training set when None.
    Errors: `Diverged` when a loss or a score is not finite; `Stopped` when the process is asked to stop.
    """
    precision = Precision(recipe.precision, device)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    optimizer = kind(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    targets, val_targets = Targets(train, bins, device), Targets(val, bins, torch.device("cpu"))
    train_bin = bins.assign(train.followup.time)
    carried = "carried-gradients" in recipe.faults
    optimizer.zero_grad()
    checkpoint = checkpoint or Checkpoint()
    training = Training(model, optimizer, precision.scaler, rng, device.type == "cuda")
    checkpoint.holds(**{part: training})
    fitted = training.fitted
    learned_from = training_bags(bags, recipe.train_patches, patches_seed)

    end, epochs = course or (epochs_of(recipe, len(train.patients)),) * 2
    for epoch in range(training.epoch, 0 if training.over else end):
        model.train()
        source = learned_from(epoch)
        training.drawn = rng.bit_generator.state
        batches = epoch_batches(recipe.sampling, train.patients, train_bin, train.followup.event, recipe.batch, rng)
        cuts = [list(pieces(source, batch, recipe.tokens)) for batch in batches]
        # One stream for all steps and the validation split: what comes next is read while a step is computed.
        reading = ((source, piece) for cut in cuts[training.step :] for piece in reads(loss, cut))
        validation = ((bags, piece) for piece in pieces(bags, val.patients, recipe.tokens))
        rate = learning_rate(recipe, epoch + (len(batches) - 1) / len(batches), epochs)
        with closing(stream(chain(reading, validation), recipe.tokens, device)) as packed:
            for step in range(training.step, len(batches)):
                batch = batches[step]
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(recipe, epoch + step / len(batches), epochs)
                value = backward(model, loss, recipe.alpha, cuts[step], packed, targets, precision)
                if not math.isfinite(value):
                    raise Diverged(f"the loss became {value} in epoch {epoch + 1}; a lower learning_rate may help")
                training.losses.append(value * len(batch))
                training.step += 1
                if carried and len(batch) < recipe.batch:
                    # The reference never steps on its last, partial accumulation. What a model has put by for
                    # `after_step` is in no state dict, so there is no checkpoint until then.
                    checkpoint.open = not isinstance(model, Steps)
                    continue
                if recipe.max_norm:
                    precision.scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(model.parameters(), recipe.max_norm)
                precision.scaler.step(optimizer)
                precision.scaler.update()
                optimizer.zero_grad()
                if isinstance(model, Steps):
                    model.after_step()
                checkpoint.open = True
                checkpoint.pause()

            training.random = _random_state(training.cuda)
            line: dict[str, float | int | None] = {
                "epoch": epoch + 1,
                "learning_rate": rate,
                "train_loss": sum(training.losses) / sum(len(batch) for batch in batches),
                "val_loss": None,
                "val_c_index": None,
            }
            if val.patients:
                scores = _scores(model, packed, precision, checkpoint.pause)
                if not scores.isfinite().all():
                    raise Diverged(f"scores are not finite after epoch {epoch + 1}; a lower learning_rate may help")
                line["val_loss"] = loss.loss(scores, val_targets.of(val.patients), 0.0).item()
                with suppress(NotComputable):  # stays None where no pair of the validation split can be compared
                    line["val_c_index"] = c_index(val.followup.time, val.followup.event, loss.risk(scores).numpy())
        watch(epoch + 1, line)
        fitted.curve.append(line)

        if val.patients:
            score = _preference(recipe, line)
            if score > training.best:
                training.best, fitted.selected = score, epoch + 1
                fitted.weights = copy.deepcopy(model.state_dict())
            if recipe.patience and epoch + 1 - fitted.selected >= recipe.patience:
                break
        training.epoch, training.step, training.losses, training.random = epoch + 1, 0, [], None
    if not val.patients:
        fitted.selected, fitted.weights = len(fitted.curve), copy.deepcopy(model.state_dict())
    training.over, training.random = True, None
    checkpoint.freeze()
    return fitted


def _preference(recipe: Recipe, line: dict[str, float | int | None]) -> float:
    """How much the validation split likes an epoch; more is better."""
    if recipe.select_by == "c_index":
        return -1.0 if line["val_c_index"] is None else float(line["val_c_index"])
    return -float(line["val_loss"] or 0.0)
