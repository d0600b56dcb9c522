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


def read_tiles(slide: Slide, grid: Grid, tiles: Tiles) -> Iterator[Tile]:
    """All tiles in reading order. DataError where the slide cannot be read."""
    corners = {m: grid.corners(m, at) for m, at in tiles.at.items()}
    for block in reading_order(grid, tiles):
        wanted: dict[int, list[tuple[int, int]]] = {}
        for m, row in block:
            wanted.setdefault(slide.level_for(grid.side_of(m) / grid.patch_px), []).append((m, row))
        cut = {}
        for level, some in wanted.items():
            for tile in _of_level(slide, grid, corners, level, some):
                cut[tile.magnification, tile.row] = tile
        yield from (cut[key] for key in block)


def _of_level(
    slide: Slide, grid: Grid, corners: dict[int, np.ndarray], level: int, wanted: list[tuple[int, int]]
) -> Iterator[Tile]:
    """Tiles that one region of a level gives."""
    downsample = slide.downsamples[level]
    origin = np.min([corners[m][row] for m, row in wanted], 0)
    boxes = []
    for m, row in wanted:
        factor = grid.side_of(m) / grid.patch_px / downsample  # pixels of the level for one of the tile
        whole = round(factor)
        left, top = (corners[m][row] - origin) / downsample
        if whole and abs(factor / whole - 1) <= WHOLE:
            boxes.append(
                (m, row, whole, (round(left), round(top), *(round(v) + whole * grid.patch_px for v in (left, top))))
            )
        else:
            length = factor * grid.patch_px
            boxes.append((m, row, 0, (left, top, left + length, top + length)))
    width, height = (int(np.ceil(max(box[i] for *_, box in boxes))) for i in (2, 3))
    region = slide.region(int(origin[0]), int(origin[1]), level, width, height)
    for m, row, whole, box in boxes:
        yield Tile(m, row, _cut(region, whole, box, grid.patch_px))


def _cut(region: Image.Image, whole: int, box: tuple[float, float, float, float], px: int) -> Image.Image:
    if whole == 1:
        return region.crop(tuple(map(int, box)))  # type: ignore[arg-type]
    if whole:
        return region.reduce(whole, tuple(map(int, box)))  # type: ignore[arg-type]
    left, top = (int(np.floor(v)) for v in box[:2])
    inner = region.crop((left, top, int(np.ceil(box[2])), int(np.ceil(box[3]))))  # no pixel of a neighbour
    moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return inner.resize((px, px), Image.Resampling.LANCZOS, box=moved)
