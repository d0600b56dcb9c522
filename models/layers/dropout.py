"""Dropout that draws its mask from random bits: several times faster on CPU than torch's, the same on a GPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Masked(torch.autograd.Function):
    """x * keep * factor, remembering only the boolean mask."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.factor = factor
        return torch.mul(x, keep).mul_(factor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (keep,) = ctx.saved_tensors
        return torch.mul(grads[0], keep).mul_(ctx.factor), None, None


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Set entries to zero with probability `p` and divide the others by 1 - p; the identity outside of training.

    On CPU, torch draws one Bernoulli number per entry, which costs more than the matrix products around it. Here one
    64-bit draw serves four entries; `p` is thereby rounded to a multiple of 2**-16, and the divisor with it.
    """
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    dropped = round(p * 65536)
    if dropped >= 65536:
        return x * 0.0
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    keep = draws.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - 32768
    return _Masked.apply(x, keep, 65536 / (65536 - dropped))  # pyright: ignore[reportReturnType]


class Dropout(nn.Module):
    """`dropout` as a layer, on in training only."""

    def __init__(self, p: float) -> None:
        """Drop with probability `p`. Raises ValueError where it is not in [0, 1)."""
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"a dropout rate lies in [0, 1), not {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Apply dropout to a tensor of any shape."""
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Show the rate where the module is printed."""
        return f"p={self.p}"
