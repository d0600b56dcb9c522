"""PPEG: the pyramid position encoding generator of TransMIL."""

from torch import Tensor, nn

from .depthwise import depthwise
from .kernels import merged_bias, merged_kernel


class PPEG(nn.Module):
    """x + conv7(x) + conv5(x) + conv3(x), depthwise on a bag's square grid (Shao et al. 2021, algorithm 2).

    The three convolutions keep their own parameters and are computed as one with the sum of their kernels.
    """

    def __init__(self, width: int) -> None:
        """Encode the position of tokens of `width`."""
        super().__init__()
        self.conv7 = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.conv5 = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, grids: list[Tensor]) -> list[Tensor]:
        """Encode grids of different sides: each (g, side, side, c) -> the same shapes."""
        convolutions = [self.conv7, self.conv5, self.conv3]
        kernel, bias = merged_kernel(convolutions), merged_bias(convolutions)
        return [grid + (depthwise(grid, kernel) + bias) for grid in grids]
