"""Slides read by a process of its own: a damaged file can end that process, never this one.

One `SlideReader` is one process; several work side by side, each fed by a thread. What is read waits in the pipe until
it is taken, so that a reader never runs ahead.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..worker.process import Damaged, Died, Worker, program

SECONDS = 600.0
"""How long a reader may be silent; slow network disks are no error."""


@dataclass(frozen=True)
class ReadOptions:
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
class SlidePlan:
    """What is known of a slide before its tiles come: level-0 `size`, `mpp`, where it comes from and whether the user
    decided it, the labelled objective `power`, remarks; by magnification the level-0 `side` of tiles, how many lie in
    the slide (`full`), how many of them have enough `tissue`, and how many are read (`tiles`).
    """

    size: tuple[int, int]
    mpp: float
    mpp_source: str
    mpp_by_user: bool
    power: float | None
    remarks: tuple[str, ...]
    side: dict[int, int]
    full: dict[int, int]
    tissue: dict[int, int]
    tiles: dict[int, int]


@dataclass
class SlideReader:
    """A process that reads slides. Start it with `running`; it ends with its parent, and after an error a new one
    starts.
    """

    worker: Worker = field(default_factory=lambda: Worker(program("milsurv.datasets.slides.worker"), SECONDS))

    def read(
        self,
        path: Path,
        options: ReadOptions,
        user_mpp: float | None = None,
        for_this_slide: bool = True,
        preview: Path | None = None,
        tiles: bool = True,
    ) -> tuple[SlidePlan, np.ndarray, Iterator[np.ndarray]]:
        """The plan of a slide, its tiles in reading order, int32 (tiles, 4): magnification, row, level-0 x and y, and
        their pixels in batches, uint8 (n, crop, crop, 3). Take all batches, or `close` the reader's worker.

        `user_mpp` and `for_this_slide`: see `mpp.resolution`. `preview` is where a picture of the plan goes; without
        `tiles` no pixels are read. DataError, also while batches are taken,
        says why the slide cannot be read.
        """
        request = {
            **asdict(options),
            "path": str(path.absolute()),
            "user_mpp": user_mpp,
            "for_this_slide": for_this_slide,
            "tiles": tiles,
        }
        with _alive():
            self.worker.ask({**request, "preview": None if preview is None else str(preview)})
            answer = self.worker.line()
            plan = _plan(answer["plan"])
            order = np.empty((answer["count"], 4), "<i4")
            self.worker.fill(_bytes(order))
        return plan, order, self._batches(options, len(order))

    def series(self, path: Path) -> str | None:
        """The DICOM series of a file; DataError if it cannot be opened."""
        with _alive():
            self.worker.ask({"series": str(path.absolute())})
            return self.worker.line()["series"]

    def _batches(self, options: ReadOptions, left: int) -> Iterator[np.ndarray]:
        with _alive():
            while "tiles" in (answer := self.worker.line()):
                batch = np.empty((answer["tiles"], options.crop, options.crop, 3), np.uint8)
                self.worker.fill(_bytes(batch))
                left -= len(batch)
                yield batch
        if left:
            raise DataError("changed while it was read.")


@contextlib.contextmanager
def running() -> Iterator[SlideReader]:
    """A reader, ended when the block is left."""
    reader = SlideReader()
    try:
        yield reader
    finally:
        reader.worker.close()


@contextlib.contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except Damaged as damaged:
        raise DataError(f"cannot be read ({damaged.kind}: {str(damaged) or 'no reason given'}).") from None
    except Died as died:
        if died.late:
            raise DataError(f"is damaged or out of reach: nothing could be read for {SECONDS:g} seconds.") from None
        why = "it is damaged, or memory ran out"
        raise DataError(f"crashed the process that read it (status {died.status}): {why}.") from None


def _bytes(array: np.ndarray) -> memoryview:
    return array.data.cast("B") if array.size else memoryview(b"")


def _plan(content: dict) -> SlidePlan:
    def by_scale(key: str) -> dict[int, int]:
        return {int(m): n for m, n in content[key].items()}

    return SlidePlan(
        size=tuple(content["size"]), mpp=content["mpp"], mpp_source=content["mpp_source"],
        mpp_by_user=content["mpp_by_user"], power=content["power"],
        remarks=tuple(content["remarks"]), side=by_scale("side"), full=by_scale("full"), tissue=by_scale("tissue"),
        tiles=by_scale("tiles"),
    )  # fmt: skip
