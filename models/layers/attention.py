"""Scaled dot-product attention with dropout on the weights that never holds all weights of a large bag."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .dropout import kept

MOST_WEIGHTS = 2**20  # attention weights held at once on CPU, 4 MiB in single precision: about what caches hold


def attention(q: Tensor, k: Tensor, v: Tensor, p: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(d)) v with dropout `p` on the weights: q (g, h, n, d), k and v (g, h, m, d) -> (g, h, n, d).

    Without dropout, and on a GPU, torch's fused kernels do this without holding the n x m weights. With dropout on CPU
    torch would hold several n x m matrices for the backward pass; there the weights are computed in portions, and
    again in the backward pass, so that the peak does not grow with n * m.
    """
    if p == 0.0 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, dropout_p=p)
    flat = (t.flatten(0, 1).contiguous() for t in (q, k, v))
    with torch.autocast("cpu", enabled=False):
        attended: Tensor = _DroppedAttention.apply(*flat, p)  # pyright: ignore[reportAssignmentType]
    return attended.view_as(q)


class _DroppedAttention(torch.autograd.Function):
    """Attention of q (a, n, d) to k and v (a, m, d) with dropout, a counting bags and heads.

    With weights P = softmax(S), mask M of zeros and ones and factor f = 1 / (1 - p): output O = (P * M) (f v). In the
    backward pass dS = P * (M * (dO (f v)^T) - delta), delta being the row sums of dO * O (as in FlashAttention).
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, p: float) -> Tensor:
        ctx.p = p
        ctx.seed = int(torch.randint(2**62, ()))  # the masks are drawn again in the backward pass
        ctx.factor = 65536 / (65536 - round(p * 65536))  # the rate that `kept` can draw
        generator = torch.Generator().manual_seed(ctx.seed)
        out = torch.empty_like(q)
        for heads, rows in _portions(q, k):
            weights = _weights(q[heads, rows], k[heads])
            weights.mul_(kept(weights.shape, p, weights.dtype, generator))
            out[heads, rows] = weights @ v[heads]
        out.mul_(ctx.factor)
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, out = ctx.saved_tensors
        generator = torch.Generator().manual_seed(ctx.seed)
        delta = (grads[0] * out).sum(-1, keepdim=True)  # (a, n, 1)
        grad_out = grads[0] * ctx.factor
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for heads, rows in _portions(q, k):
            weights = _weights(q[heads, rows], k[heads])
            mask = kept(weights.shape, ctx.p, weights.dtype, generator)
            grad = grad_out[heads, rows] @ v[heads].transpose(1, 2)
            grad.mul_(mask).sub_(delta[heads, rows]).mul_(weights)  # of the scores
            grad_v[heads] += weights.mul_(mask).transpose(1, 2) @ grad_out[heads, rows]
            grad_q[heads, rows] = grad @ k[heads]
            grad_k[heads] += grad.transpose(1, 2) @ q[heads, rows]
        scale = q.shape[-1] ** -0.5
        return grad_q.mul_(scale), grad_k.mul_(scale), grad_v, None


def _weights(q: Tensor, k: Tensor) -> Tensor:
    scores = torch.baddbmm(q.new_zeros(1), q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5)
    return torch.softmax(scores, -1)


def _portions(q: Tensor, k: Tensor) -> Iterator[tuple[slice, slice]]:
    """Ranges of heads and of query rows, each portion of at most about MOST_WEIGHTS weights."""
    count, n, _ = q.shape
    rows = min(n, max(32, MOST_WEIGHTS // k.shape[1]))
    heads = max(1, MOST_WEIGHTS // (rows * k.shape[1]))
    for head in range(0, count, heads):
        for row in range(0, n, rows):
            yield slice(head, head + heads), slice(row, row + rows)
