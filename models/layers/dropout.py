"""Dropout that draws its mask from random bits: several times faster on CPU than torch's, the same on a GPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def kept(shape: torch.Size, p: float, dtype: torch.dtype, generator: torch.Generator | None = None) -> Tensor:
    """A mask on CPU, 0 with probability `p` rounded to a multiple of 2**-16, otherwise 1.

    torch draws one Bernoulli number per entry, which costs more than the matrix products around it. Here one 64-bit
    draw serves four entries. They are compared in place, as integers: operations on booleans are several times slower.
    """
    size = shape.numel()
    draws = torch.empty((size + 3) // 4, dtype=torch.int64).random_(-(2**63), None, generator=generator)
    return draws.view(torch.int16)[:size].view(shape).ge_(round(p * 65536) - 32768).to(dtype)


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Set entries to zero with probability `p`, 0 <= p < 1, and divide the others by 1 - p; the identity elsewhere.

    On CPU `p` is rounded to a multiple of 2**-16, and the divisor with it.
    """
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    return x * kept(x.shape, p, x.dtype).mul_(65536 / (65536 - round(p * 65536)))


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
