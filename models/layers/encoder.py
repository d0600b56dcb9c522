"""A layer of the original transformer encoder: post-norm, over packed bags."""

import torch
from torch import Tensor, nn

from .dropout import Dropout
from .self_attention import SelfAttention


class EncoderLayer(nn.Module):
    """x = LN(x + MHA(x)); x = LN(x + L(ReLU(L(x)))), with dropout on both terms and inside (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float = 0.0) -> None:
        """Tokens of `width`, `hidden` units in the feed-forward network."""
        super().__init__()
        self.attention = SelfAttention(width, heads, dropout)
        self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Let the tokens of each bag of x (sum of n, c) look at each other: the same shape."""
        x = self.norm1(x + self.dropout(self.attention(x, [(1, n) for n in sizes])))
        return self.norm2(x + self.dropout(self.second(self.dropout(torch.relu(self.first(x))))))
