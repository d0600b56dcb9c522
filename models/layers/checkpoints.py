"""A function of many rows computed in portions, so that its intermediate tensors never stand side by side."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_portions(function: Callable[..., Tensor], rows: int, *tensors: Tensor) -> Tensor:
    """`function(*tensors)` on `rows` rows of all tensors at a time, joined; in training computed again backwards.

    Every tensor has the same number of rows, and row i of the result depends on row i of the tensors alone.
    """
    n = len(tensors[0])
    if n <= rows:
        return function(*tensors)
    parts = zip(*(x.split(rows) for x in tensors), strict=True)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts])  # type: ignore[misc]
    return torch.cat([function(*part) for part in parts])
