"""How a setting is judged: by the C-index of patients of the training set that it was not trained on.

Nothing here is given the test fold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ...datasets.folds.read import site_preserving_folds, stratified_folds
from ...datasets.split import Split
from ...errors import DataError
from ...survival.concordance import c_index, comparable_pairs
from ...survival.followup import FollowUp, NotComputable
from ...survival.time_bins import fit_bins
from ..cohort_data import CohortData
from ..experiment import Experiment, seed_for
from ..training.batches import BagSource
from ..training.checkpointing import Checkpoint
from ..training.fit import Diverged, Precision, fit, predict
from ..training.fold import FoldParts, new_model
from ..training.losses import LOSSES

Watch = Callable[[int, Mapping[str, float | int | None]], None]
"""Called after every epoch with its number and its line of the curve; it may raise to end the training."""


@dataclass(frozen=True)
class HeldOut:
    """What a setting reaches on patients that it was not trained on.

    c_index: Harrell's; pairs: how many pairs of patients it compares; epochs: how many were trained.
    """

    c_index: float
    pairs: int
    epochs: int


def without_test_fold(data: CohortData, split: Split) -> CohortData:
    """The cohort as a tuner gets it: the patients of the test fold are not in it."""
    return data.without(data.units.of(split.test))


def inner_splits(experiment: Experiment, data: CohortData, split: Split) -> tuple[tuple[Experiment, Split], ...]:
    """The inner folds of a training set, each with the experiment that is cross-validated on it.

    With one inner fold it is the training as it is without tuning, and the validation split, which chooses its epoch,
    judges it: the split's test set is empty. With several, every patient of the training set is held out once, and each
    inner fold is trained as an outer one is, with a validation split cut from its own training set. They are divided as
    the outer folds are: where those keep tissue source sites together, so do these.

    Raises
    ------
    DataError
        There are too few deaths in the training set for so many folds.
    """
    assert experiment.tuning is not None
    if experiment.tuning.inner == 1:
        return ((experiment, Split(split.fold, split.train, split.val, ())),)
    learned = {*split.train, *split.val}
    labels = replace(data.labels, patients=tuple(one for one in data.labels.patients if one.id in learned))
    seed = seed_for(experiment.seed, split.fold, "tuning")
    divide = site_preserving_folds if data.folds.kind == "site-preserving" else stratified_folds
    try:
        folds = divide(labels, experiment.tuning.inner, seed=seed)
    except DataError as error:
        raise DataError(
            f"the training set of fold {split.fold} cannot be divided into {experiment.tuning.inner} inner folds; use "
            f"--inner validation: {error}"
        ) from error
    return tuple((replace(experiment, seed=seed), inner) for inner in folds.splits)


def held_out(
    experiment: Experiment,
    parts: FoldParts,
    bags: BagSource,
    build: Callable[..., nn.Module],
    dim: int,
    watch: Watch,
    checkpoint: Checkpoint,
) -> HeldOut:
    """Train one setting on an inner fold, choose its epoch on the validation split, and score who was held out.

    parts: the inner fold; its test set is who was held out. build, dim: as `train_fold`. checkpoint: where the training
    goes on from, and where it is kept.
    Errors: `Diverged`, and what `fit` raises; `DataError` where no two held-out patients can be compared.
    """
    recipe = experiment.recipe
    assert recipe is not None, "a baseline is not trained"
    loss, train, device = LOSSES[recipe.loss], parts.train, torch.device(experiment.device)
    fitted_on = parts.cohort if "cohort-bins" in recipe.faults else train.followup
    bins = fit_bins(fitted_on.time, fitted_on.event, recipe.bins)

    def seed(purpose: str) -> int:
        return seed_for(experiment.seed, parts.fold, purpose)

    if device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        found = checkpoint.found("training")
        model = new_model(build, dim, loss.width(bins.count), experiment, bags, train.patients, seed, found)
        rng, drawn = np.random.default_rng(seed("batches")), seed("patches")
        fitted = fit(model, loss, recipe, bags, train, parts.val, bins, rng, device, watch, checkpoint, drawn)
        model.load_state_dict(fitted.weights)
        scores = predict(model, bags, parts.test.patients, recipe.tokens, Precision(recipe.precision, device))
    if not scores.isfinite().all():
        raise Diverged(f"scores are not finite after epoch {fitted.selected}; a lower learning_rate may help")
    risk = parts.units.aggregate(parts.test.patients, loss.risk(scores).double().numpy())[1]
    return judged(parts.scored_test.followup, risk, len(fitted.curve))


def judged(followup: FollowUp, risk: np.ndarray, epochs: int) -> HeldOut:
    """The C-index of held-out patients. Errors: `DataError` where no two of them can be compared."""
    try:
        value = c_index(followup.time, followup.event, risk)
    except NotComputable as reason:
        raise DataError(f"an inner fold cannot be scored: {reason}. Use fewer inner folds") from reason
    return HeldOut(value, int(comparable_pairs(followup.time, followup.event).comparable.sum()), epochs)
