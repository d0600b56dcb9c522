"""The program of a process that reads slides: libopenslide and its decoders can crash or hang on damaged files.

Reads one JSON request a line and answers with JSON lines, some followed by plain bytes:

    {"plan": …}          what is known of the slide; then int32 (tiles, 4): magnification, row, x, y in reading order
    {"tiles": n}         then n tiles, uint8 (n, side, side, 3)
    {"end": true}
    {"bad": "…"}         why the slide cannot be read; nothing more follows
    {"series": "…"}      the DICOM series of a file, the answer to {"series": path}

It blocks while nobody takes what it has read, so that memory stays bounded. `reader.py` is the other end.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from ...errors import DataError, writing
from ...files import whole
from .grid import Grid, Tiles, choose_tiles, plan_grid
from .preview import preview
from .reading import read_tiles, reading_order
from .slide import Slide, opened, series
from .tissue import find_tissue

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Request:
    """What to read of a slide: see `reader.Wanted`; the picture goes to `preview` where that is a path."""

    path: str
    told: float | None
    of_this: bool
    magnifications: tuple[int, ...]
    patch_px: int
    overlap: int
    least: float
    nest: bool
    resize: int
    crop: int
    filter: str
    batch: int
    preview: str | None
    tiles: bool


def answer(request: Request, out: BinaryIO) -> None:
    """Read one slide and send it. DataError if it cannot be read."""
    with opened(Path(request.path), request.told, request.of_this) as slide:
        tissue = find_tissue(slide)
        grid, stretched = plan_grid(
            slide.size, slide.resolution.mpp, request.magnifications, request.patch_px, request.overlap
        )
        tiles = choose_tiles(grid, tissue.share, request.least, request.nest)
        if request.preview:
            _save(preview(tissue, grid, tiles), Path(request.preview))
        order = [pair for block in reading_order(grid, tiles) for pair in block]
        say(out, {"plan": plan(slide, grid, tiles, stretched), "count": len(order) if request.tiles else 0})
        if request.tiles:
            corners = {m: grid.corners(m, at) for m, at in tiles.at.items()}
            table = np.array([(m, row, *corners[m][row]) for m, row in order], "<i4").reshape(-1, 4)
            if order:
                send(out, table.data.cast("B"))
            for batch in batches(slide, grid, tiles, request):
                say(out, {"tiles": len(batch)})
                send(out, batch.data.cast("B"))
    say(out, {"end": True})


def plan(slide: Slide, grid: Grid, tiles: Tiles, stretched: tuple[str, ...]) -> dict:
    """What is known of a slide before its tiles are read, as a JSON value."""
    remarks = [*slide.resolution.remarks, *stretched]
    finest = grid.magnifications[0]
    if lost := tiles.tissue[finest] - len(tiles.at[finest]):
        remarks.append(
            f"{lost} of {tiles.tissue[finest]} tiles at {finest}x lie in no full coarser tile: the slide ends there"
        )
    return {
        "size": slide.size,
        "mpp": slide.resolution.mpp,
        "mpp_source": slide.resolution.source,
        "mpp_by_user": slide.resolution.by_user,
        "power": slide.resolution.power,
        "remarks": remarks,
        "side": {m: grid.side_of(m) for m in grid.magnifications},
        "full": tiles.full,
        "tissue": tiles.tissue,
        "tiles": {m: len(at) for m, at in tiles.at.items()},
    }


def batches(slide: Slide, grid: Grid, tiles: Tiles, request: Request) -> Iterator[np.ndarray]:
    """Tiles as the encoder wants them, (n, crop, crop, 3) in reading order; which ones share a batch depends on nothing
    but the slide and the request.
    """
    room = np.empty((request.batch, request.crop, request.crop, 3), np.uint8)
    filled = 0
    for tile in read_tiles(slide, grid, tiles):
        room[filled] = fitted(tile.pixels, request)
        filled += 1
        if filled == len(room):
            yield room
            filled = 0
    if filled:
        yield room[:filled]


def fitted(pixels: Image.Image, request: Request) -> np.ndarray:
    """A tile resized and cut from its centre, as the encoder's authors did."""
    if request.resize != pixels.width:
        pixels = pixels.resize((request.resize, request.resize), FILTERS[request.filter])
    edge = (request.resize - request.crop) // 2
    return np.asarray(pixels)[edge : edge + request.crop, edge : edge + request.crop]


def _save(picture: Image.Image, path: Path) -> None:
    """A PNG, whole or not at all."""
    with writing(f"its preview {path}"), whole(path) as partial:
        picture.save(partial, format="PNG")


def say(out: BinaryIO, line: dict) -> None:
    """One JSON line."""
    send(out, memoryview(json.dumps(line).encode() + b"\n"))


def send(out: BinaryIO, view: memoryview) -> None:
    """Bytes, all of them."""
    while len(view):
        view = view[out.write(view) :]


def limit() -> None:
    """No core files, and 8 GiB of address space at most, where the system knows limits."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))


def main() -> None:
    """Answer requests until standard input ends; Ctrl-C is for the other end to act upon."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints to standard output must not get between the answers
    limit()
    for line in sys.stdin.buffer:
        said = json.loads(line)
        try:
            if "series" in said:
                say(out, {"series": series(Path(said["series"]))})
                continue
            answer(Request(**{**said, "magnifications": tuple(said["magnifications"])}), out)
        except DataError as error:
            say(out, {"bad": str(error)})
        except BrokenPipeError:
            return  # nobody is there any more
        except Exception as error:  # a damaged file can raise anything here; the other end says it with the file's name
            brief = (str(error).strip() or "no reason given").splitlines()[0][:200]
            say(out, {"bad": f"cannot be read ({type(error).__name__}: {brief})."})


if __name__ == "__main__":
    main()
