"""HDF5 files that other tools wrote, read through a process of its own.

The HDF5 library crashes, hangs or asks for all memory on some damaged files. So no such file is opened here: one worker
process opens it and sends what is asked for (`h5_worker.py`). If the worker dies or gives no answer in time, that is
an error that names the file, and the next file gets a new worker. Rows come in pieces, straight into their place.
"""

import atexit
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..worker.process import Damaged, Died, Refused, Worker, program

AGAIN = "Extract this slide again."
SECONDS = 120.0
"""How long the worker may take for a header or for one piece of rows (4 MiB); slow network disks are no error."""


@dataclass(frozen=True)
class Dataset:
    """Shape, type (numpy's text, such as "<f4") and attributes of a dataset; (1, n, d) counts as (n, d). `at` is what
    the file calls it, where that is another name.
    """

    shape: tuple[int, ...]
    dtype: str
    attrs: dict[str, object]
    at: str = ""


@dataclass(frozen=True)
class H5Head:
    """Datasets that matter ("features", "feats", "coords") and the attributes of the file."""

    datasets: dict[str, Dataset]
    attrs: dict[str, object]
    others: tuple[str, ...] = ()


_WORKER = Worker(program("milsurv.datasets.features.h5_worker"), SECONDS)
_LOCK = threading.Lock()
"""Held around question and answer."""

atexit.register(_WORKER.close)

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
    with _asked(path, {"op": "look", "path": str(path.absolute())}):
        header = _WORKER.line()
    found = {
        name: Dataset(_flat(tuple(d["shape"])), d["dtype"], {k: _meant(v) for k, v in d["attrs"].items()}, d["at"])
        for name, d in header["datasets"].items()
    }
    return H5Head(found, {k: _meant(v) for k, v in header["attrs"].items()}, tuple(header["others"]))


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
    request = {
        "op": "rows",
        "path": str(path.absolute()),
        "name": dataset.at or name,
        "start": start,
        "stop": n if stop is None else stop,
    }
    room = np.empty((0, width), np.dtype(dataset.dtype).newbyteorder("<"))
    with _asked(path, {**request, "step": step}):
        done = 0
        while count := _WORKER.line()["rows"]:
            if done + count > wanted:
                raise DataError(f"{path} changed while it was read. {AGAIN}")
            if len(room) < count:
                room = np.empty((count, width), room.dtype)
            _WORKER.fill(room[:count].data.cast("B"))
            sink(done, room[:count])
            done += count
    if done != wanted:
        raise DataError(f"{path} changed while it was read. {AGAIN}")


@contextlib.contextmanager
def _asked(path: Path, request: dict) -> Iterator[None]:
    """Ask the worker, and take the whole answer or end the worker: the next question meets no leftovers."""
    with _LOCK:
        try:
            _WORKER.ask(request)
            yield
        except Died as died:
            why = f"crashed on it, status {died.status}"
            if died.late:
                why = f"gave no answer in {_WORKER.seconds:g} seconds"
            raise DataError(f"{path} is damaged or cannot be read: the HDF5 library {why}. {AGAIN}") from None
        except Refused as refused:
            raise DataError(f"{path} {refused}. {AGAIN}") from None
        except Damaged as damaged:
            raise DataError(f"{path} is truncated or damaged ({str(damaged) or damaged.kind}). {AGAIN}") from None
        except BaseException:
            _WORKER.close()
            raise


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
