"""One fold: train on its training set, choose on its validation split, read its test fold three times."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ...leaderboards.result_row import READINGS
from ...models.contract import Prepares
from ...survival.concordance import c_index
from ...survival.followup import FollowUp, NotComputable, Prediction
from ...survival.time_bins import fit_bins
from ..experiment import Experiment, seed_for
from ..recipe import Recipe, epochs_of
from ..results.fold_predictions import FoldOutcome, FoldPredictions, fields_of_test_set
from .batches import BagSource
from .fit import Diverged, FollowedBags, Precision, fit, predict
from .losses import LOSSES


class Aggregation(Protocol):
    """How predictions of bags become predictions of patients; `milsurv.datasets.labels.several_slides.Units` is one."""

    def aggregate(self, units: Sequence[str], values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """Values of bags `(n, …)` as values of patients: (ids, values)."""
        ...


@dataclass(frozen=True)
class FoldParts:
    """One fold.

    train, val, test: bags to learn from, to choose with and to score, disjoint by patient.
    scored_train, scored_test: who is scored: the same, or the patients whose slides are bags of their own.
    units: turns predictions of the former into predictions of the latter.
    cohort: everyone, for the one fault of the reference that needs it.
    owner: the patient of each slide, where slides are scored; else empty.
    """

    fold: int
    train: FollowedBags
    val: FollowedBags
    test: FollowedBags
    scored_train: FollowedBags
    scored_test: FollowedBags
    units: Aggregation
    cohort: FollowUp
    owner: Mapping[str, str] = field(default_factory=dict)


def new_model(
    build: Callable[..., nn.Module],
    dim: int,
    n_out: int,
    experiment: Experiment,
    bags: BagSource,
    train: Sequence[str],
    seed: Callable[[str], int],
) -> nn.Module:
    """A model before its first step, and torch's generator as its training finds it.

    train: the patients that it may look at before it is trained. seed: of a purpose, see `seed_for`.
    """
    torch.manual_seed(seed("weights"))
    model = build(dim, n_out, **experiment.hyperparameters).to(torch.device(experiment.device))
    if isinstance(model, Prepares):
        model.prepare(bags, train, np.random.default_rng(seed("prepare")))
    torch.manual_seed(seed("dropout"))
    return model


class _BestOnTest:
    """Keeps the epoch that a paper would report. It watches training and has no way to reach it."""

    def __init__(self, model: nn.Module, recipe: Recipe, epochs: int, score: Callable[[], float | None]) -> None:
        self.model, self.recipe, self.epochs, self.score = model, recipe, epochs, score
        self.epoch, self.value, self.weights, self.closed = 0, -np.inf, {}, False

    def __call__(self, epoch: int, line: dict[str, float | int | None]) -> None:
        value = self.score()
        line["test_c_index"] = value
        patience = self.recipe.best_patience
        self.closed |= bool(patience and self.epoch and epoch - self.epoch > patience)
        late_enough = epoch > self.recipe.best_after or epoch == self.epochs
        if late_enough and not self.closed and value is not None and value > self.value:
            self.epoch, self.value, self.weights = epoch, value, copy.deepcopy(self.model.state_dict())


def train_fold(
    experiment: Experiment,
    parts: FoldParts,
    bags: BagSource,
    build: Callable[..., nn.Module],
    dim: int,
    progress: Callable[[int, Mapping[str, float | int | None]], None] = lambda epoch, line: None,
) -> FoldOutcome:
    """Train and score one fold. The same experiment, fold and machine give the same numbers.

    build: (dim, n_out, **hyperparameters) -> module, of the model registry.
    dim: width of the patch features.
    progress: called after every epoch with its number and its line of the curve.
    Errors: `Diverged` when training leaves the finite numbers; `ValueError` when nobody in the training set died.
    """
    started = time.perf_counter()
    recipe = experiment.recipe
    assert recipe is not None, "a baseline is not trained"
    loss = LOSSES[recipe.loss]
    train, test, scored = parts.train, parts.test, parts.scored_test
    train_followup = parts.scored_train.followup
    device = torch.device(experiment.device)
    fitted_on = parts.cohort if "cohort-bins" in recipe.faults else train.followup
    bins = fit_bins(fitted_on.time, fitted_on.event, recipe.bins)

    def seed(purpose: str) -> int:
        return seed_for(experiment.seed, parts.fold, purpose)

    if device.type == "cuda":
        # Sums by atomic additions come in any order; where a deterministic kernel exists, it is used.
        torch.use_deterministic_algorithms(True, warn_only=True)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        model = new_model(build, dim, loss.width(bins.count), experiment, bags, train.patients, seed)
        precision = Precision(recipe.precision, device)

        def scores(patients: Sequence[str]) -> torch.Tensor:
            return predict(model, bags, patients, recipe.tokens, precision)

        def by_patient(part: FollowedBags, values: torch.Tensor) -> np.ndarray:
            return parts.units.aggregate(part.patients, values.double().numpy())[1]

        def test_c_index() -> float | None:
            risk = by_patient(test, loss.risk(scores(test.patients)))
            try:
                return c_index(scored.followup.time, scored.followup.event, risk)
            except NotComputable:
                return None

        best = _BestOnTest(model, recipe, epochs_of(recipe, len(train.patients)), test_c_index)

        def watch(epoch: int, line: dict[str, float | int | None]) -> None:
            # What evaluation draws (the dropout-in-eval fault does) must not shift what training draws next.
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                best(epoch, line)
            progress(epoch, line)

        rng = np.random.default_rng(seed("batches"))
        fitted = fit(model, loss, recipe, bags, train, parts.val, bins, rng, device, watch)
        trained = time.perf_counter() - started

        last = len(fitted.curve)
        epochs = {"selected": fitted.selected, "last": last, "best": best.epoch or last}
        weights = {fitted.selected: fitted.weights, last: copy.deepcopy(model.state_dict())}
        if best.epoch:
            weights[best.epoch] = best.weights

        lines: list[dict[str, object]] = []
        found: dict[str, Mapping[str, float | str | None]] = {}
        read: dict[int, tuple[FoldPredictions, dict[str, float | str | None]]] = {}
        for reading in READINGS:
            epoch = epochs[reading]
            if epoch not in read:
                model.load_state_dict(weights[epoch])
                on_train, on_test = scores(train.patients), scores(test.patients)
                if not (on_train.isfinite().all() and on_test.isfinite().all()):
                    raise Diverged(f"scores are not finite after epoch {epoch}; a lower learning_rate may help")
                alive = loss.survival(on_test, bins, on_train, train.followup.time, train.followup.event)
                risk = by_patient(test, loss.risk(on_test))
                prediction = Prediction(
                    risk=risk,
                    survival=by_patient(test, alive),
                    edges=np.asarray(bins.upper),
                    high=risk > np.median(by_patient(train, loss.risk(on_train))),
                )
                predictions = FoldPredictions(
                    parts.fold, scored.patients, train_followup, scored.followup, prediction, parts.owner
                )
                read[epoch] = predictions, predictions.score()
            predictions, found[reading] = read[epoch]
            lines += predictions.lines(reading)

    fields = {
        "n_train": len(train.patients),
        "n_val": len(parts.val.patients),
        "events_train": int(train.followup.event.sum()),
        "events_val": int(parts.val.followup.event.sum()),
        "epochs": last,
        **{f"epoch_{reading}": epoch for reading, epoch in epochs.items()},
        "bin_edges": " ".join(f"{edge:.4f}" for edge in bins.upper),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(trained, 2),
        **fields_of_test_set(read[last][0]),
    }
    return FoldOutcome(fields, found, lines, fitted.curve)
