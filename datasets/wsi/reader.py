"""Slides read by a process of its own: a damaged file can end that process, never this one.

One `Reader` is one process; several work side by side, each fed by a thread. What is read waits in the pipe until it is
taken, so that a reader never runs ahead.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError

SECONDS = 600.0
"""How long a reader may be silent; slow network disks are no error."""


@dataclass(frozen=True)
class Wanted:
    """What is read of every slide: magnifications, side of a tile in pixels, overlap in pixels, least share of tissue,
    whether scales must nest; then how a tile becomes the encoder's input: resized to `resize` pixels by `filter`, of
    which the middle `crop` are sent, `batch` tiles at a time.
    """

    magnifications: tuple[int, ...] = (20, 10, 5)
    patch_px: int = 256
    overlap: int = 0
    least: float = 0.5
    nest: bool = True
    resize: int = 256
    crop: int = 256
    filter: str = "bilinear"
    batch: int = 8


@dataclass(frozen=True)
class Plan:
    """What is known of a slide before its tiles come: level-0 `size`, `mpp` and where it comes from, the labelled
    objective `power`, remarks; by magnification the level-0 `side` of tiles, how many lie in the slide (`full`), how
    many of them have enough `tissue`, and how many are read (`tiles`).
    """

    size: tuple[int, int]
    mpp: float
    mpp_source: str
    power: float | None
    remarks: tuple[str, ...]
    side: dict[int, int]
    full: dict[int, int]
    tissue: dict[int, int]
    tiles: dict[int, int]


@dataclass
class Reader:
    """A process that reads slides. Start it with `running`; it ends with its parent, and after an error a new one
    starts.
    """

    _process: subprocess.Popen | None = None
    _late: bool = False

    def read(
        self, path: Path, wanted: Wanted, told: float | None = None, preview: Path | None = None, tiles: bool = True
    ) -> tuple[Plan, np.ndarray, Iterator[np.ndarray]]:
        """The plan of a slide, its tiles in reading order, int32 (tiles, 4): magnification, row, level-0 x and y, and
        their pixels in batches, uint8 (n, crop, crop, 3). Take all batches, or `close` the reader.

        `preview` is where a picture of the plan goes; without `tiles` no pixels are read. DataError, also while batches
        are taken, says why the slide cannot be read.
        """
        request = {**asdict(wanted), "path": str(path), "told": told, "tiles": tiles}
        self._ask({**request, "preview": None if preview is None else str(preview)})
        said = self._line()
        plan = _plan(said["plan"])
        order = np.empty((said["count"], 4), "<i4")
        self._fill(order)
        return plan, order, self._batches(wanted, len(order))

    def series(self, path: Path) -> str | None:
        """The DICOM series of a file; DataError if it cannot be opened."""
        self._ask({"series": str(path)})
        return self._line()["series"]

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    def _batches(self, wanted: Wanted, left: int) -> Iterator[np.ndarray]:
        while "tiles" in (said := self._line()):
            batch = np.empty((said["tiles"], wanted.crop, wanted.crop, 3), np.uint8)
            self._fill(batch)
            left -= len(batch)
            yield batch
        if left:
            raise DataError("changed while it was read.")

    def _ask(self, request: dict) -> None:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = _start()
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except OSError:
            self._dead()

    def _line(self) -> dict:
        with self._watched():
            line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line.endswith(b"\n"):
            self._dead()
        said = json.loads(line)
        if "bad" in said:
            raise DataError(said["bad"])
        return said

    def _fill(self, array: np.ndarray) -> None:
        if not array.size:
            return
        view = array.data.cast("B")
        with self._watched():
            while len(view) and (got := self._process.stdout.readinto(view)):  # type: ignore[union-attr]
                view = view[got:]
        if len(view):
            self._dead()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """End a process that is silent for too long."""
        timer = threading.Timer(SECONDS, self._end_late)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end_late(self) -> None:
        self._late = True
        if self._process is not None:
            self._process.kill()

    def _dead(self) -> None:
        code = self._process.wait() if self._process else None
        late, self._late = self._late, False
        self.close()
        if late:
            raise DataError(f"is damaged or out of reach: nothing could be read for {SECONDS:g} seconds.")
        raise DataError(f"crashed the process that read it (status {code}): it is damaged, or memory ran out.")


@contextlib.contextmanager
def running() -> Iterator[Reader]:
    """A reader, ended when the block is left."""
    reader = Reader()
    try:
        yield reader
    finally:
        reader.close()


def _start() -> subprocess.Popen:
    # One thread: it only reads. -P: the folder that it is started in holds no modules for it.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "milsurv.datasets.wsi.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
        bufsize=1 << 16,
        process_group=0,  # Ctrl-C in a terminal is for this process, which ends the other one
    )
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import fcntl

        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)  # type: ignore[arg-type]
    return process


def _plan(said: dict) -> Plan:
    def by_scale(key: str) -> dict[int, int]:
        return {int(m): n for m, n in said[key].items()}

    return Plan(
        size=tuple(said["size"]), mpp=said["mpp"], mpp_source=said["mpp_source"], power=said["power"],
        remarks=tuple(said["remarks"]), side=by_scale("side"), full=by_scale("full"), tissue=by_scale("tissue"),
        tiles=by_scale("tiles"),
    )  # fmt: skip
