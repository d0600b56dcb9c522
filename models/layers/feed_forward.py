"""The two-layer network between the attention layers."""

from torch import nn

from .dropout import Dropout


def feed_forward(width: int, dropout: float) -> nn.Sequential:
    """Linear(c, 2c), GELU, dropout, Linear(2c, c), dropout."""
    return nn.Sequential(
        nn.Linear(width, 2 * width),
        nn.GELU(),
        Dropout(dropout),
        nn.Linear(2 * width, width),
        Dropout(dropout),
    )
