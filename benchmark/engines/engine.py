"""What an engine is: whatever computes cells, here or elsewhere."""

from typing import Protocol

from .cell import Cell, Tell


class Engine(Protocol):
    """Computes the cells that are handed to it, and says what becomes of them.

    An engine neither retries nor waits for other processes: it says `Lost` or `Taken`, and is handed the cell again.
    tells: whether it says when cells start; else leases say it.
    """

    tells: bool

    def submit(self, cell: Cell) -> None:
        """Take a cell."""
        ...

    def turn(self, seconds: float, tell: Tell) -> None:
        """Tell what happened since the last turn; wait for so long at most where nothing did."""
        ...

    def close(self) -> None:
        """End what still runs, unless it goes on without this process."""
        ...
