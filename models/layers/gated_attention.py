"""Gated attention, the centre of ABMIL, once for all models that use it."""

import torch
from torch import Tensor, nn

from .dropout import Dropout
from .segments import segment_softmax, segment_weighted_sum


class GatedAttention(nn.Module):
    """Raw attention scores w^T (tanh(V h_i) * sigmoid(U h_i)) of every instance (Ilse et al. 2018, eq. 9)."""

    def __init__(
        self, width: int, attention: int, maps: int = 1, dropout: float = 0.0, branch_dropout: float = 0.0
    ) -> None:
        """Score instances of `width` in `maps` ways through `attention` hidden units.

        `dropout` acts on the gated hidden units; `branch_dropout` on both branches before they are multiplied.
        """
        super().__init__()
        self.content = nn.Linear(width, attention)
        self.gate = nn.Linear(width, attention)
        self.branch_dropout = Dropout(branch_dropout)
        self.dropout = Dropout(dropout)
        self.score = nn.Linear(attention, maps)

    def scores(self, x: Tensor) -> Tensor:
        """Scores before any softmax: (rows, width) -> (rows, maps)."""
        content = self.branch_dropout(torch.tanh(self.content(x)))  # (rows, attention)
        gate = self.branch_dropout(torch.sigmoid(self.gate(x)))  # (rows, attention)
        return self.score(self.dropout(content * gate))


class GatedAttentionPool(GatedAttention):
    """One vector per bag: the mean of its instances weighted by the softmax of their gated attention scores."""

    def __init__(self, width: int, attention: int, dropout: float = 0.0, branch_dropout: float = 0.0) -> None:
        """Pool instances of `width` through `attention` hidden units; dropout as in `GatedAttention`."""
        super().__init__(width, attention, 1, dropout, branch_dropout)

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Pool a packed batch: (sum of n, width) -> (b, width)."""
        weights = segment_softmax(self.scores(x), sizes)  # (sum of n, 1)
        return segment_weighted_sum(weights, x, sizes).squeeze(1)  # (b, width)
