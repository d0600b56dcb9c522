"""Sums, means and softmaxes over groups of rows that an index names: the messages of a graph, the rows of a region.

Where groups are the bags themselves, `layers.segments` is faster.
"""

import torch
from torch import Tensor


def scatter_sum(x: Tensor, index: Tensor, groups: int) -> Tensor:
    """Sum of the rows of each group: x (e, d), index (e,) -> (groups, d); 0 for a group without rows."""
    return x.new_zeros(groups, x.shape[1]).index_add(0, index, x)


def scatter_mean(x: Tensor, index: Tensor, groups: int) -> Tensor:
    """Mean of the rows of each group: x (e, d), index (e,) -> (groups, d); 0 for a group without rows."""
    counts = torch.bincount(index, minlength=groups).clamp(min=1).to(x.dtype)
    return scatter_sum(x, index, groups) / counts[:, None]


def scatter_softmax(x: Tensor, index: Tensor, groups: int) -> Tensor:
    """Softmax over the rows of each group, every column for itself: x (e, k), index (e,) -> (e, k)."""
    with torch.no_grad():  # any shift leaves a softmax as it is; the maximum keeps exp() finite
        shift = x.new_full((groups, x.shape[1]), -torch.inf)
        shift = shift.scatter_reduce(0, index[:, None].expand_as(x), x.detach(), "amax")
    weights = torch.exp(x - shift[index])
    return weights / scatter_sum(weights, index, groups)[index]
