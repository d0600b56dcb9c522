"""Dropout that draws its mask from random bits: several times faster on CPU than torch's, the same on a GPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
    return x * keep.to(x.dtype).mul_(65536 / (65536 - dropped))


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
