"""Cells: the patches of a slide as whole numbers on one grid that all its magnifications share."""

from collections.abc import Mapping

import numpy as np

from .geometry import Geometry
from .tissue_overlap import stride


def patch_sides(corners: Mapping[int, np.ndarray | None], geometry: Mapping[int, Geometry]) -> dict[int, float]:
    """The side of a patch in level-0 pixels, by magnification: as the file says, else the distance of neighbours, else
    from another scale of the slide. Scales of which none of it is known are absent.
    """
    sides: dict[int, float] = {}
    for m, where in corners.items():
        side = geometry[m].side(m)
        if not side and where is not None:
            side = stride(where) or stride(where[:, ::-1])
        if side:
            sides[m] = side
    for m in corners:  # a single patch shows no stride, but its slide's other scales do
        other = next((k for k in sides if m not in sides), None)
        if other is not None:
            sides[m] = sides[other] * other / m
    return sides


def cells_of(corners: Mapping[int, np.ndarray], sides: Mapping[int, float]) -> dict[int, np.ndarray]:
    """Whole cells (x, y) of every patch of one slide, int32 (n, 2) by magnification.

    The grid of the coarsest scale is that of its own patches; each finer scale halves its cells, so that cell // 2 is
    the cell that contains a patch at half the magnification. A patch has the cell that its centre lies in: grids of
    other tools need not be aligned, nor sides be whole numbers. Where patches overlap, several share a cell.

    corners: level-0 top-left x, y, (n, 2); sides: see `patch_sides`.
    Errors: ValueError where several patches have no known side.
    """
    coarsest = min(corners)
    alone = all(len(where) < 2 for where in corners.values())
    side = sides.get(coarsest, 1.0 if alone else 0.0)
    if not side:
        raise ValueError("has coordinates but no patch size, in its files or to be seen from neighbours: convert it "
                         "with `bench features convert`, or extract it again")  # fmt: skip
    phase = corners[coarsest].min(0).astype(float)  # (2,)
    low = np.min([where.min(0) for where in corners.values()], axis=0)  # (2,)
    origin = phase - np.ceil((phase - low) / side) * side  # on the coarsest grid, before every patch
    cells = {}
    for m, where in corners.items():
        cell = side * coarsest / m
        cells[m] = np.floor((where + cell / 2 - origin) / cell).astype(np.int32)
    return cells
