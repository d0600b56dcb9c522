"""An experiment on its way: its cells, the rows that are there, and who keeps a second record."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ...leaderboards.result_row import ResultRow
from ..baselines.fit import followup
from ..engines.cell import Cell, Task
from ..results.folder import ResultFolder
from ..results.lease import all_held
from .parts import epochs_at_most
from .work import Work


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
        return epochs_at_most(self.work.experiment, self.work.data, self.work.data.folds.splits[0])

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
