"""Cross-validate an experiment, fold by fold: skip what is done, keep what fails, lose nothing."""

import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from ..datasets.folds.read import cut_validation
from ..datasets.patient import Patient
from ..datasets.split import Split
from ..errors import DataError
from ..leaderboards.result_row import ResultRow
from ..models import registry
from .baselines.fit import fit_baseline, followup
from .cohort_data import CohortData
from .engines.cell import Cell, Task
from .engines.schedule import schedule
from .engines.serial import Serial
from .engines.worker import Worker
from .experiment import FAMILY, IMPORTED, Experiment, seed_for
from .recipe import epochs_of, loss_of
from .recipe import title as recipe_title
from .results.fold_predictions import FoldOutcome, c_index_or_none
from .results.folder import ResultFolder
from .results.keeping import Keeping
from .results.lease import all_held
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
    """Whoever wants to see the progress of a fold."""

    def epoch(self, fold: int, epoch: int, line: Mapping[str, float | int | None]) -> None:
        """An epoch of a fold is over."""
        ...

    def trial(self, fold: int, trial: int, of: int | None, best: float | None) -> None:
        """A trial of a fold that is tuned begins; `of`: how many there will be, `best`: the best C-index so far."""
        ...


@dataclass(frozen=True)
class Work:
    """An experiment that is ready to be computed, fold by fold.

    command: the command line that gives these numbers again; every row carries it.
    fit_fold: how a fold is computed; by the experiment's own model or baseline when None.
    facts: further fields of every row.
    keeping: which weights and checkpoints are kept; those of `Keeping()` when None.
    beside: other processes that tune a fold together with this one, while the context lasts.
    """

    experiment: Experiment
    data: CohortData
    out: Path
    command: str
    fit_fold: FitFold | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    keeping: Keeping | None = None
    beside: Beside | None = None

    @property
    def folder(self) -> ResultFolder:
        """Where its results lie."""
        return ResultFolder(self.out, self.experiment, self.keeping)

    @cached_property
    def shared(self) -> ResultRow:
        """What the rows of all folds have in common."""
        return replace(describe(self.experiment, self.data), command=self.command, **self.facts)

    def compute(self, fold: int, watcher: Watcher) -> ResultRow:
        """Compute a fold; see `compute_fold`."""
        return compute_fold(self, fold, watcher)

    def failed(self, fold: int, error: str, details: str) -> ResultRow:
        """The row of a fold that failed, once its files are written. Errors: `CannotWrite`."""
        row = replace(self.shared, fold=fold, created=_now(), status="failed", error=error)
        self.folder.write_failure(row, details)
        return row


def compute_fold(work: Work, fold: int, watcher: Watcher) -> ResultRow:
    """Compute a fold, write its files and return its row, that of a failure too.

    The same experiment, fold and kind of machine give the same numbers, whatever computes beside it: the number of
    threads is the experiment's own.

    Raises
    ------
    CannotWrite
        The output folder does not take the results.
    """
    experiment, data = work.experiment, work.data
    (split,) = (split for split in data.folds.splits if split.fold == fold)
    with threads(threads_for(experiment, data)):
        fit_fold = work.fit_fold or _fit_fold(experiment, data, watcher, work.folder, work.beside)
        return _compute(data, split, work.folder, work.shared, fit_fold)


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


@dataclass
class ExperimentRun:
    """An experiment on its way: its cells and the rows that are there.

    only: fold numbers to compute; all when empty.
    """

    task: Task
    work: Work
    recorder: Recorder | None = None
    only: Sequence[int] = ()
    by_fold: dict[int, ResultRow] = field(default_factory=dict)
    begun: bool = False
    ended: bool = False

    @property
    def folder(self) -> ResultFolder:
        """Where its results lie."""
        return self.work.folder

    @property
    def folds(self) -> list[int]:
        """The folds to compute."""
        return [split.fold for split in self.work.data.folds.splits if not self.only or split.fold in self.only]

    @property
    def rows(self) -> list[ResultRow]:
        """The rows of the folds that are over, in the order of the folds."""
        return [self.by_fold[fold] for fold in self.folds if fold in self.by_fold]

    @cached_property
    def epochs(self) -> int:
        """How many epochs a fold has at most."""
        experiment, data = self.work.experiment, self.work.data
        if experiment.recipe is None:
            return 1
        return epochs_of(experiment.recipe, len(validation_split(experiment, data, data.folds.splits[0])[0]))

    def cell(self, fold: int, run: str) -> Cell:
        """The cell of a fold."""
        return Cell(self.task, self.work.experiment.id, fold, self.epochs, run, str(Path.cwd()))

    def open(self) -> None:
        """Write what belongs to the whole experiment. Errors: `CannotWrite`."""
        self.folder.begin()
        data = self.work.data
        self.folder.write_remarks([asdict(finding) for finding in data.findings], data.left_out)

    def begin(self) -> None:
        """Tell the recorder, once."""
        if self.recorder is not None and not self.begun:
            self.recorder.begin()
        self.begun = True

    def take(self, row: ResultRow) -> None:
        """Keep a row, and end the experiment with its last."""
        self.begin()
        self.by_fold[row.fold] = row
        if self.recorder is not None:
            self.recorder.fold(row, self.work.folder.fold(row.fold))
        if len(self.by_fold) == len(self.folds):
            self._summarise()
            self.end("FINISHED" if all(row.finished for row in self.rows) else "FAILED")

    def failed(self, fold: int, error: str, details: str) -> ResultRow:
        """The row of a fold that could not be computed, once its files are written. Errors: `CannotWrite`."""
        return self.work.failed(fold, error, details)

    def end(self, status: str) -> None:
        """Close the record, once."""
        if self.begun and not self.ended:
            self.ended = True
            if self.recorder is not None:
                self.recorder.end(status, self.rows, self.work.folder.path)

    def _summarise(self) -> None:
        data, folder = self.work.data, self.work.folder
        folder.remark_missing_weights([row.fold for row in self.rows if row.finished])
        folder.summarise({s.fold: followup(data.scored((*s.train, *s.val))) for s in data.folds.splits})
        for fold, lease in all_held(folder.path).items():  # of processes that died after their last word
            if fold in self.by_fold and (lease.holder is None or lease.holder.dead):
                with suppress(OSError):
                    lease.path.unlink()


@dataclass(frozen=True, eq=False)
class _Here:
    """The task of an experiment that is loaded already."""

    work: Work

    @property
    def title(self) -> str:
        return self.work.experiment.title

    def load(self, memory: dict[str, Any]) -> Work:
        return self.work


class _OneExperiment:
    """Passes on what happens in one experiment to a watcher that knows of folds only."""

    def __init__(self, watcher: Any) -> None:
        self._watcher, self.done = watcher, 0

    def epoch(self, cell: Cell, epoch: int, line: Mapping[str, float | int | None]) -> None:
        self._watcher.epoch(cell.fold, epoch, line)

    def trial(self, cell: Cell, trial: int, of: int | None, best: float | None) -> None:
        self._watcher.trial(cell.fold, trial, of, best)

    def fold(self, fold: int, row: ResultRow, computed: bool) -> None:
        self._watcher.fold(fold, row, computed)

    def state(self, running: int, elsewhere: int) -> None:
        pass


def cross_validate(
    experiment: Experiment,
    data: CohortData,
    out: Path,
    command: str,
    watcher: Any,
    recorder: Recorder | None = None,
    only: Sequence[int] = (),
    fit_fold: FitFold | None = None,
    facts: Mapping[str, Any] | None = None,
    keeping: Keeping | None = None,
    beside: Beside | None = None,
) -> list[ResultRow]:
    """Compute every fold of an experiment that is loaded, in this process, and return all rows, failed ones included.

    Parameters
    ----------
    command
        The command line that gives these numbers again; every row carries it.
    watcher
        Hears `epoch(fold, epoch, line)` and `fold(fold, row, computed)`.
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
    work = Work(experiment, data, out, command, fit_fold, facts or {}, keeping, beside)
    run = ExperimentRun(_Here(work), work, recorder, only)
    run.begin()
    schedule([run], Serial(Worker()), _OneExperiment(watcher))
    return run.rows


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
        outer_train=followup(data.scored((*split.train, *split.val))),
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


def threads_for(experiment: Experiment, data: CohortData) -> int:
    """Threads for one step's arithmetic on a CPU: one where a batch has few patches, two where it has many.

    A batch of few patches is thousands of small operations, at the end of each of which threads wait for one another:
    two are a quarter faster than one on an idle machine, and ten times slower on a busy one. Sums are split by threads,
    so that their number moves last digits: it follows from the data, never from the machine, nor from what else runs.
    """
    if experiment.recipe is None or data.bags is None:
        return 1
    if experiment.device != "cpu":
        return 2
    ids = [patient.id for patient in data.units.labels.patients]
    typical = float(np.median([data.bags.tokens(i) for i in ids])) * min(experiment.recipe.batch, len(ids))
    return 2 if typical > 10_000 else 1


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute with so many threads of torch, and one of the linear algebra of numpy and scipy."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        with _linear_algebra().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _linear_algebra() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401  # its library has to be loaded to be found

    return ThreadpoolController()


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
    (split,) = (split for split in data.folds.splits if split.fold == fold)
    study = study_of(experiment, split, ResultFolder(out, experiment).fold(fold))
    with threads(threads_for(experiment, data)):
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
    row = replace(shared, fold=split.fold, created=_now(), oracle_c_index=oracle_c_index(data, split))
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
