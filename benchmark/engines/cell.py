"""A cell, one fold of one experiment, and what an engine says about it. Both travel between processes and machines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ...leaderboards.result_row import ResultRow
from ..results.folder import ResultFolder
from ..results.lease import Held


class Loaded(Protocol):
    """An experiment with its data, ready to be computed in this process."""

    @property
    def folder(self) -> ResultFolder:
        """Where its results lie."""
        ...

    def compute(self, fold: int, watcher: Any) -> ResultRow:
        """Compute a fold, write its files and return its row, that of a failure too. Errors: `CannotWrite`."""
        ...


class Task(Protocol):
    """An experiment that any process can load; it is sent to processes and machines, which `pickle` does."""

    @property
    def title(self) -> str:
        """The experiment, as people look for it."""
        ...

    def load(self, memory: dict[str, Any]) -> Loaded:
        """Read its data; `memory` is kept from one task to the next. Errors: `UsageError`, `DataError`, `OSError`."""
        ...


@dataclass(frozen=True)
class Cell:
    """One fold of one experiment, as it is handed to whoever computes it.

    task: what to load; experiment: the id that must come of it; fold: its number.
    epochs: at most so many; 1 for a baseline.
    run: a token of the command that hands it out; home: the folder in which that command was typed.
    void: the token of a lease that is known to be void.
    """

    task: Task
    experiment: str
    fold: int
    epochs: int = 1
    run: str = ""
    home: str = ""
    void: str | None = None

    @property
    def title(self) -> str:
        """The cell, as people look for it."""
        return f"{self.task.title}, fold {self.fold}"

    @property
    def key(self) -> tuple[str, int]:
        """What it is, whoever hands it out."""
        return self.experiment, self.fold


@dataclass(frozen=True)
class Started:
    """The cell is being computed."""

    cell: Cell


@dataclass(frozen=True)
class Epoch:
    """An epoch of the cell is over; `line` is its line of the curve."""

    cell: Cell
    epoch: int
    line: Mapping[str, float | int | None]


@dataclass(frozen=True)
class Trial:
    """A trial of the cell, which is tuned, begins; see `Watcher`."""

    cell: Cell
    trial: int
    of: int | None
    best: float | None


@dataclass(frozen=True)
class Remarked:
    """Something that a user should read."""

    cell: Cell
    text: str


@dataclass(frozen=True)
class Done:
    """The cell is over and its files are written; `computed` is False where they were there already."""

    cell: Cell
    row: ResultRow
    computed: bool = True


@dataclass(frozen=True)
class Taken:
    """Another process computes the cell."""

    cell: Cell
    held: Held


@dataclass(frozen=True)
class Lost:
    """Whoever computed the cell died, and said nothing; `reason` is what the system knows of it."""

    cell: Cell
    reason: str


@dataclass(frozen=True)
class Failed:
    """The cell cannot be computed there, or whoever computes it failed outside of it; `details` for developers."""

    cell: Cell
    error: str
    details: str = ""


@dataclass(frozen=True)
class Unwritable:
    """The results folder does not take what is written: nothing more can be computed."""

    cell: Cell
    error: str


Event = Started | Epoch | Trial | Remarked | Done | Taken | Lost | Failed | Unwritable
Tell = Callable[[Event], None]


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
