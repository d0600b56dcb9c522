"""The graph convolution of Patch-GCN and ProtoSurv."""

import torch
from torch import Tensor, nn

from .messages import Edges, message_sum
from .scatter import scatter_softmax, scatter_sum

SAFE = 60.0  # exp(-60) is far from the smallest number of single precision


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

    def forward(self, h: Tensor, edges: Edges) -> Tensor:
        """One round of messages: (n, width) -> (n, width)."""
        messages = torch.relu(h) + 1e-7  # (n, width)
        score = messages * self.t
        top = score.detach().amax(0)  # (width,)
        if float((top - score.detach().amin(0)).max()) > SAFE:
            return self.mlp(h + self.by_edge(score, messages, edges))
        # A softmax does not change by a shift, and with one shift for all its terms are those of the senders: sums of
        # two vectors a patch, instead of a vector for every edge.
        weight = torch.exp(score - top)  # (n, width)
        total, norm = message_sum(torch.cat([weight * messages, weight], 1), edges).chunk(2, 1)
        return self.mlp(h + total / torch.where(norm > 0, norm, 1))

    def by_edge(self, score: Tensor, messages: Tensor, edges: Edges) -> Tensor:
        """The same with a shift for every receiver, for scores so far apart that one shift would lose some."""
        weights = scatter_softmax(score[edges.sender], edges.receiver, len(score))  # (e, width)
        return scatter_sum(weights * messages[edges.sender], edges.receiver, len(score))
