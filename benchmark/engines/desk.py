"""Where a cell is computed: in this process, whoever started it."""

import traceback
from collections.abc import Mapping
from contextlib import suppress

from ...errors import CannotWrite, DataError, UsageError
from ...files import UNFINISHED
from ...models.foreign import adopt
from ..cross_validate import Work, compute_fold
from ..planning.load import Loader
from ..planning.request import Request
from ..results.lease import Held, acquire
from .cell import Cell, Done, Epoch, Event, Failed, Started, Taken, Tell, Trial, Unwritable


class Desk:
    """Computes cells one after another. Consecutive cells of one experiment load it once."""

    def __init__(self, loader: Loader | None = None) -> None:
        self._loader = loader or Loader()
        self._last: tuple[Request, Work] | None = None

    def work(self, cell: Cell) -> Work:
        """The experiment of a cell. Errors: those of `load`, and `DataError` where it is not the one meant."""
        if self._last is None or self._last[0] != cell.request:
            adopt([cell.request.model])
            experiment, data = self._loader.load(cell.request)
            self._last = cell.request, Work(experiment, data, cell.request.out, cell.request.command)
        work = self._last[1]
        if work.experiment.id != cell.experiment:
            raise DataError(
                f"this is experiment {work.experiment.id} here and {cell.experiment} where the command was typed: both "
                "need the same version of milsurv, the same files and the same kind of device"
            )
        return work

    def compute(self, cell: Cell, tell: Tell) -> Event:
        """Compute a cell, unless it is finished or another process computes it, and write its files."""
        try:
            return self._compute(cell, tell)
        except CannotWrite as error:
            return Unwritable(cell, str(error))
        except (UsageError, DataError, OSError) as error:
            return Failed(cell, str(error), traceback.format_exc())

    def _compute(self, cell: Cell, tell: Tell) -> Event:
        work = self.work(cell)
        row = work.folder.finished(cell.fold)
        if row is not None:
            return Done(cell, row, computed=False)
        try:
            lease = acquire(work.folder.path, cell.fold, cell.run, cell.void)
        except OSError as error:
            place, reason = work.folder.path, error.strerror or error
            raise CannotWrite(f"cannot write {place}: {reason}. Choose a folder you may write with --out") from error
        if isinstance(lease, Held):
            return Taken(cell, lease)
        with lease:
            row = work.folder.finished(cell.fold)  # by whoever held it until now
            if row is not None:
                return Done(cell, row, computed=False)
            for partial in work.folder.fold(cell.fold).glob(UNFINISHED):  # of a writer that was killed
                with suppress(OSError):
                    partial.unlink()
            tell(Started(cell))
            return Done(cell, compute_fold(work, cell.fold, _Epochs(cell, tell)))


class DeskOf(Desk):
    """Computes the cells of one experiment that is loaded already."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def work(self, cell: Cell) -> Work:
        """The experiment."""
        return self._work


class _Epochs:
    """Passes epochs on."""

    def __init__(self, cell: Cell, tell: Tell) -> None:
        self._cell, self._tell = cell, tell

    def epoch(self, fold: int, epoch: int, line: Mapping[str, float | int | None]) -> None:
        self._tell(Epoch(self._cell, epoch, line))

    def trial(self, fold: int, trial: int, of: int | None, best: float | None) -> None:
        self._tell(Trial(self._cell, trial, of, best))
