"""Experiments are cross-validated, on any engine: skip what is done, share what others compute, keep what fails.

The process that conducts writes what belongs to whole experiments and is the only one that logs. A cell whose process
died is handed out again, a few times; one that another process computes is awaited.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ...errors import CannotWrite, RowError
from ...leaderboards.result_row import ResultRow
from ...leaderboards.rows import read_row
from ..baselines.fit import followup
from ..cohort_data import CohortData
from ..cross_validate import FitFold, Work, validation_split
from ..experiment import Experiment
from ..planning.request import Request
from ..recipe import epochs_of
from ..results.lease import Watch, all_held, held
from .cell import Cell, Done, Epoch, Event, Failed, Lost, Started, Taken, Trial, Unwritable
from .desk import DeskOf
from .engine import Engine
from .serial import Serial

ATTEMPTS = 3
"""So often a cell is begun whose process dies, before it counts as failed."""
POLL = 2.0
"""Seconds between two looks at what other processes compute."""


class Watcher(Protocol):
    """Whoever wants to see progress; `console.CellProgress` is one. `done` folds are over."""

    done: int

    def epoch(self, cell: Cell, epoch: int, line: Mapping[str, float | int | None]) -> None:
        """An epoch of a cell is over."""
        ...

    def trial(self, cell: Cell, trial: int, of: int | None, best: float | None) -> None:
        """A trial of a cell that is tuned begins; `of`: how many there will be, `best`: the best C-index so far."""
        ...

    def fold(self, fold: int, row: ResultRow, computed: bool) -> None:
        """A fold is over; `computed` is False when its result was already there."""
        ...

    def state(self, running: int, elsewhere: int) -> None:
        """So many folds are being computed now, so many of them by other commands."""
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


@dataclass
class Course:
    """An experiment on its way: its cells and the rows that are there.

    only: fold numbers to compute; all when empty.
    """

    request: Request
    work: Work
    recorder: Recorder | None = None
    only: Sequence[int] = ()
    by_fold: dict[int, ResultRow] = field(default_factory=dict)
    begun: bool = False
    ended: bool = False

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
        return Cell(self.request, self.work.experiment.id, fold, self.epochs, run, str(Path.cwd()))

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

    def end(self, status: str) -> None:
        """Close the record, once."""
        if self.begun and not self.ended:
            self.ended = True
            if self.recorder is not None:
                self.recorder.end(status, self.rows, self.work.folder.path)

    def _summarise(self) -> None:
        experiment, data, folder = self.work.experiment, self.work.data, self.work.folder
        learned = {split.fold: validation_split(experiment, data, split)[0] for split in data.folds.splits}
        folder.summarise({fold: followup(data.scored(train)) for fold, train in learned.items()})
        for fold, lease in all_held(folder.path).items():  # of processes that died after their last word
            if fold in self.by_fold and (lease.holder is None or lease.holder.dead):
                with suppress(OSError):
                    lease.path.unlink()


def conduct(courses: Sequence[Course], engine: Engine, watcher: Watcher) -> None:
    """Compute every fold that is not finished yet; afterwards `rows` of every course are complete, failures included.

    Raises
    ------
    CannotWrite
        The output folder does not take the results; what was written before is kept.
    """
    conductor = _Conductor(courses, engine, watcher)
    status = "KILLED"
    try:
        conductor.begin()
        while conductor.pending:
            conductor.turn()
    except CannotWrite:
        status = "FAILED"
        raise
    finally:
        engine.close()
        for course in courses:
            course.end(status)


class _Conductor:
    """Hands cells out, and takes back what becomes of them."""

    def __init__(self, courses: Sequence[Course], engine: Engine, watcher: Watcher) -> None:
        self.courses, self.engine, self.watcher = courses, engine, watcher
        self.run = uuid.uuid4().hex
        self.pending: dict[tuple[int, int], Cell] = {}  # by course and fold
        self.running: set[tuple[int, int]] = set()
        self.waiting: dict[tuple[int, int], _Awaited] = {}
        self.lost: dict[tuple[int, int], int] = {}
        self._polled = time.monotonic()

    def begin(self) -> None:
        """Take what is finished, and hand out the rest."""
        for number, course in enumerate(self.courses):
            work = course.work
            work.folder.begin()
            work.folder.write_remarks([asdict(finding) for finding in work.data.findings], work.data.left_out)
            for fold in course.folds:
                row = work.folder.finished(fold)
                if row is not None:
                    self._take(course, row, computed=False)
                else:
                    self._hand_out((number, fold), course.cell(fold, f"{self.run}/{number}"))

    def turn(self) -> None:
        """Let the engine work, and hear what it says."""
        self.engine.turn(POLL / 4 if self.waiting else POLL, self.hear)
        if time.monotonic() - self._polled > POLL / 2:
            self._look()
            self._polled = time.monotonic()

    def hear(self, event: Event) -> None:
        """React to what became of a cell."""
        key = int(event.cell.run.rpartition("/")[2]), event.cell.fold
        if key not in self.pending:
            return
        course = self.courses[key[0]]
        match event:
            case Started():
                course.begin()
                self.running.add(key)
                self._show()
            case Epoch(cell, epoch, line):
                self.watcher.epoch(cell, epoch, line)
            case Trial(cell, trial, of, best):
                self.watcher.trial(cell, trial, of, best)
            case Done(_, row, computed):
                self._over(key, row, computed)
            case Taken():
                self.waiting[key] = _Awaited(course.work.folder.fold(key[1]) / "result.json")
                self._show()
            case Lost(cell, reason):
                self._again(key, cell, reason)
            case Failed(cell, error, details):
                self._over(key, course.work.failed(cell.fold, error, details))
            case Unwritable(_, error):
                raise CannotWrite(error)

    def _hand_out(self, key: tuple[int, int], cell: Cell) -> None:
        self.pending[key] = cell
        self.engine.submit(cell)

    def _again(self, key: tuple[int, int], cell: Cell, reason: str) -> None:
        """Hand out a cell whose process died, or give it up."""
        self.running.discard(key)
        self.lost[key] = self.lost.get(key, 0) + 1
        course = self.courses[key[0]]
        row = course.work.folder.finished(cell.fold)
        if row is not None:  # the last thing that the process did
            self._over(key, row)
        elif self.lost[key] < ATTEMPTS:
            lease = held(course.work.folder.path, cell.fold)
            own = lease is not None and lease.holder is not None and lease.holder.run == cell.run
            self._hand_out(key, replace(cell, void=lease.token if lease is not None and own else None))
        else:
            error = f"whoever computed this fold died {ATTEMPTS} times, the last time: {reason}"
            self._over(key, course.work.failed(cell.fold, error, error + "\n"))

    def _look(self) -> None:
        """Look at what other processes compute, and at leases, where the engine does not say what runs."""
        for key, awaited in list(self.waiting.items()):
            course, cell = self.courses[key[0]], self.pending[key]
            folder = course.work.folder
            row = folder.finished(cell.fold) or awaited.failure()
            if row is not None:
                self._over(key, row, computed=False)
                continue
            lease = held(folder.path, cell.fold)
            if lease is None or awaited.watch.void(lease):
                del self.waiting[key]
                self._hand_out(key, replace(cell, void=lease.token if lease else None))
        if not self.engine.tells:
            folders = {key[0] for key in self.pending}
            leases = {(n, fold) for n in folders for fold in all_held(self.courses[n].work.folder.path)}
            self.running = leases & self.pending.keys() - self.waiting.keys()
            for number, _ in self.running:
                self.courses[number].begin()
        self._show()

    def _over(self, key: tuple[int, int], row: ResultRow, computed: bool = True) -> None:
        del self.pending[key]
        self.running.discard(key)
        self.waiting.pop(key, None)
        self._take(self.courses[key[0]], row, computed)
        self._show()

    def _take(self, course: Course, row: ResultRow, computed: bool) -> None:
        self.watcher.fold(row.fold, row, computed)
        course.take(row)

    def _show(self) -> None:
        self.watcher.state(len(self.running) + len(self.waiting), len(self.waiting))


class _Awaited:
    """A fold that another process computes: a failure that it writes now is the fold's result."""

    def __init__(self, result: Path) -> None:
        self.watch = Watch()
        self._result = result
        self._before = self._stamp()

    def failure(self) -> ResultRow | None:
        """The row that was written meanwhile."""
        if self._stamp() == self._before:
            return None
        try:
            return read_row(self._result)
        except RowError:
            return None

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._result.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns


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

    Raises
    ------
    CannotWrite
        The output folder does not take the results; what was written before is kept.
    """
    work = Work(experiment, data, out, command, fit_fold, facts or {})
    course = Course(Request(experiment.model, experiment.cohort, seed=experiment.seed), work, recorder, only)
    course.begin()
    conduct([course], Serial(DeskOf(work)), _OneExperiment(watcher))
    return course.rows
