"""The program of a process of the engine `local`: it computes the cells that come through a pipe, until that closes."""

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from ..training.interruption import STOP
from .cell import Failed, Remarked
from .local import PATIENCE


def main(handle: int) -> None:
    """Compute cells; the pipe is open under this number."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # set before torch starts, as the command line does
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    connection = Connection(handle)
    from .worker import Worker, remarks

    worker = Worker()
    with STOP.listening():
        try:
            while True:
                cell = connection.recv()
                with remarks(lambda text, cell=cell: connection.send(Remarked(cell, text))):
                    try:
                        event = worker.compute(cell, connection.send)
                    except Exception as error:  # a fault of ours: the other end names it, and the other cells go on
                        event = Failed(cell, f"{type(error).__name__}: {error}", traceback.format_exc())
                connection.send(event)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


HUNG = 300.0
"""Seconds in which no line of Python runs, after which a process ends: a library waits for what never comes."""


def _end_with(parent: int) -> None:
    """End when the process that started this one is gone, as if it had asked for it; and when this one hangs."""
    nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # for as long as the process lives
    while os.getppid() == parent:
        faulthandler.dump_traceback_later(HUNG, exit=True, file=nowhere)
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)


if __name__ == "__main__":
    status = 0
    try:
        main(int(sys.argv[1]))
    except KeyboardInterrupt:
        status = 1
    sys.stderr.flush()
    os._exit(status)  # at once: nothing is left to do
