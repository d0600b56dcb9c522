"""A process of its own for a library that crashes or hangs on damaged files: it can die, and this process goes on.

The worker reads one JSON request a line and answers with JSON lines, some followed by plain bytes (`program.py`). What
it has read waits in the pipe until it is taken, so that it never runs ahead.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...errors import DataError


class Died(Exception):
    """The worker gave no answer: it ended with `status`, or was ended because it was `late`."""

    def __init__(self, status: int, late: bool) -> None:
        super().__init__(f"status {status}" if not late else "late")
        self.status, self.late = status, late


class Refused(DataError):
    """The worker's reason not to read a file, without the file's name."""


class Damaged(DataError):
    """What a library reported of a file that it cannot read; `kind` is the name of its exception."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def program(module: str) -> tuple[str, ...]:
    """The arguments of `python -P` for a worker that answers with the function `answer` of `module`."""
    return "-m", "milsurv.datasets.worker.program", module


@dataclass
class Worker:
    """What `python -P` runs is `program`; `seconds` is how long it may be silent. It starts with the first request,
    anew after it died, and once more in a fork. One thread at a time asks, any thread may `kill`.
    """

    program: tuple[str, ...]
    seconds: float
    process: subprocess.Popen | None = None  # while it runs
    _owner: int = 0
    _deadline: float | None = None
    _late: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)
    _watch: threading.Thread | None = None

    def ask(self, request: dict) -> None:
        """Send a request. Died if that is not possible; so with all that follow."""
        if self._owner != os.getpid():
            self.process = None
        if self.process is None or self.process.poll() is not None:
            self.close()
            self._start()
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except OSError:
            self._raise_died()

    def line(self) -> dict:
        """The next line of the answer. Refused or Damaged where the worker cannot read the file."""
        with self._patience():
            line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line.endswith(b"\n"):
            self._raise_died()
        answer = json.loads(line)
        if "refused" in answer:
            raise Refused(answer["refused"])
        if "damaged" in answer:
            raise Damaged(answer["damaged"], answer["kind"])
        return answer

    def fill(self, view: memoryview) -> None:
        """The next bytes of the answer, all of them."""
        with self._patience():
            while len(view) and (got := self.process.stdout.readinto(view)):  # type: ignore[union-attr]
                view = view[got:]
        if len(view):
            self._raise_died()

    def kill(self) -> None:
        """End the process; a thread that waits for its answer finds it dead."""
        if (process := self.process) is not None and self._owner == os.getpid():
            process.kill()

    def close(self) -> None:
        """End the process, and free what belongs to it."""
        process, self.process = self.process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._ended.set()
        if self._watch is not None and self._watch is not threading.current_thread():
            self._watch.join()

    def _start(self) -> None:
        # One thread: it only reads. -P: the folder that it is started in holds no modules for it.
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", *self.program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            bufsize=1 << 16,
            process_group=0,  # Ctrl-C in a terminal is for this process, which ends the other one
        )
        self._owner, self._late, self._deadline, self._ended = os.getpid(), False, None, threading.Event()
        with contextlib.suppress(ImportError, OSError, AttributeError):  # a larger pipe: fewer turns between the two
            import fcntl

            fcntl.fcntl(self.process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)  # type: ignore[arg-type]
        self._watch = threading.Thread(target=self._end_late, args=(self.process, self._ended), daemon=True)
        self._watch.start()

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        self._deadline = time.monotonic() + self.seconds
        try:
            yield
        finally:
            self._deadline = None

    def _end_late(self, process: subprocess.Popen, ended: threading.Event) -> None:
        while not ended.wait(min(1.0, self.seconds / 4)):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                self._late = True
                process.kill()
                return

    def _raise_died(self) -> None:
        process, late = self.process, self._late
        if process is not None:
            process.kill()
        status = process.wait() if process is not None else 0
        self.close()
        raise Died(status, late)
