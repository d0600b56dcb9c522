"""One fold: train on its training set, choose on its validation split, read its test fold three times."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...leaderboards.result_row import READINGS
from ...models.contract import Prepares
from ...survival.concordance import c_index
from ...survival.followup import FollowUp, NotComputable, Prediction
from ...survival.time_bins import fit_bins
from ..experiment import Experiment, seed_for
from ..recipe import Recipe, epochs_of
from ..results.fold_predictions import FoldOutcome, FoldPredictions, fields_of_test_set
from ..results.keeping import Keeping
from ..results.provenance import code_version, libraries
from ..results.weights import TrainedFold, weights_file
from .batches import BagSource
from .checkpointing import Checkpoint
from .fit import Diverged, FollowedBags, Precision, fit, predict
from .fusion import Clinic, fuse
from .losses import LOSSES

NOTHING = Keeping(weights=(), every=None)
"""Keep neither weights nor checkpoints."""


class Aggregation(Protocol):
    """How predictions of bags become predictions of patients; `milsurv.datasets.labels.several_slides.Units` is one."""

    def aggregate(self, units: Sequence[str], values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """Values of bags `(n, …)` as values of patients: (ids, values)."""
        ...


@dataclass(frozen=True)
class FoldParts:
    """One fold.

    train, val, test: bags to learn from, to choose with and to score, disjoint by patient.
    outer_train: follow-up of the whole training set, validation split included, from which the metrics learn about
        censoring: the same for every model, baseline and seed.
    scored_test: who is scored: `test`, or the patients whose slides are bags of their own.
    units: turns predictions of the former into predictions of the latter.
    cohort: everyone, for the one fault of the reference that needs it.
    owner: the patient of each slide, where slides are scored; else empty.
    """

    fold: int
    train: FollowedBags
    val: FollowedBags
    test: FollowedBags
    outer_train: FollowUp
    scored_test: FollowedBags
    units: Aggregation
    cohort: FollowUp
    owner: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Learned:
    """A model that training left behind: after which epoch, its state dict, and the bags that it was learned from."""

    epoch: int
    weights: dict[str, Tensor]
    train: FollowedBags


NOBODY = FollowedBags((), FollowUp(np.empty(0), np.empty(0, bool)))
"""No validation split."""


def joined(train: FollowedBags, val: FollowedBags) -> FollowedBags:
    """Everyone of a training set, the validation split included."""
    parts = (train.followup, val.followup)
    followup = FollowUp(np.concatenate([one.time for one in parts]), np.concatenate([one.event for one in parts]))
    return FollowedBags((*train.patients, *val.patients), followup)


def quiet(epoch: int, line: Mapping[str, float | int | None]) -> None:
    """Watch nothing."""


def new_model(
    build: Callable[..., nn.Module],
    dim: int,
    n_out: int,
    experiment: Experiment,
    bags: BagSource,
    train: Sequence[str],
    seed: Callable[[str], int],
    found: bool = False,
) -> nn.Module:
    """A model before its first step, and torch's generator as its training finds it.

    train: the patients that it may look at before it is trained. seed: of a purpose, see `seed_for`. found: whether its
    state comes from a checkpoint, so that it need not look.
    """
    torch.manual_seed(seed("weights"))
    model = build(dim, n_out, **experiment.hyperparameters).to(torch.device(experiment.device))
    if isinstance(model, Prepares) and not found:
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

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"epoch": self.epoch, "value": self.value, "weights": self.weights, "closed": self.closed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        vars(self).update(state)


def checkpoint_of(experiment: Experiment, fold: int, path: Path | None, every: float | None) -> Checkpoint:
    """The checkpoint of the training of a fold: bound to it, and to the code and the libraries that compute it."""
    bound = {"experiment": experiment.id, "fold": str(fold), "version of milsurv": code_version()}
    bound |= {f"version of {name}": libraries()[name] for name in ("torch", "numpy")}
    return Checkpoint(path, bound, every)


def train_fold(
    experiment: Experiment,
    parts: FoldParts,
    bags: BagSource,
    build: Callable[..., nn.Module],
    dim: int,
    progress: Callable[[int, Mapping[str, float | int | None]], None] = quiet,
    keeping: Keeping = NOTHING,
    checkpoint_path: Path | None = None,
    name: str | None = None,
    patch_px: Mapping[str, float] = MappingProxyType({}),
    clinic: Clinic | None = None,
) -> FoldOutcome:
    """Train and score one fold. The same experiment, fold and machine give the same numbers.

    So does a training that stopped anywhere and goes on from its checkpoint.

    build: (dim, n_out, **hyperparameters) -> module, of the model registry.
    dim: width of the patch features.
    progress: called after every epoch with its number and its line of the curve.
    keeping: the weights to be kept, and how often the checkpoint is saved; checkpoint_path: where it lies.
    name: the experiment that the weights name, where this one is what its tuning chose for the fold; patch_px: the side
    of the patches in pixels by magnification, where the files say it.
    clinic: what the model is joined with at every reading once it is trained, see `fusion`; None for the image alone.
    Epochs are chosen by the image alone.
    Errors: `Diverged` when training leaves the finite numbers; `ValueError` when nobody in the training set died;
    `Stopped` when the process is asked to stop.
    """
    recipe = experiment.recipe
    assert recipe is not None, "a baseline is not trained"
    loss = LOSSES[recipe.loss]
    train, test, scored = parts.train, parts.test, parts.scored_test
    device = torch.device(experiment.device)
    fitted_on = parts.cohort if "cohort-bins" in recipe.faults else train.followup
    bins = fit_bins(fitted_on.time, fitted_on.event, recipe.bins)
    n_out = loss.width(bins.count)

    def seed(purpose: str) -> int:
        return seed_for(experiment.seed, parts.fold, purpose)

    checkpoint = checkpoint_of(experiment, parts.fold, checkpoint_path, keeping.every)
    if device.type == "cuda":
        # Sums by atomic additions come in any order; where a deterministic kernel exists, it is used.
        torch.use_deterministic_algorithms(True, warn_only=True)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        model = new_model(build, dim, n_out, experiment, bags, train.patients, seed, checkpoint.found("training"))
        _check_keepable(model, keeping)
        precision = Precision(recipe.precision, device)

        def scores(patients: Sequence[str]) -> torch.Tensor:
            return predict(model, bags, patients, recipe.tokens, precision, checkpoint.pause)

        def by_patient(part: FollowedBags, values: torch.Tensor) -> np.ndarray:
            return parts.units.aggregate(part.patients, values.double().numpy())[1]

        def test_c_index() -> float | None:
            risk = by_patient(test, loss.risk(scores(test.patients)))
            try:
                return c_index(scored.followup.time, scored.followup.event, risk)
            except NotComputable:
                return None

        planned = epochs_of(recipe, len(train.patients))
        best = _BestOnTest(model, recipe, planned, test_c_index)
        checkpoint.holds(best=best)

        def watch(epoch: int, line: dict[str, float | int | None]) -> None:
            # What evaluation draws (the dropout-in-eval fault does) must not shift what training draws next.
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                best(epoch, line)
            progress(epoch, line)

        rng = np.random.default_rng(seed("batches"))
        drawn = seed("patches")
        fitted = fit(model, loss, recipe, bags, train, parts.val, bins, rng, device, watch, checkpoint, drawn)

        last = len(fitted.curve)
        epochs = {"selected": fitted.selected, "last": last, "best": best.epoch or last}
        left = {fitted.selected: fitted.weights, last: copy.deepcopy(model.state_dict()), best.epoch: best.weights}
        models = {epoch: Learned(epoch, left[epoch], train) for epoch in epochs.values()}
        of = {reading: models[epoch] for reading, epoch in epochs.items()}
        if recipe.refit and parts.val.patients:
            whole, course = joined(train, parts.val), (fitted.selected, planned)
            again = new_model(build, dim, n_out, experiment, bags, whole.patients, seed, checkpoint.found("refit"))
            rng = np.random.default_rng(seed("batches"))
            refitted = fit(
                again, loss, recipe, bags, whole, NOBODY, bins, rng, device, quiet, checkpoint, drawn, course, "refit"
            )
            of["selected"] = Learned(fitted.selected, refitted.weights, whole)
        trained = checkpoint.seconds

        lines: list[dict[str, object]] = []
        found: dict[str, Mapping[str, float | str | None]] = {}
        joined_by: dict[str, float] = {}
        read: dict[int, tuple[FoldPredictions, dict[str, float | str | None], dict[str, Any]]] = {}
        kept: dict[str, bytes] = {}
        for reading in READINGS:
            learned = of[reading]
            if id(learned) not in read:
                model.load_state_dict(learned.weights)
                on_train, on_test = scores(learned.train.patients), scores(test.patients)
                on_val = None if clinic is None else scores(parts.val.patients)
                if not all(part.isfinite().all() for part in (on_train, on_test, on_val) if part is not None):
                    raise Diverged(f"scores are not finite after epoch {learned.epoch}; a lower learning_rate may help")
                baseline = loss.baseline(bins, on_train, learned.train.followup.time, learned.train.followup.event)
                alive = by_patient(test, loss.survival(on_test, bins, baseline))
                risk = by_patient(test, loss.risk(on_test))
                median = float(np.median(by_patient(learned.train, loss.risk(on_train))))
                prediction = Prediction(risk=risk, survival=alive, edges=np.asarray(bins.upper), high=risk > median)
                fusion = None
                if clinic is not None and on_val is not None:
                    fusion = fuse(clinic, by_patient(parts.val, loss.risk(on_val)))
                    prediction, median = fusion.predict(clinic.test, prediction), fusion.median
                    if reading == "selected":
                        joined_by = dict(zip(("fusion_clinic", "fusion_image"), fusion.coefficients, strict=True))
                predictions = FoldPredictions(
                    parts.fold, scored.patients, parts.outer_train, scored.followup, prediction, parts.owner
                )
                needed = {
                    "baseline": tuple(baseline.tolist()),
                    "median_risk": median,
                    "fusion": None if fusion is None else asdict(fusion),
                }
                read[id(learned)] = predictions, predictions.score(), needed
            predictions, found[reading], needed = read[id(learned)]
            lines += predictions.lines(reading)
            if reading in keeping.weights:
                about = TrainedFold(
                    experiment=name or experiment.id,
                    fold=parts.fold,
                    reading=reading,
                    epoch=learned.epoch,
                    protocol=experiment.protocol,
                    model=experiment.model,
                    hyperparameters=dict(experiment.hyperparameters),
                    dim=dim,
                    n_out=n_out,
                    magnifications=experiment.magnifications,
                    backbone=experiment.backbone,
                    patch_px=dict(patch_px),
                    loss=recipe.loss,
                    inner_edges=bins.edges[1:-1],
                    end=bins.end,
                    cohort=experiment.cohort,
                    cohort_version=experiment.cohort_version,
                    endpoint=experiment.endpoint,
                    slides=experiment.slides,
                    synthetic=experiment.synthetic,
                    precision=recipe.precision,
                    **needed,
                )
                kept[reading] = weights_file(learned.weights, about)

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
        **joined_by,
        **fields_of_test_set(read[id(of["last"])][0]),
    }
    return FoldOutcome(fields, found, lines, fitted.curve, kept)


def _check_keepable(model: nn.Module, keeping: Keeping) -> None:
    """Errors: `UsageError` where the weights of a model cannot be kept: found before training, not after it."""
    other = [name for name, value in model.state_dict().items() if not isinstance(value, Tensor)]
    if keeping.weights and other:
        raise UsageError(f"the model's state has what is no tensor ({', '.join(other[:5])}): add --keep-weights none")
