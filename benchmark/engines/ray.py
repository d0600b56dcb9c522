"""The engine `ray`: the machines of a Ray cluster, which see the same files. The only importer of ray."""

import logging
import os
import traceback
from collections import deque
from typing import Any

from ...datasets.memory import PROCESSES
from ...errors import UsageError
from .cell import Cell, Event, Failed, Lost, Remarked, Tell
from .local import cores
from .worker import Worker, remarks

_worker = Worker()  # of a Ray worker, which computes many cells, one after another


class Ray:
    """Hands cells to a Ray cluster, at `address`, or to one that it starts on this machine.

    jobs: cells at once; None for as many as find place. cpus, gpus: what each takes, gpus as parts of one.
    """

    tells = False

    def __init__(self, jobs: int | None, address: str | None, cpus: float, gpus: float) -> None:
        try:
            import ray
        except ImportError as error:
            raise UsageError("--engine ray needs Ray: pip install 'milsurv[ray]'") from error
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray: Any = ray
        self._own = not ray.is_initialized()
        if self._own:
            try:
                ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                brief = str(error).strip().splitlines() or [type(error).__name__]
                raise UsageError(
                    f"--address {address or 'local'}: there is no Ray cluster to work on ({brief[0]}). Start one with "
                    "`ray start --head`, or leave --address out"
                ) from error
        # The scheduler hands lost cells out again, since it knows the leases that died with them.
        self._compute = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_compute)
        self._jobs, self._cpus = jobs, cpus
        self._cells: deque[Cell] = deque()
        self._running: dict[Any, Cell] = {}

    def submit(self, cell: Cell) -> None:
        """Take a cell."""
        self._cells.append(cell)

    def turn(self, seconds: float, tell: Tell) -> None:
        """Hand out what finds place, and tell what became of the others."""
        while self._cells and (self._jobs is None or len(self._running) < self._jobs):
            cell = self._cells.popleft()
            self._running[self._compute.remote(cell, self._cpus)] = cell
        first, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if first:
            ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
            for one in ready:
                for event in self._outcome(one, self._running.pop(one)):
                    tell(event)

    def close(self) -> None:
        """End the cells that run; what they have saved stays."""
        for one in self._running:
            self._ray.cancel(one)
        if self._running:
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=20)
        self._running.clear()
        if self._own:
            self._ray.shutdown()

    def _outcome(self, one: Any, cell: Cell) -> list[Event]:
        errors = self._ray.exceptions
        try:
            return self._ray.get(one)
        except errors.RayTaskError as error:
            return [Failed(cell, str(error.cause or error), str(error))]
        except errors.RayError as error:
            brief = str(error).strip().splitlines() or [type(error).__name__]
            return [Lost(cell, brief[0])]


def _compute(cell: Cell, cpus: float) -> list[Event]:
    """Compute a cell on a Ray worker, one of as many as find place on its machine; what it remarked comes first."""
    from ..training.interruption import STOP

    os.environ.setdefault(PROCESSES, str(max(1, int(cores() // max(cpus, 1)))))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.chdir(cell.home)  # where relative paths begin
    said: list[Event] = []
    with remarks(lambda text: said.append(Remarked(cell, text))):
        try:
            with STOP.listening():
                last = _worker.compute(cell, lambda event: None)
        except Exception as error:  # a fault of ours: the other end names it, and the other cells go on
            last = Failed(cell, f"{type(error).__name__}: {error}", traceback.format_exc())
    return [*said, last]
