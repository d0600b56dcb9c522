"""Tuning one fold: trials on its training set until the budget is spent, then the best setting, or why none is."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...datasets.split import Split
from ...errors import CannotWrite
from ..cohort_data import CohortData
from ..experiment import Experiment, seed_for
from ..results.folder import table, write
from ..results.reason import reason
from ..results.trials import TRIALS, TrialRecord, trial_lines
from ..training.checkpointing import Checkpoint
from ..training.fit import Diverged
from ..training.fold import checkpoint_of
from ..training.interruption import STOP, Stopped
from .inner import HeldOut, Watch, inner_splits, without_test_fold
from .spaces import start_of, with_settings
from .study import JOURNAL, OpenTrial, TrialStudy, best_of

_TENTHS = 10
_CHECKPOINT = "trial-{}-inner-{}.pt"
_KEPT = "the trials of the fold under way are kept"


class Judge(Protocol):
    """How a setting is trained and scored on an inner fold; `inner.held_out` is how a model is."""

    def __call__(
        self, experiment: Experiment, data: CohortData, split: Split, watch: Watch, checkpoint: Checkpoint
    ) -> HeldOut:
        """The C-index of those held out: the test set of `split`, or the validation split where it has none.

        What takes long goes on from the checkpoint, and is kept there.
        """
        ...


class NothingTrained(Exception):
    """Not one setting of a fold could be trained to its end."""


class _Behind(Exception):
    """A trial is behind."""


@dataclass(frozen=True)
class Tuned:
    """What tuning chose for a fold.

    Attributes
    ----------
    settings
        Of what may vary.
    fields
        What it adds to the row of the fold.
    """

    settings: Mapping[str, Any]
    fields: Mapping[str, Any]


def tune(
    experiment: Experiment,
    data: CohortData,
    split: Split,
    folder: Path,
    judge: Judge,
    watch: Callable[[int, int | None, float | None], None] = lambda number, of, best: None,
    epochs: Callable[[Experiment, CohortData, Split], int] = lambda *_: 1,
    beside: AbstractContextManager[None] | None = None,
    every: float | None = None,
) -> Tuned:
    """Choose the settings of one fold on its training set.

    The trials of a killed process are taken up where they lie in `folder`, each at its last checkpoint. A trial that
    fails is kept with the reason.

    Parameters
    ----------
    data
        The whole cohort; the patients of the test fold are taken out before anything else looks at it.
    folder
        That of the fold.
    judge
        Trains and scores one setting.
    watch
        Called before every trial with its number, how many there will be (None: unknown), and the best value so far.
    epochs
        How many epochs a setting is trained for at most; with a single validation split, trials are compared at tenths
        of it.
    beside
        Entered for as long as trials are computed: `workers`, which compute others.
    every
        Seconds of training between two checkpoints; None for none.

    Raises
    ------
    NothingTrained
        Every trial failed; the message says why.
    DataError
        The training set cannot be divided into inner folds.
    CannotWrite
        The folder does not take the trials; those before are kept.
    """
    study = study_of(experiment, split, folder)
    study.restore()
    with beside or nullcontext():
        work(experiment, data, split, study, judge, watch, epochs, every)
    study.restore()  # trials of workers that died
    work(experiment, data, split, study, judge, watch, epochs, every)
    study.close()
    _forget(folder, "*")  # those of trials whose process was killed when they were over
    return chosen(study.records(), split.fold, folder)


def study_of(experiment: Experiment, split: Split, folder: Path) -> TrialStudy:
    """The study of a fold, which lies in `folder`."""
    tuning = experiment.tuning
    assert tuning is not None
    return TrialStudy(
        folder,
        f"{experiment.model} on {experiment.cohort}, fold {split.fold}, experiment {experiment.id}",
        tuning.space,
        start_of(experiment),
        seed_for(experiment.seed, split.fold, "trials"),
        tuning.inner,
        tuning.trials,
    )


def work(
    experiment: Experiment,
    data: CohortData,
    split: Split,
    study: TrialStudy,
    judge: Judge,
    watch: Callable[[int, int | None, float | None], None] = lambda number, of, best: None,
    epochs: Callable[[Experiment, CohortData, Split], int] = lambda *_: 1,
    every: float | None = None,
) -> None:
    """Compute trials until the budget is spent; several processes may do so for one study.

    Errors: `Stopped` when the process is asked to stop; what was found is kept.
    """
    tuning = experiment.tuning
    assert tuning is not None
    blind = without_test_fold(data, split)
    inner = inner_splits(experiment, blind, split)
    while True:
        if STOP.reason is not None:
            raise Stopped(_KEPT)
        records = study.records()
        spent = sum(record.seconds for record in records)
        trial = study.next(more=tuning.seconds is None or not records or spent < tuning.seconds)
        if trial is None:
            return
        best = best_of(records)
        watch(trial.number, tuning.trials, None if best is None else best.value)
        try:
            _compute(trial, inner, blind, study, judge, epochs, every)
        except Stopped as why:
            raise Stopped(_KEPT) from why


def _compute(
    trial: OpenTrial,
    inner: Sequence[tuple[Experiment, Split]],
    data: CohortData,
    study: TrialStudy,
    judge: Judge,
    epochs: Callable[[Experiment, CohortData, Split], int],
    every: float | None,
) -> None:
    """One trial: inner fold by inner fold, those that are known already left out."""
    spent = sum(part["seconds"] for part in trial.parts.values())
    trained = sum(part["epochs"] for part in trial.parts.values())
    begun, seen = Checkpoint(), 0

    def seconds() -> float:
        return spent + begun.seconds

    try:
        found = []
        for number, (experiment, split) in enumerate(inner):
            part = trial.parts.get(number)
            if part is None:
                setting = with_settings(experiment, trial.settings)
                path = study.folder / _CHECKPOINT.format(trial.number, number)
                begun = checkpoint_of(setting, split.fold, path, every)
                pace = _Pace(study, trial.number, epochs(setting, data, split)) if len(inner) == 1 else None
                if pace is not None:
                    begun.holds(pace=pace)

                def watch(epoch: int, line: Mapping[str, float | int | None], pace: "_Pace | None" = pace) -> None:
                    nonlocal seen
                    seen = epoch
                    if pace is not None:
                        pace(epoch, line)

                held = judge(setting, data, split, watch, begun)
                part = {
                    "c_index": held.c_index,
                    "pairs": held.pairs,
                    "epochs": held.epochs,
                    "seconds": round(begun.seconds, 3),
                }
                study.keep(trial.number, number, part)
                spent, trained = spent + part["seconds"], trained + held.epochs
                begun, seen = Checkpoint(), 0
            found.append(part)
            last = number + 1 == len(inner)
            if len(inner) > 1 and study.behind(trial.number, number, part["c_index"]) and not last:
                raise _Behind
    except _Behind:
        study.stop(trial.number, seconds(), trained + seen)
    except CannotWrite:
        raise
    except Exception as error:
        # Diverged training, too little memory, or a setting that a model refuses: one trial less, and the others run.
        known = isinstance(error, Diverged)
        why = reason(error) if known else f"{type(error).__name__}: {reason(error)}"
        study.fail(trial.number, why, seconds(), trained + seen)
    else:
        pairs = sum(part["pairs"] for part in found)
        value = sum(part["c_index"] * part["pairs"] for part in found) / pairs
        study.finish(trial.number, value, seconds(), trained)
    _forget(study.folder, trial.number)


def _forget(folder: Path, trial: int | str) -> None:
    """Remove the checkpoints of the trainings of a trial, one an inner fold; `*`: of all."""
    for left in folder.glob(_CHECKPOINT.format(trial, "*")):
        left.unlink(missing_ok=True)


class _Pace:
    """With a single validation split: reports the best C-index so far at every tenth of the training.

    Its state is in the checkpoint of the training.
    """

    def __init__(self, study: TrialStudy, number: int, epochs: int) -> None:
        self.study, self.number, self.epochs = study, number, epochs
        self.best, self.tenth = 0.0, 0

    def __call__(self, epoch: int, line: Mapping[str, float | int | None]) -> None:
        self.best = max(self.best, float(line["val_c_index"] or 0.0))
        tenth = _TENTHS * epoch // self.epochs
        if tenth > self.tenth:
            self.tenth = tenth
            if self.study.behind(self.number, tenth, self.best) and tenth < _TENTHS:
                raise _Behind

    def state_dict(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"best": self.best, "tenth": self.tenth}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.best, self.tenth = state["best"], state["tenth"]


def chosen(records: Sequence[TrialRecord], fold: int, folder: Path) -> Tuned:
    """The best of the trials, and what the row says of them; they are written into `folder` as a table.

    Errors: `NothingTrained` where none is finished; `CannotWrite`.
    """
    write(folder / TRIALS, table(trial_lines(records)))
    best = best_of(records)
    if best is None:
        first = records[0]
        raise NothingTrained(
            f"none of the {len(records)} trials of fold {fold} could be trained; trial {first.number}, the setting "
            f"without tuning: {first.error or first.state}. {TRIALS} in its folder has the reasons of all; delete "
            f"{JOURNAL} there to try them again"
        )
    return Tuned(
        best.settings,
        {
            "trials": len(records),
            "trials_failed": sum(record.state == "failed" for record in records),
            "tuned_settings": json.dumps(dict(best.settings), sort_keys=True),
            "tuned_trial": best.number,
            "tuned_c_index": best.value,
            "untuned_c_index": records[0].value,
            "tuning_seconds": round(sum(record.seconds for record in records), 2),
        },
    )
