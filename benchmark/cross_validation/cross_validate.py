"""Cross-validate an experiment that is loaded, in this process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...leaderboards.result_row import ResultRow
from ..cohort_data import CohortData
from ..engines.cell import Cell
from ..engines.schedule import schedule
from ..engines.serial import Serial
from ..engines.worker import Worker
from ..experiment import Experiment
from ..results.keeping import Keeping
from .experiment_run import ExperimentRun, Recorder
from .fitting import Beside, FitFold
from .work import Work


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
