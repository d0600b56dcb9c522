"""Gated attention pooling, the centre of ABMIL, once for all models that use it."""

import torch
from torch import Tensor, nn

from .dropout import Dropout
from .segments import segment_softmax, segment_weighted_sum


class GatedAttentionPool(nn.Module):
    """One vector per bag: the mean of its instances weighted by gated attention (Ilse et al. 2018, eq. 9).

    score_i = w^T (tanh(V h_i) * sigmoid(U h_i)); weights are the softmax of the scores over the bag's instances.
    """

    def __init__(self, width: int, attention: int, dropout: float = 0.0) -> None:
        """Pool instances of `width` through `attention` hidden units; `dropout` acts on the gated hidden units."""
        super().__init__()
        self.content = nn.Linear(width, attention)
        self.gate = nn.Linear(width, attention)
        self.dropout = Dropout(dropout)
        self.score = nn.Linear(attention, 1)

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Pool a packed batch: (sum of n, width) -> (b, width)."""
        gated = self.dropout(torch.tanh(self.content(x)) * torch.sigmoid(self.gate(x)))  # (sum of n, attention)
        weights = segment_softmax(self.score(gated), sizes)  # (sum of n, 1)
        return segment_weighted_sum(weights, x, sizes).squeeze(1)  # (b, width)
