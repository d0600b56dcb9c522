"""The engine `local`: processes of this machine.

Each computes one cell at a time and may die without harm to the others: another takes its place, and the cell is handed
out again. They share the files that they read through the system's page cache, and GPUs are dealt to them in turn.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ...datasets.memory import PROCESSES
from .cell import Cell, Done, Event, Failed, Lost, Taken, Tell, Unwritable

PATIENCE = 20.0
"""Seconds that a process has to save its work when it is asked to end."""
LAST = (Done, Taken, Failed, Unwritable)
"""What a process says last about a cell."""


class Local:
    """`jobs` processes, with the GPUs of these numbers dealt to them."""

    tells = True

    def __init__(self, jobs: int, gpus: tuple[str, ...] = ()) -> None:
        self._gpus = gpus
        self._cells: deque[Cell] = deque()
        self._busy: list[Cell | None] = [None] * jobs
        self._changed = threading.Condition()
        self._closing = False
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._processes: list[subprocess.Popen | None] = [None] * jobs
        self._threads = [threading.Thread(target=self._serve, args=(n,), daemon=True) for n in range(jobs)]
        for thread in self._threads:
            thread.start()

    def submit(self, cell: Cell) -> None:
        """Take a cell."""
        with self._changed:
            self._cells.append(cell)
            self._changed.notify()

    def turn(self, seconds: float, tell: Tell) -> None:
        """Tell what the processes said."""
        try:
            tell(self._events.get(timeout=seconds))
            while True:
                tell(self._events.get_nowait())
        except queue.Empty:
            return

    def close(self) -> None:
        """End the processes; what they compute is saved as far as it can be."""
        with self._changed:
            self._closing = True
            self._cells.clear()
            self._changed.notify_all()
        end = time.monotonic() + PATIENCE
        while any(thread.is_alive() for thread in self._threads):
            for process, cell in zip(self._processes, self._busy, strict=True):
                # Again and again, since one may just have started; one that is idle ends by itself.
                if process is not None and cell is not None and process.poll() is None:
                    process.terminate() if time.monotonic() < end else process.kill()
            for thread in self._threads:
                thread.join(0.5)

    def _serve(self, number: int) -> None:
        """Hand cells to one process, until the end."""
        connection: Connection | None = None
        last: Cell | None = None
        while (cell := self._next(number, last)) is not None:
            if connection is None:
                connection = self._start(number)
            last = cell
            if not self._computed(connection, cell):
                status = self._end(number, connection)
                connection = None
                if not self._closing:
                    self._events.put(Lost(cell, died_of(status)))
        if connection is not None:
            self._end(number, connection)

    def _next(self, number: int, last: Cell | None) -> Cell | None:
        """The next cell for a process: of the experiment that it has loaded, or else of one that no other has."""
        with self._changed:
            self._busy[number] = None
            while not self._cells and not self._closing:
                self._changed.wait()
            if self._closing:
                return None
            others = {cell.experiment for cell in self._busy if cell is not None}
            mine = None if last is None else last.experiment
            own = (cell for cell in self._cells if cell.experiment == mine)
            free = (cell for cell in self._cells if cell.experiment not in others)
            cell = next(own, None) or next(free, None) or self._cells[0]
            self._cells.remove(cell)
            self._busy[number] = cell
            return cell

    def _computed(self, connection: Connection, cell: Cell) -> bool:
        """Whether the process said how the cell ended."""
        try:
            connection.send(cell)
            while True:
                event = connection.recv()
                self._events.put(event)
                if isinstance(event, LAST):
                    return True
        except (EOFError, OSError, pickle.UnpicklingError):
            return False

    def _start(self, number: int) -> Connection:
        here, there = Pipe()
        env = dict(os.environ)
        if self._gpus:
            env["CUDA_VISIBLE_DEVICES"] = self._gpus[number % len(self._gpus)]
        env[PROCESSES] = str(len(self._processes))
        # More threads than cores must not spin while they wait for one another.
        env.setdefault("OMP_WAIT_POLICY", "passive")
        self._processes[number] = subprocess.Popen(
            [sys.executable, "-P", "-m", "milsurv.benchmark.engines.worker_process", str(there.fileno())],
            env=env,
            pass_fds=(there.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=2,  # standard output is for results
            process_group=0,  # Ctrl-C in a terminal is for this process, which ends the others
        )
        there.close()
        return here

    def _end(self, number: int, connection: Connection) -> int:
        """End a process, and return its status."""
        connection.close()
        process = self._processes[number]
        assert process is not None
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def died_of(status: int) -> str:
    """What the exit status of a process says about its death."""
    if status == -signal.SIGKILL:
        return "it was killed (signal 9), as systems do that run out of memory: fewer --jobs need less"
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    return f"it ended with status {status}"


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not every system knows it
        return os.cpu_count() or 1


def visible_gpus() -> tuple[str, ...]:
    """The names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    import torch

    given = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return tuple(given or map(str, range(torch.cuda.device_count())))
