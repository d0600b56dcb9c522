"""Experiments are computed on an engine: skip what is done, share what others compute, keep what fails.

The process that schedules writes what belongs to whole experiments and is the only one that logs. A cell whose process
died is handed out again, a few times; one that another process computes is awaited.
"""

import time
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ...errors import CannotWrite, Remark, RowError
from ...leaderboards.result_row import ResultRow
from ...leaderboards.rows import read_row
from ..results.folder import ResultFolder
from ..results.lease import Watch, all_held, held
from .cell import Cell, Done, Epoch, Event, Failed, Lost, Remarked, Started, Taken, Trial, Unwritable, Watcher
from .engine import Engine

ATTEMPTS = 3
"""So often a cell is begun whose process dies, before it counts as failed."""
POLL = 2.0
"""Seconds between two looks at what other processes compute."""


class ScheduledExperiment(Protocol):
    """An experiment on its way; `cross_validation.experiment_run.ExperimentRun` is one."""

    @property
    def folder(self) -> ResultFolder:
        """Where its results lie."""
        ...

    @property
    def folds(self) -> list[int]:
        """The folds to compute."""
        ...

    def cell(self, fold: int, run: str) -> Cell:
        """The cell of a fold."""
        ...

    def open(self) -> None:
        """Write what belongs to the whole experiment. Errors: `CannotWrite`."""
        ...

    def begin(self) -> None:
        """The first fold is being computed, or over."""
        ...

    def take(self, row: ResultRow) -> None:
        """Keep the row of a fold; the last ends the experiment. Errors: `CannotWrite`."""
        ...

    def failed(self, fold: int, error: str, details: str) -> ResultRow:
        """The row of a fold that could not be computed, once its files are written. Errors: `CannotWrite`."""
        ...

    def end(self, status: str) -> None:
        """No more rows come; `status` is `KILLED` or `FAILED`. Nothing happens where the experiment has ended."""
        ...


def schedule(experiments: Sequence[ScheduledExperiment], engine: Engine, watcher: Watcher) -> None:
    """Compute every fold that is not finished yet; afterwards every experiment has all rows, failures included.

    Raises
    ------
    CannotWrite
        The output folder does not take the results; what was written before is kept.
    """
    scheduler = _Scheduler(experiments, engine, watcher)
    status = "KILLED"
    try:
        scheduler.begin()
        while scheduler.pending:
            scheduler.turn()
    except CannotWrite:
        status = "FAILED"
        raise
    finally:
        engine.close()
        for experiment in experiments:
            experiment.end(status)


class _Scheduler:
    """Hands cells out, and takes back what becomes of them."""

    def __init__(self, experiments: Sequence[ScheduledExperiment], engine: Engine, watcher: Watcher) -> None:
        self.experiments, self.engine, self.watcher = experiments, engine, watcher
        self.run = uuid.uuid4().hex
        self.pending: dict[tuple[int, int], Cell] = {}  # by experiment and fold
        self.running: set[tuple[int, int]] = set()
        self.waiting: dict[tuple[int, int], _Awaited] = {}
        self.lost: dict[tuple[int, int], int] = {}
        self._polled = time.monotonic()

    def begin(self) -> None:
        """Take what is finished, and hand out the rest."""
        for number, experiment in enumerate(self.experiments):
            experiment.open()
            for fold in experiment.folds:
                row = experiment.folder.finished(fold)
                if row is not None:
                    self._take(experiment, row, computed=False)
                else:
                    self._hand_out((number, fold), experiment.cell(fold, f"{self.run}/{number}"))

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
        experiment = self.experiments[key[0]]
        match event:
            case Started():
                experiment.begin()
                self.running.add(key)
                self._show()
            case Epoch(cell, epoch, line):
                self.watcher.epoch(cell, epoch, line)
            case Trial(cell, trial, of, best):
                self.watcher.trial(cell, trial, of, best)
            case Remarked(_, text):
                warnings.warn(text, Remark, stacklevel=2)
            case Done(_, row, computed):
                self._over(key, row, computed)
            case Taken():
                self.waiting[key] = _Awaited(experiment.folder.fold(key[1]) / "result.json")
                self._show()
            case Lost(cell, reason):
                self._again(key, cell, reason)
            case Failed(cell, error, details):
                self._over(key, experiment.failed(cell.fold, error, details))
            case Unwritable(_, error):
                raise CannotWrite(error)

    def _hand_out(self, key: tuple[int, int], cell: Cell) -> None:
        self.pending[key] = cell
        self.engine.submit(cell)

    def _again(self, key: tuple[int, int], cell: Cell, reason: str) -> None:
        """Hand out a cell whose process died, or give it up."""
        self.running.discard(key)
        self.lost[key] = self.lost.get(key, 0) + 1
        experiment = self.experiments[key[0]]
        row = experiment.folder.finished(cell.fold)
        if row is not None:  # the last thing that the process did
            self._over(key, row)
        elif self.lost[key] < ATTEMPTS:
            lease = held(experiment.folder.path, cell.fold)
            own = lease is not None and lease.holder is not None and lease.holder.run == cell.run
            self._hand_out(key, replace(cell, void=lease.token if lease is not None and own else None))
        else:
            error = f"whoever computed this fold died {ATTEMPTS} times, the last time: {reason}"
            self._over(key, experiment.failed(cell.fold, error, error + "\n"))

    def _look(self) -> None:
        """Look at what other processes compute, and at leases, where the engine does not say what runs."""
        for key, awaited in list(self.waiting.items()):
            experiment, cell = self.experiments[key[0]], self.pending[key]
            folder = experiment.folder
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
            leases = {(n, fold) for n in folders for fold in all_held(self.experiments[n].folder.path)}
            self.running = leases & self.pending.keys() - self.waiting.keys()
            for number, _ in self.running:
                self.experiments[number].begin()
        self._show()

    def _over(self, key: tuple[int, int], row: ResultRow, computed: bool = True) -> None:
        del self.pending[key]
        self.running.discard(key)
        self.waiting.pop(key, None)
        self._take(self.experiments[key[0]], row, computed)
        self._show()

    def _take(self, experiment: ScheduledExperiment, row: ResultRow, computed: bool) -> None:
        self.watcher.fold(row.fold, row, computed)
        experiment.take(row)

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
