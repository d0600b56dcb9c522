"""Where the tiles of a slide are: one grid for all magnifications, so that coarser tiles hold finer ones exactly.

Everything is counted in whole level-0 pixels of the finest tile: its side is `patch_px` at the finest magnification,
and the side of a tile at half that magnification is exactly twice as long. 10x is 1 um per pixel, 20x 0.5, 40x 0.25.
Where a slide comes within 2 % of a whole factor (0.499 um for 20x), its own pixels are taken: the scanner's
calibration is no better. Otherwise the side is rounded once, and tiles are resampled to `patch_px`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...errors import DataError

SNAP = 0.02
STRETCH = 1.1
"""Tiles may be enlarged by so much, which is then reported; beyond it a magnification is refused."""

POWERS = (40, 20, 10, 5)


@dataclass(frozen=True)
class Grid:
    """The grid of one slide. `side` and `stride` are those of the finest tile, in level-0 pixels; `magnifications` run
    from fine to coarse; `size` is the slide's (width, height).
    """

    size: tuple[int, int]
    patch_px: int
    magnifications: tuple[int, ...]
    side: int
    stride: int

    def times(self, magnification: int) -> int:
        """How many finest tiles lie side by side in one of `magnification`."""
        return self.magnifications[0] // magnification

    def side_of(self, magnification: int) -> int:
        """The side of a tile in level-0 pixels."""
        return self.side * self.times(magnification)

    def full(self, magnification: int) -> tuple[int, int]:
        """(columns, rows) of tiles that lie in the slide entirely."""
        step, side = self.stride * self.times(magnification), self.side_of(magnification)
        across, down = (max(0, (extent - side) // step + 1) for extent in self.size)
        return across, down

    def corners(self, magnification: int, at: np.ndarray) -> np.ndarray:
        """Level-0 (x, y) of the top left corners, int32 (n, 2), of tiles at (column, row)."""
        return (at * (self.stride * self.times(magnification))).astype(np.int32)


@dataclass(frozen=True)
class Tiles:
    """The tiles of a slide that are read: (column, row) by magnification, int (n, 2), row by row. `full` counts the
    tiles that lie in the slide, `tissue` those of them with enough tissue, both by magnification.
    """

    at: dict[int, np.ndarray]
    full: dict[int, int]
    tissue: dict[int, int]


def plan_grid(
    size: tuple[int, int], mpp: float, magnifications: tuple[int, ...], patch_px: int, overlap: int = 0
) -> tuple[Grid, tuple[str, ...]]:
    """The grid of a slide, and remarks. `overlap` is that of neighbouring tiles, in pixels of a tile.

    DataError where the slide was scanned too coarsely for a magnification, or is smaller than a tile.
    """
    fine_to_coarse = tuple(sorted(set(magnifications), reverse=True))
    finest = fine_to_coarse[0]
    # Sides at 20x decide also where only 10x or 5x are wanted: extractions of one slide then share one grid.
    base = max(finest, 20)
    factor = 10 / base / mpp  # level-0 pixels for one pixel of a tile at `base`
    whole = max(1, round(factor))
    side = patch_px * whole if abs(factor / whole - 1) <= SNAP else max(1, round(patch_px * factor))
    stride = max(1, round(side * (patch_px - overlap) / patch_px))
    grid = Grid(size, patch_px, fine_to_coarse, side * (base // finest), stride * (base // finest))
    stretch = patch_px / grid.side
    if stretch > STRETCH:
        possible = [m for m in POWERS if 10 / m / mpp * STRETCH >= 1]
        hint = f"ask for --magnifications {','.join(map(str, possible))}" if possible else "it cannot be used"
        raise DataError(f"has {mpp:.4g} um per pixel, too coarse for {finest}x, which would be invented: {hint}.")
    coarsest = fine_to_coarse[-1]
    if not all(grid.full(coarsest)):
        width, height = size
        raise DataError(
            f"is {width} x {height} pixels: no tile of {grid.side_of(coarsest)} pixels ({coarsest}x) fits in it."
        )
    remarks = (f"{finest}x is enlarged by {stretch - 1:.0%} from {mpp:.4g} um per pixel",) if stretch > 1 else ()
    return grid, remarks


def choose_tiles(grid: Grid, tissue: Callable[[np.ndarray, int], np.ndarray], least: float, nest: bool = True) -> Tiles:
    """The tiles to read: the finest with at least the share `least` of tissue, and every coarser tile that holds one.

    `tissue(corners, side)` gives the share of tissue (n,) of tiles. A finest tile counts only where all coarser tiles
    that hold it lie in the slide, too. So no finer tile is without its coarser ones, no coarser one without a finer
    one, and since a coarser tile with enough tissue always holds a finer one with enough, no tissue is lost.
    Without `nest`, every magnification is asked alone: its tiles with enough tissue, whatever the others hold.
    """
    full: dict[int, int] = {}
    enough: dict[int, np.ndarray] = {}
    for m in grid.magnifications:
        columns, rows = grid.full(m)
        at = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)  # row by row
        full[m] = len(at)
        enough[m] = at[tissue(grid.corners(m, at), grid.side_of(m)) >= least] if len(at) else at
    counts = {m: len(at) for m, at in enough.items()}
    if not nest:
        return Tiles(enough, full, counts)
    kept = enough[grid.magnifications[0]]
    for m in grid.magnifications[1:]:
        kept = kept[(kept // grid.times(m) < grid.full(m)).all(1)]
    parents = {m: np.unique(kept[:, ::-1] // grid.times(m), axis=0)[:, ::-1] for m in grid.magnifications}
    return Tiles(parents, full, counts)
