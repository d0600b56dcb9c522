"""The graph convolution of Patch-GCN and ProtoSurv."""

import torch
from torch import Tensor, nn

from .scatter import scatter_softmax, scatter_sum


class GENConv(nn.Module):
    """Generalised aggregation (Li et al. 2020, DeeperGCN, eq. 5): out_i = M(H_i + a_i).

    Messages m_j = ReLU(H_j) + 1e-7; a_i = for each feature, the sum over the senders j of i of softmax_j(t m_j) m_j,
    with one learned temperature t; 0 without senders. M = Linear(h, 2h), LayerNorm, ReLU, Linear(2h, h).
    """

    def __init__(self, width: int) -> None:
        """Convolve patches of `width`."""
        super().__init__()
        self.t = nn.Parameter(torch.ones(1))
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.LayerNorm(2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, h: Tensor, sender: Tensor, receiver: Tensor) -> Tensor:
        """One round of messages along the edges (e,): (n, width) -> (n, width)."""
        messages = (torch.relu(h) + 1e-7)[sender]  # (e, width)
        weights = scatter_softmax(messages * self.t, receiver, len(h))  # (e, width)
        return self.mlp(h + scatter_sum(weights * messages, receiver, len(h)))
