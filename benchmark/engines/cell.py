"""A cell, one fold of one experiment, and what an engine says about it. Both travel between processes and machines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...leaderboards.result_row import ResultRow
from ..planning.request import Request
from ..results.lease import Held


@dataclass(frozen=True)
class Cell:
    """One fold of one experiment, as it is handed to whoever computes it.

    request: what to load; experiment: the id that must come of it; fold: its number.
    epochs: at most so many; 1 for a baseline.
    run: a token of the command that hands it out; home: the folder in which that command was typed.
    void: the token of a lease that is known to be void.
    """

    request: Request
    experiment: str
    fold: int
    epochs: int = 1
    run: str = ""
    home: str = ""
    void: str | None = None

    @property
    def title(self) -> str:
        """The cell, as people look for it."""
        seed = f", seed {self.request.seed}" if self.request.seed else ""
        return f"{self.request.model} on {self.request.cohort}{seed}, fold {self.fold}"

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
    """A trial of the cell, which is tuned, begins; see `cross_validate.Watcher`."""

    cell: Cell
    trial: int
    of: int | None
    best: float | None


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


Event = Started | Epoch | Trial | Done | Taken | Lost | Failed | Unwritable
Tell = Callable[[Event], None]
