"""Scaled dot-product attention with dropout on the weights that never holds all weights of a large bag at once."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .dropout import dropout

MOST_WEIGHTS = 2**22  # attention weights held at once on CPU: 16 MiB in single precision


def attention(q: Tensor, k: Tensor, v: Tensor, p: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(d)) v with dropout `p` on the weights: q (g, h, n, d), k and v (g, h, m, d) -> (g, h, n, d).

    Without dropout, and on a GPU, torch's fused kernels do this without holding the n x m weights. With dropout on CPU
    torch falls back to holding several n x m matrices for the backward pass; there the queries are taken in portions
    whose weights are computed again in the backward pass, so that the peak does not grow with n * m.
    """
    if p == 0.0 or q.device.type == "cuda":
        return F.scaled_dot_product_attention(q, k, v, dropout_p=p)
    groups, heads, n, _ = q.shape
    portion = max(1, MOST_WEIGHTS // (groups * heads * k.shape[2]))
    if n <= portion:
        return _attention(q, k, v, p)
    if not torch.is_grad_enabled():
        return torch.cat([_attention(part, k, v, p) for part in q.split(portion, 2)], 2)
    parts = [checkpoint(_attention, part, k, v, p, use_reentrant=False) for part in q.split(portion, 2)]
    return torch.cat(parts, 2)  # pyright: ignore[reportArgumentType]


def _attention(q: Tensor, k: Tensor, v: Tensor, p: float) -> Tensor:
    flat_q, flat_k = q.flatten(0, 1), k.flatten(0, 1)
    scores = torch.baddbmm(q.new_zeros(1), flat_q, flat_k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5)
    weights = torch.softmax(scores, -1).view(*q.shape[:3], k.shape[2])  # (g, h, n, m)
    return dropout(weights, p) @ v
