"""Pooling and softmax over the bags of a packed batch.

Bags lie end to end in one tensor, (sum of n, d); `sizes` says how many rows each has. One short operation per bag was
measured to be faster on CPU than scatter and segment kernels, for 32 bags of 80 patches as for one bag of 15,000, and
it sums every bag in the same order whatever lies beside it.
"""

import torch
from torch import Tensor

from .listening import tell


def segment_mean(x: Tensor, sizes: list[int]) -> Tensor:
    """Mean over the rows of each bag: (sum of n, d) -> (b, d)."""
    return torch.stack([bag.mean(0) for bag in x.split(sizes)])


def segment_max(x: Tensor, sizes: list[int]) -> Tensor:
    """Largest value of each column over the rows of each bag: (sum of n, d) -> (b, d)."""
    return torch.stack([bag.max(0).values for bag in x.split(sizes)])


def segment_softmax(x: Tensor, sizes: list[int], heard: bool = True) -> Tensor:
    """Softmax over the rows of each bag, every column for itself: (sum of n, k) -> (sum of n, k).

    Whoever listens to attention hears of it, unless `heard` is False: where rows are not in the order of patches.
    """
    weights = torch.cat([bag.softmax(0) for bag in x.split(sizes)])
    return tell(weights) if heard else weights


def segment_weighted_sum(weights: Tensor, x: Tensor, sizes: list[int]) -> Tensor:
    """Weighted sums of the rows of each bag: weights (sum of n, k), x (sum of n, d) -> (b, k, d)."""
    pairs = zip(weights.split(sizes), x.split(sizes), strict=True)
    return torch.stack([w.transpose(0, 1) @ bag for w, bag in pairs])
