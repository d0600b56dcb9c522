"""Every patch of the finest scale with the patches of coarser scales that it lies in."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..contract import Places
from .cells import parents


def paired_rows(places: Places, scales: Sequence[int]) -> list[Tensor]:
    """For each of `scales`, the finest first, the row that each patch of the finest is paired with: (n_finest,) each.

    Its own row, then the row of the coarser patch whose cell contains it; a patch outside of every coarser one is
    paired with the nearest of its slide. The public codes cut their pairs around one centre instead.
    """
    finest = scales[0]
    fine = places.cells[finest], places.slide[finest]
    rows = [torch.arange(len(fine[0]), device=fine[0].device)]
    return rows + [parents(fine, (places.cells[m], places.slide[m]), finest // m) for m in scales[1:]]
