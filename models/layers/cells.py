"""Joining patches by their cells: parents and children across scales, and regions of one scale.

Cells are (x, y) whole numbers, the cell at half the magnification that contains one is `cell // 2`; patches meet only
within a slide. Which of several patches in one cell is taken does not depend on the order of the rows, but for rows in
the very same cell.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .neighbours import reading_order

BLOCK = 2**22  # distances held at once


def containing(fine: tuple[Tensor, Tensor], coarse: tuple[Tensor, Tensor], ratio: int) -> Tensor:
    """The row of the coarse patch that contains each fine one, (n_fine,) int64; -1 where there is none.

    fine, coarse: cells (n, 2) and slides (n,) of two scales of one batch; ratio: of their magnifications.
    """
    cells = torch.cat([fine[0] // ratio, coarse[0]]).long()
    slide = torch.cat([fine[1], coarse[1]]).long()
    cells = cells - cells.amin(0)
    width, height = (cells.amax(0) + 1).tolist()
    key = (slide * height + cells[:, 1]) * width + cells[:, 0]
    wanted, there = key[: len(fine[0])], key[len(fine[0]) :]
    ordered, order = torch.sort(there, stable=True)
    place = torch.searchsorted(ordered, wanted).clamp(max=len(ordered) - 1)
    return torch.where(ordered[place] == wanted, order[place], -1)


def parents(fine: tuple[Tensor, Tensor], coarse: tuple[Tensor, Tensor], ratio: int) -> Tensor:
    """As `containing`, but a patch outside of every coarse one gets the nearest of its slide, by (distance, y, x).

    Raises ValueError where a slide has no coarse patch at all.
    """
    found = containing(fine, coarse, ratio)
    alone = (found < 0).nonzero().squeeze(1)
    order = reading_order(*coarse)
    for slide in torch.unique(fine[1][alone]).tolist():
        rows = alone[fine[1][alone] == slide]
        near = order[coarse[1][order] == slide]  # in reading order
        if not len(near):
            raise ValueError(f"slide {slide} of the batch has patches at one magnification and none at another")
        centre = (fine[0][rows].double() + 0.5) / ratio - 0.5  # (r, 2) on the coarse grid
        for some in torch.arange(len(rows), device=rows.device).split(max(1, BLOCK // len(near))):
            offset = centre[some, None] - coarse[0][near].double()  # (r, m, 2)
            found[rows[some]] = near[offset.square().sum(2).min(1).indices]
    return found


def children(fine: tuple[Tensor, Tensor], coarse: tuple[Tensor, Tensor], ratio: int) -> Tensor:
    """Fine patches of every coarse one, by their place in it, row by row: (n_coarse, ratio^2); -1 where none is."""
    parent = containing(fine, coarse, ratio)
    within = fine[0].long() % ratio
    slot = parent * ratio**2 + within[:, 1] * ratio + within[:, 0]  # (n_fine,)
    table = torch.full((len(coarse[0]) * ratio**2,), -1, dtype=torch.long, device=slot.device)
    rows = (parent >= 0).nonzero().squeeze(1)
    table[slot[rows].flip(0)] = rows.flip(0)
    return table.view(-1, ratio**2)


@dataclass(frozen=True)
class Regions:
    """Square regions of one scale.

    Attributes:
        region: the region of each row, (n,), numbered slide by slide in reading order.
        place: the place of each row in its region, row by row, (n,).
        slide: the slide of each region, (r,).
    """

    region: Tensor
    place: Tensor
    slide: Tensor


def regions(cells: Tensor, slide: Tensor, side: int) -> Regions:
    """Cut the slides of a batch into regions of `side` x `side` cells."""
    square, within = torch.div(cells.long(), side, rounding_mode="floor"), cells.long() % side
    keys = torch.stack([slide.long(), square[:, 1], square[:, 0]], 1)  # (n, 3)
    found, region = torch.unique(keys, dim=0, return_inverse=True)
    return Regions(region, within[:, 1] * side + within[:, 0], found[:, 0])
