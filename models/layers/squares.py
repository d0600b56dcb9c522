"""Bags laid on squares: the layout on which the Pad-Transformers and TransMIL work.

A bag of n patches fills a square of side ceil(sqrt(n)); the cells left over repeat its first patches (TransMIL, Shao et
al. 2021, section 3.3). The bags of a batch are put in the order of their sides, so that bags of equal side lie together
and are one dense batch: no canvas larger than the bag, no mask, and every bag is exactly what it is alone.
"""

from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor


@dataclass(frozen=True)
class Squares:
    """Where every patch of a packed batch lies on the squares.

    Attributes:
        cells: row of the packed batch that each cell shows, (sum of side * side,), bags ordered by side.
        groups: (bags, side) of every run of bags with the same side, sides ascending.
        back: place of every bag of the batch in the new order, (b,).
    """

    cells: Tensor
    groups: tuple[tuple[int, int], ...]
    back: Tensor


def squares(sizes: list[int], device: torch.device) -> Squares:
    """Lay bags of `sizes` patches on squares. Raises ValueError where a bag is empty."""
    if min(sizes) < 1:
        raise ValueError(f"bag {sizes.index(min(sizes))} of the batch has no patches")
    sides = [isqrt(n - 1) + 1 for n in sizes]
    order = sorted(range(len(sizes)), key=sides.__getitem__)
    starts = torch.tensor(sizes).cumsum(0) - torch.tensor(sizes)  # (b,)
    cells: list[Tensor] = []
    groups: list[tuple[int, int]] = []
    for side in sorted(set(sides)):
        bags = torch.tensor([bag for bag in order if sides[bag] == side])  # (g,)
        within = torch.arange(side * side) % torch.tensor(sizes)[bags, None]  # (g, side * side)
        cells.append((starts[bags, None] + within).flatten())
        groups.append((len(bags), side))
    back = torch.empty(len(sizes), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(sizes))
    return Squares(torch.cat(cells).to(device, non_blocking=True), tuple(groups), back.to(device, non_blocking=True))


def joined(parts: list[Tensor]) -> Tensor:
    """Lay the parts of all groups end to end along the first axis; a single part is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)
