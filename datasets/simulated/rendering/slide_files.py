"""The files of rendered slides, drawn by several processes.

Every slide is drawn from the seed and its own name, so that slides come out the same in any order and from any number
of processes.
"""

import os
import signal
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ....errors import DataError
from . import pen, pyramid
from .plan import PlannedSlide
from .slide import MPP, blank, draw
from .stain import stain_of

CELL = 1024  # pixels: a tile of 256 at 5x
FILLED = 0.49  # of a slide is tissue, on average
NOTE = "milsurv rendered slide (drawn, not observed)"


def draw_slides(
    folder: Path,
    slides: tuple[PlannedSlide, ...],
    shape: tuple[int, int],
    seed: int,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write NAME.tif of every slide that is not there yet. DataError where a process is ended from outside."""
    folder.mkdir(exist_ok=True)
    left = [slide for slide in slides if not _path(folder, slide).is_file()]
    done = len(slides) - len(left)

    def count() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, len(slides))

    workers = min(workers or os.cpu_count() or 1, len(left))
    if workers <= 1:
        for slide in left:
            _write(folder, slide, shape, seed)
            count()
        return
    # Ctrl-C is for this process, which ends the others.
    with ProcessPoolExecutor(workers, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        try:
            for written in as_completed([pool.submit(_write, folder, slide, shape, seed) for slide in left]):
                written.result()
                count()
        except BrokenProcessPool as error:
            raise DataError(
                f"{folder}: a drawing process was ended, out of memory perhaps: use fewer workers."
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)  # an interrupted command does not wait for what has not begun
            raise


def shape_of(area: float) -> tuple[int, int]:
    """Level-0 pixels, height and width, of a slide with `area` square millimetres of tissue.

    Whole multiples of CELL: tiles of 256 pixels at 5x, 10x and 20x then cover the slide to its edges.
    """
    cells = area / FILLED / (CELL * MPP / 1000) ** 2
    rows = max(1, round(np.sqrt(cells * 6 / 7)))
    return rows * CELL, max(1, round(cells / rows)) * CELL


def draw_slide(slide: PlannedSlide, shape: tuple[int, int], seed: int) -> np.ndarray:
    """The image of one slide, uint8 (h, w, 3)."""
    site = np.random.default_rng([seed, zlib.crc32(slide.site.encode()), 3])
    rng = np.random.default_rng([seed, zlib.crc32(slide.name.encode()), 4])
    stain = stain_of(site, rng)
    if slide.content is None:
        return blank(rng, stain, shape)
    image = draw(rng, slide.content, stain, shape)
    return pen.mark(rng, image) if slide.pen else image


def _path(folder: Path, slide: PlannedSlide) -> Path:
    return folder / f"{slide.name}.tif"


def _write(folder: Path, slide: PlannedSlide, shape: tuple[int, int], seed: int) -> None:
    pyramid.write(_path(folder, slide), draw_slide(slide, shape, seed), MPP, NOTE)
