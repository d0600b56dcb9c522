"""The engine `serial`: one cell after another, in this process."""

import time
from collections import deque

from .cell import Cell, Tell
from .worker import Worker


class Serial:
    """Computes in this process."""

    tells = True

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._cells: deque[Cell] = deque()

    def submit(self, cell: Cell) -> None:
        """Take a cell."""
        self._cells.append(cell)

    def turn(self, seconds: float, tell: Tell) -> None:
        """Compute a cell, and tell of it."""
        if self._cells:
            tell(self._worker.compute(self._cells.popleft(), tell))
        else:
            time.sleep(seconds)

    def close(self) -> None:
        """Forget what was handed in."""
        self._cells.clear()
