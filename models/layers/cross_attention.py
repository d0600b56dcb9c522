"""Multi-head cross-attention between two scales of packed bags."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .pairing import Pairing
from .squares import joined


class CrossAttention(nn.Module):
    """The patches of one scale look at those of another (CrossFusion's cross-attention block, without its FFN).

    Queries and context both get one learned embedding before the projections. Being the same for every row it is
    carried into the biases, W (x + e) + b = W x + (W e + b), rather than added to every patch.
    """

    def __init__(self, width: int, heads: int) -> None:
        """Attend with `heads` heads over tokens of `width`. Raises ValueError where heads do not divide width."""
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide the width {width}")
        self.heads = heads
        self.embedding = nn.Parameter(torch.empty(width))
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        nn.init.trunc_normal_(self.embedding, std=0.02)

    def forward(self, x: Tensor, context: Tensor, pairs: Pairing) -> Tensor:
        """Let x (sum of n, c) look at context (sum of m, c), bag by bag: -> (sum of n, c)."""
        q = F.linear(x, self.q.weight, self.q(self.embedding))  # (sum of n, c)
        kv = F.linear(context, self.kv.weight, self.kv(self.embedding))  # (sum of m, 2c)
        outputs: list[Tensor] = []
        for bundle in pairs.bundles:
            queries = _take(q, bundle.queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (g, h, n, d)
            keyed = _take(kv, bundle.keys).unflatten(-1, (2, self.heads, -1))  # (g, m, 2, h, d)
            keys, values = (part.transpose(1, 2) for part in keyed.unbind(2))  # (g, h, m, d)
            attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bundle.seen)
            outputs.append(attended.transpose(1, 2).reshape(-1, x.shape[1]))  # (g * n, c)
        return self.out(joined(outputs).index_select(0, pairs.back))


def _take(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of x, (g, n, c)."""
    return x.index_select(0, rows.flatten()).view(*rows.shape, x.shape[1])
