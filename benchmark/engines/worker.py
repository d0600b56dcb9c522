"""Where a cell is computed: in this process, whoever started it."""

import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ...errors import CannotWrite, DataError, Remark, UsageError
from ...files import UNFINISHED
from ..results.lease import Held, acquire
from .cell import Cell, Done, Epoch, Event, Failed, Loaded, Started, Taken, Task, Tell, Trial, Unwritable


class Worker:
    """Computes cells one after another. Consecutive cells of one experiment load it once.

    memory: what tasks keep from one to the next.
    """

    def __init__(self, memory: dict[str, Any] | None = None) -> None:
        self._memory = {} if memory is None else memory
        self._last: tuple[Task, Loaded] | None = None

    def loaded(self, cell: Cell) -> Loaded:
        """The experiment of a cell. Errors: those of its task, and `DataError` where it is not the one meant."""
        if self._last is None or self._last[0] != cell.task:
            self._last = None  # what is loaded next may need the memory
            self._last = cell.task, cell.task.load(self._memory)
        found = self._last[1]
        here = found.folder.experiment.id
        if here != cell.experiment:
            raise DataError(
                f"this is experiment {here} here and {cell.experiment} where the command was typed: both "
                "need the same version of milsurv, the same files and the same kind of device"
            )
        return found

    def compute(self, cell: Cell, tell: Tell) -> Event:
        """Compute a cell, unless it is finished or another process computes it, and write its files."""
        try:
            return self._compute(cell, tell)
        except CannotWrite as error:
            return Unwritable(cell, str(error))
        except (UsageError, DataError, OSError) as error:
            return Failed(cell, str(error), traceback.format_exc())

    def _compute(self, cell: Cell, tell: Tell) -> Event:
        work = self.loaded(cell)
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
            return Done(cell, work.compute(cell.fold, _Epochs(cell, tell)))


class _Epochs:
    """Passes epochs on."""

    def __init__(self, cell: Cell, tell: Tell) -> None:
        self._cell, self._tell = cell, tell

    def epoch(self, fold: int, epoch: int, line: Mapping[str, float | int | None]) -> None:
        self._tell(Epoch(self._cell, epoch, line))

    def trial(self, fold: int, trial: int, of: int | None, best: float | None) -> None:
        self._tell(Trial(self._cell, trial, of, best))


@contextmanager
def remarks(say: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, what is a `Remark` is said to whoever handed the cell out."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, Remark):
            say(str(message))
        else:
            plain(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", Remark)
        plain, warnings.showwarning = warnings.showwarning, show
        yield
