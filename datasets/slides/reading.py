"""Tiles as pixels: all scales of one place in one pass, from the nearest level that is fine enough, never from a
coarser one.

A block of the slide, the coarsest tile with all that lie in it, is read once from each level that its scales need. A
tile whose pixels are a level's own is cut out as it is; a whole factor above is averaged (an exact mean of the pixels
that it covers), any other factor goes through Lanczos, which also filters what would alias.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .grid import Grid, Tiles
from .slide import Slide

LEAST_BLOCK = 4  # finest tiles along a side of a block, where the coarsest tile is smaller
WHOLE = 0.01  # a factor this near to a whole one is one: levels are whole pixels


@dataclass(frozen=True)
class Tile:
    """One tile: `row` in the order of its magnification's coordinates, and its RGB pixels (patch_px, patch_px)."""

    magnification: int
    row: int
    pixels: Image.Image


def reading_order(grid: Grid, tiles: Tiles) -> list[list[tuple[int, int]]]:
    """Blocks in their order, each the (magnification, row) of its tiles, fine to coarse."""
    block = max(grid.times(grid.magnifications[-1]), LEAST_BLOCK)
    blocks: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for m in grid.magnifications:
        for row, (column, line) in enumerate((tiles.at[m] * grid.times(m) // block).tolist()):
            blocks.setdefault((line, column), []).append((m, row))
    return [blocks[place] for place in sorted(blocks)]


@dataclass(frozen=True)
class Cut:
    """Where a tile lies in a region of a level, in its pixels; `whole` of them make one of the tile, 0 if no whole
    number does.
    """

    magnification: int
    row: int
    whole: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Region:
    """What is read at once: level-0 `corner`, level, size in pixels of the level, and the tiles cut from it."""

    corner: tuple[int, int]
    level: int
    size: tuple[int, int]
    cuts: tuple[Cut, ...]


def read_tiles(slide: Slide, grid: Grid, tiles: Tiles) -> Iterator[Tile]:
    """All tiles in reading order. DataError where the slide cannot be read."""
    for order, block in zip(reading_order(grid, tiles), regions(slide, grid, tiles), strict=True):
        cut = {}
        for region in block.values():
            pixels = slide.region(*region.corner, region.level, *region.size)
            for one in region.cuts:
                cut[one.magnification, one.row] = _cut(pixels, one, grid.patch_px)
        for m, row in order:
            yield Tile(m, row, cut[m, row])


def regions(slide: Slide, grid: Grid, tiles: Tiles) -> Iterator[dict[int, Region]]:
    """For every block, the regions that are read, by level."""
    corners = {m: grid.corners(m, at) for m, at in tiles.at.items()}
    for block in reading_order(grid, tiles):
        wanted: dict[int, list[tuple[int, int]]] = {}
        for m, row in block:
            wanted.setdefault(slide.level_for(grid.side_of(m) / grid.patch_px), []).append((m, row))
        yield {level: _region(slide, grid, corners, level, some) for level, some in wanted.items()}


def _region(
    slide: Slide, grid: Grid, corners: dict[int, np.ndarray], level: int, wanted: list[tuple[int, int]]
) -> Region:
    """The smallest region of a level that holds these tiles."""
    downsample = slide.downsamples[level]
    origin = np.min([corners[m][row] for m, row in wanted], 0)
    cuts = []
    for m, row in wanted:
        factor = grid.side_of(m) / grid.patch_px / downsample  # pixels of the level for one of the tile
        whole = round(factor)
        left, top = (float(v) for v in (corners[m][row] - origin) / downsample)
        if whole and abs(factor / whole - 1) <= WHOLE:
            left, top, side = round(left), round(top), whole * grid.patch_px
        else:
            whole, side = 0, factor * grid.patch_px
        cuts.append(Cut(m, row, whole, (left, top, left + side, top + side)))
    width, height = (int(np.ceil(max(cut.box[i] for cut in cuts))) for i in (2, 3))
    return Region((int(origin[0]), int(origin[1])), level, (width, height), tuple(cuts))


def _cut(region: Image.Image, cut: Cut, px: int) -> Image.Image:
    left, top, right, bottom = (int(f(v)) for f, v in zip((np.floor, np.floor, np.ceil, np.ceil), cut.box, strict=True))
    if cut.whole == 1:
        return region.crop((left, top, right, bottom))
    if cut.whole:
        return region.reduce(cut.whole, (left, top, right, bottom))
    inner = region.crop((left, top, right, bottom))  # no pixel of a neighbour
    moved = (cut.box[0] - left, cut.box[1] - top, cut.box[2] - left, cut.box[3] - top)
    return inner.resize((px, px), Image.Resampling.LANCZOS, box=moved)
