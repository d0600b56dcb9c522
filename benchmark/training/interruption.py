"""A wish to stop: a signal or an engine asks, and training answers after its next step, when its state is saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""Ctrl-C, the end that a scheduler or a closed terminal asks for, and the warnings that schedulers send before it."""


class Stopped(KeyboardInterrupt):
    """What was under way ended because it was asked to; the message says what is kept."""


class Interruption:
    """Whether the process is asked to stop, and whether somebody will answer.

    Attributes
    ----------
    reason
        Why, such as `SIGTERM`; None as long as nobody asked.
    status
        Exit status that goes with it: 128 and the number of the signal.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.status = 1
        self._heard = 0

    def request(self, reason: str, status: int = 1) -> None:
        """Ask to stop. May be called from any thread, and more than once: the first reason stays."""
        if self.reason is None:
            self.reason, self.status = reason, status

    def clear(self) -> None:
        """Nobody asks any more."""
        self.reason, self.status = None, 1

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While the block runs, a first signal only asks, since the block looks itself whether to stop.

        Raises
        ------
        Stopped
            At the end of a block that came to its end although somebody asked.
        """
        self._heard += 1
        try:
            yield
        finally:
            self._heard -= 1
        if self.reason is not None and not self._heard:
            raise Stopped("what was under way is finished and kept")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals while the block runs, as a command or a worker does. Outside of the main thread: do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.clear()
        before = {}
        for name in SIGNALS:
            if number := getattr(signal, name, None):  # not every system has all of them
                before[number] = signal.signal(number, self._take)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: object) -> None:
        again = self.reason is not None
        self.request(signal.Signals(number).name, 128 + number)
        if again or not self._heard:  # a second Ctrl-C ends at once
            raise KeyboardInterrupt


STOP = Interruption()
"""The one of this process: signals are the process's, too."""
