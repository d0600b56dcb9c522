"""How a fold is fitted, by a model or a baseline, as it is or tuned; and how a setting is judged on an inner fold."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ...datasets.split import Split
from ...models import registry
from ..baselines.fit import fit_baseline, followup
from ..cohort_data import CohortData
from ..experiment import Experiment
from ..results.fold_predictions import FoldOutcome
from ..results.folder import ResultFolder
from ..training.checkpointing import Checkpoint
from ..training.fold import train_fold
from ..tuning.inner import HeldOut, Watch, held_out, judged
from ..tuning.spaces import with_settings
from ..tuning.tune import Judge, study_of, tune, work
from .parts import clinic_of, epochs_at_most, fold_parts, part_of, validation_split
from .threads import threads, threads_for

FitFold = Callable[[Split], FoldOutcome]
Beside = Callable[[int], AbstractContextManager[None]]


class Watcher(Protocol):
    """Whoever wants to see the progress of a fold."""

    def epoch(self, fold: int, epoch: int, line: Mapping[str, float | int | None]) -> None:
        """An epoch of a fold is over."""
        ...

    def trial(self, fold: int, trial: int, of: int | None, best: float | None) -> None:
        """A trial of a fold that is tuned begins; `of`: how many there will be, `best`: the best C-index so far."""
        ...


def fitter(
    experiment: Experiment, data: CohortData, watcher: Watcher, folder: ResultFolder, beside: Beside | None
) -> FitFold:
    """How a fold of this experiment is computed.

    `beside`: other processes that tune a fold together with this one, while the context lasts.
    """
    fit = _fit_baseline if experiment.recipe is None else _fit_model

    def as_it_is(split: Split) -> FoldOutcome:
        return fit(experiment, data, split, watcher, folder)

    def tuned(split: Split) -> FoldOutcome:
        clinic_of(experiment, data, split)  # what cannot be joined is said before anything is tried

        def watch(number: int, of: int | None, best: float | None) -> None:
            watcher.trial(split.fold, number, of, best)

        place, workers = folder.fold(split.fold), None if beside is None else beside(split.fold)
        judge, every = _judge(experiment), folder.keeping.every
        found = tune(experiment, data, split, place, judge, watch, epochs_at_most, workers, every)
        outcome = fit(with_settings(experiment, found.settings), data, split, watcher, folder)
        return replace(outcome, fields={**outcome.fields, **found.fields})

    return as_it_is if experiment.tuning is None else tuned


def _fit_baseline(
    experiment: Experiment,
    data: CohortData,
    split: Split,
    watcher: Watcher | None = None,
    folder: ResultFolder | None = None,
) -> FoldOutcome:
    return fit_baseline(
        experiment.model,
        data.scored((*split.train, *split.val)),
        data.scored(split.test),
        fold=split.fold,
        hyperparameters=experiment.hyperparameters,
        seed=experiment.seed,
        patches=data.patches,
        owner=data.owner,
        source=data.labels.source,
    )


def _fit_model(
    experiment: Experiment, data: CohortData, split: Split, watcher: Watcher, folder: ResultFolder | None = None
) -> FoldOutcome:
    assert data.bags is not None
    kept = {}
    if folder is not None:
        kept = {"keeping": folder.keeping, "checkpoint_path": folder.checkpoint(split.fold)}
        kept |= {"name": folder.experiment.id, "patch_px": data.bags.patch_px()}
    return train_fold(
        experiment,
        fold_parts(experiment, data, split),
        data.bags,
        registry.get(experiment.model).build,
        data.dim,
        lambda epoch, line: watcher.epoch(split.fold, epoch, line),
        clinic=clinic_of(experiment, data, split),
        **kept,
    )


def help_tuning(experiment: Experiment, data: CohortData, out: Path, fold: int, every: float | None) -> None:
    """Compute trials of a fold that another process tunes, until its budget is spent.

    every: seconds of training between two checkpoints; None for none.
    """
    (split,) = (split for split in data.folds.splits if split.fold == fold)
    study = study_of(experiment, split, ResultFolder(out, experiment).fold(fold))
    with threads(threads_for(experiment, data)):
        work(experiment, data, split, study, _judge(experiment), epochs=epochs_at_most, every=every)


def _judge(experiment: Experiment) -> Judge:
    return judge_baseline if experiment.recipe is None else judge_model


def judge_model(
    experiment: Experiment, data: CohortData, split: Split, watch: Watch, checkpoint: Checkpoint
) -> HeldOut:
    """A setting of a model on an inner fold, see `tuning.tune.Judge`."""
    assert data.bags is not None
    parts = fold_parts(experiment, data, split)
    if not split.test:
        _, val = validation_split(experiment, data, split)
        parts = replace(parts, test=parts.val, scored_test=part_of(data.scored(val)))
    return held_out(experiment, parts, data.bags, registry.get(experiment.model).build, data.dim, watch, checkpoint)


def judge_baseline(
    experiment: Experiment, data: CohortData, split: Split, watch: Watch, checkpoint: Checkpoint
) -> HeldOut:
    """A setting of a baseline on an inner fold, see `tuning.tune.Judge`."""
    outcome = _fit_baseline(experiment, data, split)
    risk = np.array([float(str(line["risk"])) for line in outcome.predictions])
    return judged(followup(data.scored(split.test)), risk, 0)
