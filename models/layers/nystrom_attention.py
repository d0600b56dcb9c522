"""Nystrom attention as TransMIL uses it, without the work spent on padding."""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dropout import Dropout
from .pseudo_inverse import pseudo_inverse


@dataclass(frozen=True)
class _Landmarked:
    """What is computed on the way: `keys` and `values` have a padded one in front, m landmarks likewise if `same`."""

    q: Tensor  # (g, h, n, d)
    v: Tensor  # (g, h, n, d)
    ql: Tensor  # (g, h, m, d)
    kl: Tensor  # (g, h, m, d)
    keys: Tensor
    values: Tensor
    key_many: Tensor | None  # log of the keys' multiplicities, (1, n + 1), or (g, 1, 1, n) where bags differ
    many: Tensor  # log of the landmarks' multiplicities, (1, m), or (g, 1, 1, m)
    root: Tensor  # the square roots of the multiplicities, a column: (m, 1), or (g, 1, m, 1)
    inverse: Tensor  # (g, h, m, m)
    same: bool


class NystromAttention(nn.Module):
    """Self-attention of linear cost through landmarks (Xiong et al. 2021), plus a convolution of the values.

    By definition the n tokens are padded with zeros *in front* until the number of landmarks m divides them; the
    landmarks are the means of consecutive runs of queries and of keys; with softmaxes over the last axis

        output = softmax(q kl^T) pinv(softmax(ql kl^T)) softmax(ql k^T) v + conv(v).

    A padded token has zero query, key and value, for the projections have no bias. A run of z landmarks made of padding
    alone is therefore z equal rows and columns, on which everything above acts through their sum only. They are
    carried as one landmark of multiplicity z: log z is added to its scores, and in the orthonormal basis, in which a
    transpose stays a transpose, its rows are multiplied and its columns divided by sqrt(z). Padded keys are one key
    of zero value likewise. The result is the same; a bag of 81 patches costs the inverse of an 83 x 83 matrix instead
    of a 256 x 256 one. Bags of one length are computed together, each with a first guess of its own. So are bags of
    different lengths below m, with zero rows behind each, where they do as well as in front, for every token is its own
    landmark: p zero rows stand for z with multiplicity z / p each.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        landmarks: int = 256,
        iterations: int = 6,
        dropout: float = 0.0,
        kernel: int = 33,
    ) -> None:
        """Attend over tokens of `width`; `kernel` (odd) is the length of the convolution of the values.

        Raises ValueError where heads do not divide width.
        """
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide the width {width}")
        self.heads = heads
        self.landmarks = landmarks
        self.iterations = iterations
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.residual = nn.Conv2d(heads, heads, (kernel, 1), padding=(kernel // 2, 0), groups=heads, bias=False)

    def forward(self, x: Tensor, first_only: bool = False, real: Tensor | None = None) -> Tensor:
        """Attend over bags of equal length, x (g, n, c): -> (g, n, c), or the first tokens' (g, 1, c).

        real: how many tokens each bag has, (g,), where that differs: all below n, and n at most the landmarks. The rows
        of x behind them are zero, and what is returned for these rows means nothing.
        """
        parts = self._landmarked(x, real)
        scores = parts.many if parts.same else None
        seen = F.scaled_dot_product_attention(parts.ql, parts.keys, parts.values, attn_mask=parts.key_many, scale=1.0)
        spread = parts.inverse @ (parts.root * seen) / parts.root  # (g, h, m, d)
        queries = parts.q[:, :, :1] if first_only else parts.q
        out = F.scaled_dot_product_attention(queries, parts.kl, spread, attn_mask=scores, scale=1.0)
        out = out.transpose(1, 2).flatten(2) + self._convolve(parts.v, first_only)  # (g, n, c)
        return self.dropout(self.out(out))

    def first_weights(self, x: Tensor, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """How the first token attends to all n, and their values: (g, h, n) and (g, h, n, d); `real` as above."""
        parts = self._landmarked(x, real)
        front = torch.softmax(parts.q[:, :, :1] @ parts.kl.transpose(-1, -2) + parts.many, -1)  # (g, h, 1, m)
        back = parts.ql @ parts.keys.transpose(-1, -2)  # (g, h, m, n), in front a padded key if there is one
        back = torch.softmax(back if parts.key_many is None else back + parts.key_many, -1)
        root = parts.root.transpose(-1, -2)
        weights = ((front / root) @ parts.inverse * root) @ back
        return weights[:, :, 0, -x.shape[1] :], parts.v

    def _landmarked(self, x: Tensor, real: Tensor | None) -> "_Landmarked":
        """Queries, keys, values, their landmarks and the inverse between these, of x (g, n, c)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (g, h, n, d) each
        q = q * q.shape[-1] ** -0.5
        n = q.shape[2]
        keys, values, key_many = k, v, None
        if real is None:
            run = -(-n // self.landmarks)  # tokens of one landmark
            padded = run * self.landmarks - n
            same, part = divmod(padded, run)  # landmarks of padding alone; padding in the first of the others
            ql, kl = (_landmarks(tokens, run, part, same > 0) for tokens in (q, k))  # (g, h, m, d)
            many = q.new_zeros(1, ql.shape[2])  # log of the landmarks' multiplicities
            if same:
                many[0, 0] = log(same)
            if padded:
                keys, values = F.pad(k, (0, 0, 1, 0)), F.pad(v, (0, 0, 1, 0))
                key_many = q.new_zeros(1, n + 1)
                key_many[0, 0] = log(padded)
        else:
            ql, kl, same = q, k, True
            zero = torch.arange(n, device=x.device) >= real[:, None]  # (g, n)
            each = torch.log((self.landmarks - real) / (n - real)).to(q.dtype)
            many = key_many = torch.where(zero, each[:, None], 0.0)[:, None, None]  # (g, 1, 1, n)
        root = torch.exp(many / 2).transpose(-1, -2)  # (m, 1) or (g, 1, m, 1)
        across = root.transpose(-1, -2)
        middle = torch.softmax(ql @ kl.transpose(-1, -2) + many, -1)  # (g, h, m, m)
        middle = root * middle / across
        # The first guess is divided by the largest row and column sum of the full matrix, over all heads of the bag.
        rows = (middle @ root / root).amax((1, 2, 3))
        columns = (across @ middle / across).amax((1, 2, 3))
        start = middle.transpose(-1, -2) / (rows * columns)[:, None, None, None]
        inverse = pseudo_inverse(middle, start, self.iterations)
        return _Landmarked(q, v, ql, kl, keys, values, key_many, many, root, inverse, same > 0)

    def _convolve(self, v: Tensor, first_only: bool) -> Tensor:
        """Convolve the values (g, h, n, d) along the tokens, one kernel per head: -> (g, n, h * d)."""
        kernel = self.residual.weight  # (h, 1, kernel, 1)
        half = kernel.shape[2] // 2
        if first_only:
            near = v[:, :, : half + 1]
            return (near * kernel[:, 0, half : half + near.shape[2]]).sum(2).flatten(1).unsqueeze(1)
        # One kernel per channel with the channels last: several times faster on CPU than one per head.
        lined = v.transpose(1, 2).flatten(2).unsqueeze(2).permute(0, 3, 1, 2)  # (g, c, n, 1)
        kernel = kernel.repeat_interleave(v.shape[3], 0)  # (c, 1, kernel, 1)
        return F.conv2d(lined, kernel, padding=(half, 0), groups=kernel.shape[0]).squeeze(3).transpose(1, 2)


def _landmarks(tokens: Tensor, run: int, part: int, padding: bool) -> Tensor:
    """Means over runs of (g, h, n, d), the first lacking `part` tokens; in front a zero one if `padding`."""
    means = F.pad(tokens, (0, 0, part, 0)).unflatten(2, (-1, run)).mean(3) if run > 1 else tokens
    return F.pad(means, (0, 0, 1, 0)) if padding else means
