"""What the worker process does with slides: libopenslide and its decoders can crash or hang on damaged files.

A request is answered with JSON lines, some followed by plain bytes:

    {"plan": …}          what is known of the slide; then int32 (tiles, 4): magnification, row, x, y in reading order
    {"tiles": n}         then n tiles, uint8 (n, side, side, 3)
    {"end": true}
    {"series": "…"}      the DICOM series of a file, the answer to {"series": path}

`reader.py` is the other end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from ...errors import writing
from ...files import whole
from ..worker.program import say, send
from .grid import Grid, Tiles, choose_tiles, plan_grid
from .preview import preview
from .reading import read_tiles, reading_order
from .slide import Slide, opened, series
from .tissue import find_tissue

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class ReadRequest:
    """What to read of a slide: see `reader.ReadOptions`; the picture goes to `preview` where that is a path."""

    path: str
    user_mpp: float | None
    for_this_slide: bool
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


def answer(request: dict, out: BinaryIO) -> None:
    """Answer one request. DataError if the slide cannot be read."""
    if "series" in request:
        say(out, {"series": series(Path(request["series"]))})
    else:
        send_slide(ReadRequest(**{**request, "magnifications": tuple(request["magnifications"])}), out)


def send_slide(request: ReadRequest, out: BinaryIO) -> None:
    """Read one slide and send its plan and its tiles."""
    with opened(Path(request.path), request.user_mpp, request.for_this_slide) as slide:
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


def batches(slide: Slide, grid: Grid, tiles: Tiles, request: ReadRequest) -> Iterator[np.ndarray]:
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


def fitted(pixels: Image.Image, request: ReadRequest) -> np.ndarray:
    """A tile resized and cut from its centre, as the encoder's authors did."""
    if request.resize != pixels.width:
        pixels = pixels.resize((request.resize, request.resize), FILTERS[request.filter])
    edge = (request.resize - request.crop) // 2
    return np.asarray(pixels)[edge : edge + request.crop, edge : edge + request.crop]


def _save(picture: Image.Image, path: Path) -> None:
    """A PNG, whole or not at all."""
    with writing(f"its preview {path}"), whole(path) as partial:
        picture.save(partial, format="PNG")
