"""Several processes at the trials of one fold: each takes the next trial from the study until the budget is spent."""

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import Any

from ...datasets.memory import divided


@contextmanager
def workers(count: int, work: Callable[..., None], *given: Any) -> Iterator[None]:
    """Run `work(*given)` in `count` further processes while the block runs, and wait for them at its end.

    They are started afresh, and not forked: torch's threads do not survive a fork. Where the block raises, or this
    process dies, they end at once; what they were at is left half-way in the study. One that dies by itself is warned
    of.
    """
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_watched, args=(work, *given)) for _ in range(count)]
    with divided(count + 1):
        for process in processes:
            process.start()
    try:
        yield
        for process in processes:
            process.join()
        if early := sum(process.exitcode != 0 for process in processes):
            warnings.warn(f"{early} of {count} processes that shared the trials of a fold died", stacklevel=3)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _watched(work: Callable[..., None], *given: Any) -> None:
    """Work, and end with the process that asked for it: one that lived on would go on with trials of the next run."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
    with suppress(KeyboardInterrupt):  # Ctrl-C reaches all processes of a terminal, and one of them says so
        work(*given)
