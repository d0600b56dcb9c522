"""The Conv Processor of CrossFusion: fuses the scales cell by cell, then by grouped convolutions."""

import torch
from torch import Tensor, nn

from .depthwise import depthwise
from .dropout import dropout
from .kernels import merged_bias, merged_kernel
from .squares import joined


class ConvProcessor(nn.Module):
    """Mix the scales' grids into one, convolve it with kernels 7, 5, 3 and 1 from c to c/2 channels, widen it again.

    The mixing is a 1x1x1 convolution over the axis of scales: one weight per scale and one bias. The four grouped
    convolutions are computed as one, with the sum of their kernels.
    """

    def __init__(self, width: int, scales: int, dropout: float = 0.0) -> None:
        """Fuse `scales` grids of `width`; `dropout` drops whole channels of a bag. Raises ValueError for odd widths."""
        super().__init__()
        if width % 2:
            raise ValueError(f"the Conv Processor halves the channels: {width} is odd")
        half = width // 2
        self.dropout = dropout
        self.mix = nn.Conv3d(scales, 1, 1) if scales > 1 else None
        self.conv7 = nn.Conv2d(width, half, 7, padding=3, groups=half)
        self.conv5 = nn.Conv2d(width, half, 5, padding=2, groups=half)
        self.conv3 = nn.Conv2d(width, half, 3, padding=1, groups=half)
        self.conv1 = nn.Conv2d(width, half, 1, groups=half)
        self.widen = nn.Linear(half, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, streams: list[Tensor], squares: tuple[tuple[int, int], ...]) -> Tensor:
        """Fuse `streams`, one (rows, c) per scale, laid on `squares` of (bags, side): -> (rows, c)."""
        x = streams[0]
        if self.mix is not None:
            flat = torch.stack(streams).flatten(1)  # (scales, rows * c)
            mixed = self.mix.weight.view(1, -1) @ flat  # (1, rows * c)
            x = mixed.view_as(x) + merged_bias([self.mix])
        width = x.shape[1]
        convolutions = [self.conv7, self.conv5, self.conv3, self.conv1]
        # A group of two input channels is two depthwise convolutions and a sum, for which CPUs have faster kernels.
        kernel = merged_kernel(convolutions).reshape(width, 1, 7, 7)
        bias = merged_bias(convolutions)  # (c/2,)
        outputs: list[Tensor] = []
        for part, (bags, side) in zip(x.split([b * s * s for b, s in squares]), squares, strict=True):
            both = depthwise(part.view(bags, side, side, width), kernel)  # (g, side, side, c)
            y = torch.relu(both[..., 0::2] + both[..., 1::2] + bias)  # (g, side, side, c/2)
            if self.training and self.dropout:
                y = y * dropout(y.new_ones(bags, 1, 1, width // 2), self.dropout)
            outputs.append(y.reshape(-1, width // 2))
        return self.norm(self.widen(joined(outputs)))
