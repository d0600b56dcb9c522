"""HDF5 files that other tools wrote, read through a process of its own.

The HDF5 library crashes, hangs or asks for all memory on some damaged files. So no such file is opened here: one worker
process (`h5_worker.py`) opens it and sends what is asked for. If the worker dies or gives no answer in time, that is an
error that names the file, and the next file gets a new worker. Rows come in pieces, straight into their place.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from ..errors import DataError

AGAIN = "Extract this slide again."
SECONDS = 120.0
"""How long the worker may take for a header or for one piece of rows (4 MiB); slow network disks are no error."""


@dataclass(frozen=True)
class Dataset:
    """Shape, type (numpy's text, such as "<f4") and attributes of a dataset; (1, n, d) counts as (n, d)."""

    shape: tuple[int, ...]
    dtype: str
    attrs: dict[str, object]


@dataclass(frozen=True)
class H5Head:
    """Datasets that matter ("features", "feats", "coords") and the attributes of the file."""

    datasets: dict[str, Dataset]
    attrs: dict[str, object]
    others: tuple[str, ...] = ()


@dataclass
class _Worker:
    """The process, its owner, and one lock around question and answer."""

    process: subprocess.Popen | None = None
    owner: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    deadline: float | None = None
    late: bool = False


_WORKER = _Worker()
_HEADS: dict[Path, tuple[tuple, H5Head]] = {}


def look(path: Path) -> H5Head:
    """The header of a file, asked for once until the file changes.

    DataError if it is missing, damaged, or points to other files.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
    state = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if path not in _HEADS or _HEADS[path][0] != state:
        _HEADS[path] = (state, _look(path))
    return _HEADS[path][1]


def _look(path: Path) -> H5Head:
    with _asked(path, {"op": "look", "path": str(path)}) as answers:
        said = answers.next()
        answers.over = True
    found = {
        name: Dataset(_flat(tuple(d["shape"])), d["dtype"], {k: _meant(v) for k, v in d["attrs"].items()})
        for name, d in said["datasets"].items()
    }
    return H5Head(found, {k: _meant(v) for k, v in said["attrs"].items()}, tuple(said["others"]))


def rows(
    path: Path,
    name: str,
    dataset: Dataset,
    sink: Callable[[int, np.ndarray], None],
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
) -> None:
    """Hand `sink` (first row, piece) of rows start:stop:step of a matrix (n, d), pieces of the file's type.

    A piece is valid during the call only. DataError if the file is damaged, ends early, or changed meanwhile.
    """
    n, width = dataset.shape[0], int(np.prod(dataset.shape[1:]))
    wanted = len(range(n)[start:stop:step])
    request = {"op": "rows", "path": str(path), "name": name, "start": start, "stop": n if stop is None else stop}
    room = np.empty((0, width), np.dtype(dataset.dtype).newbyteorder("<"))
    with _asked(path, {**request, "step": step}) as answers:
        done = 0
        while count := answers.next()["rows"]:
            if done + count > wanted:
                raise DataError(f"{path} changed while it was read. {AGAIN}")
            if len(room) < count:
                room = np.empty((count, width), room.dtype)
            answers.fill(room[:count].data.cast("B"))
            sink(done, room[:count])
            done += count
        answers.over = True
    if done != wanted:
        raise DataError(f"{path} changed while it was read. {AGAIN}")


class _Answers:
    """The lines of one answer; `fill` takes the bytes that follow a line."""

    def __init__(self, path: Path, process: subprocess.Popen) -> None:
        self.path, self.process = path, process
        self.over = False  # whether the worker has said all that it will say

    def next(self) -> dict:
        """The next line. DataError if the worker refuses the file, calls it damaged, dies or is late."""
        with self._watched():
            line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line.endswith(b"\n"):
            self.dead()
        answer = json.loads(line)
        self.over = "refused" in answer or "damaged" in answer
        if "refused" in answer:
            raise DataError(f"{self.path} {answer['refused']}. {AGAIN}")
        if "damaged" in answer:
            raise DataError(f"{self.path} is truncated or damaged ({answer['damaged']}). {AGAIN}")
        return answer

    def fill(self, view: memoryview) -> None:
        """The next bytes, all of them."""
        with self._watched():
            while len(view):
                got = self.process.stdout.readinto(view)  # type: ignore[union-attr]
                if not got:
                    break
                view = view[got:]
        if len(view):
            self.dead()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        _WORKER.deadline = time.monotonic() + SECONDS
        try:
            yield
        finally:
            _WORKER.deadline = None

    def dead(self) -> NoReturn:
        """End the worker and say why there is no answer."""
        self.process.kill()
        code = self.process.wait()
        if _WORKER.late:
            why = f"the HDF5 library gave no answer in {SECONDS:g} seconds"
        else:
            why = f"the HDF5 library crashed on it, status {code}"
        raise DataError(f"{self.path} is damaged or cannot be read: {why}. {AGAIN}")


@contextlib.contextmanager
def _asked(path: Path, request: dict) -> Iterator[_Answers]:
    """Ask the worker, and take the whole answer or end the worker: the next question meets no leftovers."""
    with _WORKER.lock:
        process = _running()
        answers = _Answers(path, process)
        try:
            try:
                process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
            except OSError:
                answers.dead()
            yield answers
        finally:
            if not answers.over:
                _end()


def _running() -> subprocess.Popen:
    """The worker of this process; a forked child starts its own."""
    if _WORKER.process is None or _WORKER.owner != os.getpid() or _WORKER.process.poll() is not None:
        script = Path(__file__).with_name("h5_worker.py")
        # One thread: it only reads. -P: the script's own folder holds no modules for it.
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        _WORKER.process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            bufsize=1 << 16,
        )
        _WORKER.owner, _WORKER.late, _WORKER.deadline = os.getpid(), False, None
        threading.Thread(target=_watch, args=(_WORKER.process,), daemon=True).start()
        _widen(_WORKER.process)
    return _WORKER.process


def _watch(process: subprocess.Popen) -> None:
    """End a worker that is late; runs beside it in a thread."""
    while process.poll() is None:
        time.sleep(min(1.0, SECONDS / 4))
        deadline = _WORKER.deadline
        if deadline is not None and time.monotonic() > deadline and _WORKER.process is process:
            _WORKER.late = True
            process.kill()
            return


def _widen(process: subprocess.Popen) -> None:
    """A larger pipe where the system allows: fewer turns between the two processes."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import fcntl

        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)  # type: ignore[arg-type]


def _end() -> None:
    process, _WORKER.process = _WORKER.process, None
    if process is None or _WORKER.owner != os.getpid():
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()  # type: ignore[union-attr]


atexit.register(_end)


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape


def _meant(value: object) -> object:
    """Attributes as they were meant: 'None' is None, JSON text is its value."""
    if value == "None":
        return None
    if isinstance(value, str) and value[:1] in "{[":
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return value
