"""Cross-validate an experiment, fold by fold: skip what is done, keep what fails, lose nothing."""

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..datasets.folds.read import cut_validation
from ..datasets.patient import Patient
from ..datasets.split import Split
from ..errors import CannotWrite, DataError
from ..leaderboards.result_row import ResultRow
from ..models import registry
from .baselines.fit import fit_baseline, followup
from .cohort_data import CohortData
from .experiment import FAMILY, IMPORTED, Experiment, seed_for
from .recipe import epochs_of, loss_of
from .recipe import title as recipe_title
from .results.fold_predictions import FoldOutcome, c_index_or_none
from .results.folder import ResultFolder
from .results.keeping import Keeping
from .results.provenance import code_version, hardware, libraries
from .training.fit import Diverged, FollowedBags
from .training.fold import FoldParts, train_fold
from .training.interruption import STOP
from .tuning.inner import HeldOut, Watch, held_out, judged
from .tuning.spaces import with_settings
from .tuning.tune import Judge, NothingTrained, study_of, tune, work

FitFold = Callable[[Split], FoldOutcome]
Beside = Callable[[int], AbstractContextManager[None]]


class Watcher(Protocol):
    """Whoever wants to see progress; `console.FoldProgress` is one. `done` folds are over."""

    done: int

    def epoch(self, fold: int, epoch: int, line: Mapping[str, float | int | None]) -> None:
        """An epoch of a fold is over."""
        ...

    def trial(self, fold: int, trial: int, of: int | None, best: float | None) -> None:
        """A trial of a fold that is tuned begins; `of`: how many there will be, `best`: the best C-index so far."""
        ...

    def fold(self, fold: int, row: ResultRow, computed: bool) -> None:
        """A fold is over; `computed` is False when its result was already there."""
        ...


class Recorder(Protocol):
    """Whoever keeps a second record of results; `tracking.Tracker` is one. It must not raise."""

    def begin(self) -> None:
        """The experiment begins, or goes on."""
        ...

    def fold(self, row: ResultRow, folder: Path) -> None:
        """A fold's files are written."""
        ...

    def end(self, status: str, rows: Sequence[ResultRow], folder: Path) -> None:
        """The experiment is `FINISHED`, `FAILED` or `KILLED`."""
        ...


def cross_validate(
    experiment: Experiment,
    data: CohortData,
    out: Path,
    command: str,
    watcher: Watcher,
    recorder: Recorder | None = None,
    only: Sequence[int] = (),
    fit_fold: FitFold | None = None,
    facts: Mapping[str, Any] | None = None,
    keeping: Keeping | None = None,
    beside: Beside | None = None,
) -> list[ResultRow]:
    """Compute every fold that is not finished yet and return all rows, failed ones included.

    Parameters
    ----------
    command
        The command line that gives these numbers again; every row carries it.
    recorder
        Keeps a second record, of MLflow for instance.
    only
        Fold numbers to compute; all when empty.
    fit_fold
        How a fold is computed; by the experiment's own model or baseline when None.
    facts
        Further fields of every row.
    keeping
        Which weights and checkpoints are kept; those of `Keeping()` when None.
    beside
        Processes that help to tune a fold, by its number; none where this one computes all trials.

    Raises
    ------
    CannotWrite
        The output folder does not take the results; what was written before is kept.
    """
    folder = ResultFolder(out, experiment, keeping)
    splits = [split for split in data.folds.splits if not only or split.fold in only]
    fit_fold = fit_fold or _fit_fold(experiment, data, watcher, folder, beside)
    rows: list[ResultRow] = []
    status = "KILLED"
    lock = folder.claim()
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_for(experiment, data, threads))
    shared = replace(describe(experiment, data), command=command, **(facts or {}))
    try:
        if recorder is not None:
            recorder.begin()
        folder.write_remarks([asdict(finding) for finding in data.findings], data.left_out)
        for split in splits:
            row = folder.finished(split.fold)
            computed = row is None
            if row is None:
                row = _compute(data, split, folder, shared, fit_fold)
            rows.append(row)
            watcher.fold(split.fold, row, computed)
            if recorder is not None:
                recorder.fold(row, folder.fold(split.fold))
        learned = {s.fold: validation_split(experiment, data, s)[0] for s in data.folds.splits}
        folder.remark_missing_weights([row.fold for row in rows if row.finished])
        folder.summarise({fold: followup(data.scored(train)) for fold, train in learned.items()})
        status = "FINISHED" if all(row.finished for row in rows) else "FAILED"
    except CannotWrite:
        status = "FAILED"
        raise
    finally:
        if recorder is not None:
            recorder.end(status, rows, folder.path)
        torch.set_num_threads(threads)
        lock.release()
    return rows


def describe(experiment: Experiment, data: CohortData) -> ResultRow:
    """What the rows of all folds of an experiment share."""
    recipe, versions = experiment.recipe, libraries()
    return ResultRow(
        status="running",
        experiment=experiment.id,
        fold=0,
        n_folds=experiment.n_folds,
        seed=experiment.seed,
        model=experiment.model,
        family=family_of(experiment),
        scales=",".join(map(str, experiment.magnifications)) or None,
        cohort=experiment.cohort,
        synthetic=experiment.synthetic,
        backbone=experiment.backbone,
        loss=loss_of(recipe, experiment.tuning),
        recipe=recipe_title(recipe, experiment.tuning),
        slides=experiment.slides,
        folds_name=experiment.folds_name,
        hyperparameters=json.dumps(dict(experiment.hyperparameters), sort_keys=True),
        cohort_version=experiment.cohort_version,
        endpoint=experiment.endpoint,
        missing=experiment.missing,
        protocol=experiment.protocol,
        patients=len(data.labels.patients),
        events=sum(patient.event for patient in data.labels.patients),
        labels_fingerprint=experiment.labels_fingerprint,
        folds_fingerprint=experiment.folds_fingerprint,
        features_fingerprint=experiment.features_fingerprint,
        code_version=code_version(),
        torch_version=versions["torch"] if recipe else None,
        scikit_survival_version=None if recipe else versions["scikit-survival"],
        untuned_experiment=replace(experiment, tuning=None).id if experiment.tuning else None,
        device=experiment.device,
        hardware=hardware(experiment.device) if recipe else None,
    )


def family_of(experiment: Experiment) -> str:
    """What rows call the kind of model: that of the registry, or one of those that no epochs train."""
    if experiment.predictions_fingerprint is not None:
        return IMPORTED
    return registry.get(experiment.model).family if experiment.recipe is not None else FAMILY


def fold_parts(experiment: Experiment, data: CohortData, split: Split) -> FoldParts:
    """The parts of one fold of a model that is trained."""
    train, val = validation_split(experiment, data, split)
    return FoldParts(
        fold=split.fold,
        train=part_of(data.bags_of(train)),
        val=part_of(data.bags_of(val)),
        test=part_of(data.bags_of(split.test)),
        scored_train=part_of(data.scored(train)),
        scored_test=part_of(data.scored(split.test)),
        units=data.units,
        cohort=followup(data.bags_of([patient.id for patient in data.labels.patients])),
        owner=data.owner,
    )


def part_of(patients: Sequence[Patient]) -> FollowedBags:
    """Patients (or slides) with their follow-up, in this order."""
    return FollowedBags(tuple(patient.id for patient in patients), followup(patients))


def validation_split(experiment: Experiment, data: CohortData, split: Split) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who of a training set is learned from, and who is held out to choose the epoch.

    Where the folds bring no validation split, it is cut here, by the labels of the training set alone. What is not
    trained by epochs chooses none, and learns from everybody.
    """
    if experiment.recipe is None:
        return (*split.train, *split.val), ()
    if split.val or not experiment.recipe.validation:
        return split.train, split.val
    seed = seed_for(experiment.seed, split.fold, "validation")
    return cut_validation(split.train, data.labels, experiment.recipe.validation, seed)


def oracle_c_index(data: CohortData, split: Split) -> float | None:
    """What the true risks reach on this test set; None for cohorts that were observed and not simulated."""
    truth = data.units.labels.oracle if data.units.level == "slide" else data.labels.oracle
    if truth is None:
        return None
    scored = data.scored(split.test)
    return c_index_or_none(followup(scored), [truth[patient.id] for patient in scored])


def threads_for(experiment: Experiment, data: CohortData, cores: int) -> int:
    """Threads for one step's arithmetic on a CPU: one where a batch has few patches, all of them where it has many.

    A batch of few patches is thousands of small operations, at the end of each of which threads wait for one another:
    two are a quarter faster than one on an idle machine, and ten times slower on a busy one.
    """
    if experiment.recipe is None or data.bags is None or experiment.device != "cpu":
        return cores
    ids = [patient.id for patient in data.units.labels.patients]
    typical = float(np.median([data.bags.tokens(i) for i in ids])) * min(experiment.recipe.batch, len(ids))
    return cores if typical > 10_000 else 1


def _fit_fold(
    experiment: Experiment, data: CohortData, watcher: Watcher, folder: ResultFolder, beside: Beside | None
) -> FitFold:
    """How a fold of this experiment is computed."""
    fit = _fit_baseline if experiment.recipe is None else _fit_model

    def as_it_is(split: Split) -> FoldOutcome:
        return fit(experiment, data, split, watcher, folder)

    def tuned(split: Split) -> FoldOutcome:
        def watch(number: int, of: int | None, best: float | None) -> None:
            watcher.trial(split.fold, number, of, best)

        place, workers = folder.fold(split.fold), None if beside is None else beside(split.fold)
        found = tune(experiment, data, split, place, _judge(experiment), watch, epochs_at_most, workers)
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
        **kept,
    )


def help_tuning(experiment: Experiment, data: CohortData, out: Path, fold: int) -> None:
    """Compute trials of a fold that another process tunes, until its budget is spent."""
    torch.set_num_threads(threads_for(experiment, data, torch.get_num_threads()))
    (split,) = (split for split in data.folds.splits if split.fold == fold)
    study = study_of(experiment, split, ResultFolder(out, experiment).fold(fold))
    work(experiment, data, split, study, _judge(experiment), epochs=epochs_at_most)


def _judge(experiment: Experiment) -> Judge:
    return judge_baseline if experiment.recipe is None else judge_model


def judge_model(experiment: Experiment, data: CohortData, split: Split, watch: Watch) -> HeldOut:
    """A setting of a model on an inner fold, see `tuning.tune.Judge`."""
    assert data.bags is not None
    parts = fold_parts(experiment, data, split)
    if not split.test:
        _, val = validation_split(experiment, data, split)
        parts = replace(parts, test=parts.val, scored_test=part_of(data.scored(val)))
    return held_out(experiment, parts, data.bags, registry.get(experiment.model).build, data.dim, watch)


def judge_baseline(experiment: Experiment, data: CohortData, split: Split, watch: Watch) -> HeldOut:
    """A setting of a baseline on an inner fold, see `tuning.tune.Judge`."""
    outcome = _fit_baseline(experiment, data, split)
    risk = np.array([float(str(line["risk"])) for line in outcome.predictions])
    return judged(followup(data.scored(split.test)), risk, 0)


def epochs_at_most(experiment: Experiment, data: CohortData, split: Split) -> int:
    """How many epochs a model is trained for at most on this split."""
    if experiment.recipe is None:
        return 1
    return epochs_of(experiment.recipe, len(data.bags_of(validation_split(experiment, data, split)[0])))


def _compute(data: CohortData, split: Split, folder: ResultFolder, shared: ResultRow, fit_fold: FitFold) -> ResultRow:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    row = replace(shared, fold=split.fold, created=started, oracle_c_index=oracle_c_index(data, split))
    with STOP.heard():
        try:
            outcome = fit_fold(split)
        except Exception as error:
            # Bad data, diverged training, or a fault of ours or of a model: the fold is recorded as failed, the others
            # still run, and the exit status says so.
            explained = isinstance(error, DataError | Diverged | NothingTrained | torch.OutOfMemoryError)
            row = replace(row, status="failed", error=str(error) if explained else f"{type(error).__name__}: {error}")
            folder.write_failure(row, traceback.format_exc())
        else:
            row = outcome.complete(row)
            folder.write_fold(row, outcome)
    return row
