"""Levels of plain pyramids decoded without openslide: TIFF and SVS whose tiles are JPEG streams, as TCGA's mostly are.

libjpeg decodes them straight to RGB, which gives openslide's pixels, to the last one, in a quarter of its time: most of
that goes into painting what has been decoded. Whatever is not plain is left to openslide: other files and
compressions, levels with tiles that the scanner left out, places between two pixels of a level, damaged tiles.
simplejpeg, because it refuses damaged tiles as openslide does; Pillow and imagecodecs make them up in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tifffile import TiffPage

VENDORS = ("aperio", "generic-tiff")
"""Of openslide's formats those that lay tiles side by side."""
JPEG, SPACES = 7, {2: "RGB", 6: "YCbCr"}  # TIFF's numbers
START, END = b"\xff\xd8", b"\xff\xd9"  # of a JPEG stream
ADOBE = {space: b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([space != "RGB"]) for space in SPACES.values()}
"""A marker that says what the three channels are: in TIFF, that is in a tag instead."""
LARGEST = 512  # pixels along a tile
KEPT = 128  # tiles that stay decoded, since neighbouring regions share some: 25 MB of 256 x 256 pixels

Size = tuple[int, int]


@dataclass(frozen=True)
class JpegLevel:
    """One level: its `size` and that of its `tiles` in pixels (width, height); `decoded(n)` is its n-th tile, uint8
    (height, width, 3).
    """

    size: Size
    tiles: Size
    decoded: Callable[[int], np.ndarray]

    def region(self, left: int, top: int, width: int, height: int, beyond: tuple[int, int, int]) -> np.ndarray:
        """RGB pixels (height, width, 3) of a rectangle, in pixels of the level; `beyond` the level there is this
        colour. ValueError for a tile that is damaged.
        """
        region = np.empty((height, width, 3), np.uint8)
        (across, down), (wide, high) = self.size, self.tiles
        right, bottom = min(left + width, across), min(top + height, down)
        if min(left, top) < 0 or (right, bottom) != (left + width, top + height):
            region[:] = beyond
        columns = range(max(left, 0) // wide, -(-right // wide))
        rows = range(max(top, 0) // high, -(-bottom // high))
        for row, column in product(rows, columns):
            x, y = column * wide, row * high
            x0, y0, x1, y1 = max(left, x), max(top, y), min(right, x + wide), min(bottom, y + high)
            tile = self.decoded(row * -(-across // wide) + column)
            region[y0 - top : y1 - top, x0 - left : x1 - left] = tile[y0 - y : y1 - y, x0 - x : x1 - x]
        return region


@contextmanager
def jpeg_levels(path: Path, vendor: str, sizes: Sequence[Size]) -> Iterator[dict[int, JpegLevel]]:
    """The levels of a slide that need no openslide, by number, for as long as its file is open. `vendor` and `sizes`
    (width, height) are what openslide says.
    """
    levels = {}
    with ExitStack() as stack:
        if vendor in VENDORS:
            from tifffile import TiffFile

            with suppress(Exception):  # what tifffile stumbles over is left to openslide, which opened the file
                pages = list(stack.enter_context(TiffFile(path)).pages)
                levels = _levels(pages, sizes)  # type: ignore[arg-type]
        yield levels


def _levels(pages: list[TiffPage], sizes: Sequence[Size]) -> dict[int, JpegLevel]:
    extents = [(page.imagewidth, page.imagelength) for page in pages]

    @lru_cache(KEPT)
    def decoded(page: int, n: int) -> np.ndarray:
        return _decoded(pages[page], n)

    levels = {}
    for i, size in enumerate(sizes):
        if extents.count(size) == 1 and _plain(page := pages[at := extents.index(size)]):
            levels[i] = JpegLevel(size, (page.tilewidth, page.tilelength), partial(decoded, at))
    return levels


def _plain(page: TiffPage) -> bool:
    """Whether every tile of a page is a JPEG stream of three channels."""
    if not page.is_tiled or page.compression != JPEG or page.photometric not in SPACES:
        return False
    count = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    return (
        (page.samplesperpixel, page.bitspersample, page.planarconfig, page.imagedepth) == (3, 8, 1, 1)
        and max(page.tilewidth, page.tilelength) <= LARGEST
        and len(page.dataoffsets) == len(page.databytecounts) == count
        and all(page.databytecounts)
    )


def _decoded(page: TiffPage, n: int) -> np.ndarray:
    from simplejpeg import decode_jpeg, decode_jpeg_header

    space, file = SPACES[page.photometric], page.parent.filehandle
    file.seek(page.dataoffsets[n])
    own = file.read(page.databytecounts[n]).removeprefix(START)
    shared = (page.jpegtables or b"").removeprefix(START).removesuffix(END)
    stream = START + ADOBE[space] + shared + own
    if decode_jpeg_header(stream)[:3] != (page.tilelength, page.tilewidth, space):
        raise ValueError(f"tile {n} is not what its page says")
    return decode_jpeg(stream)
