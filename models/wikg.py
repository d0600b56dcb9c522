"""WiKG: a knowledge graph whose edges are the strongest products of head and tail embeddings."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers.checkpoints import in_portions
from .layers.dropout import Dropout
from .layers.embedding import embedding
from .layers.plain_attention import AttentionPool
from .layers.segments import segment_mean
from .public_weights import PublicWeights
from .spec import ModelSpec

PORTION = 2048  # rows whose scores against the whole bag, or whose neighbours, are held at once


class WiKG(nn.Module):
    """Dynamic graph of heads and tails with knowledge-aware attention (Li et al. 2024).

    H = LeakyReLU(L(X)), H <- (H + mean of the bag) / 2, heads Q = L(H), tails T = L(H). Every patch has the k
    neighbours of largest Q T^T / sqrt(h), with p_j the softmax over these k. Edge r_j = p_j T_j + (1 - p_j) Q, gate
    g_j = tanh(Q + r_j), u_j = (sum of T_j) (sum of g_j) as the code has it, or T_j . g_j as the paper (`product`);
    N = sum of softmax(u)_j T_j; E = LeakyReLU(L(Q + N)) + LeakyReLU(L(Q * N)); out = L(LN(pool(E))).
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 512,
        neighbours: int = 6,
        product: str = "sums",
        pool: str = "attn",
        dropout: float = 0.3,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; `neighbours` = k; `product` is "sums" (published code) or "dot" (paper).

        Raises ValueError for another `product`, or a `pool` that is neither "attn" nor "mean".
        """
        super().__init__()
        if product not in ("sums", "dot") or pool not in ("attn", "mean"):
            raise ValueError(f"product is 'sums' or 'dot', pool 'attn' or 'mean', not {product!r} and {pool!r}")
        self.scale, self.k, self.product = scale, neighbours, product
        self.embed = embedding(dim, hidden, embedding_dropout, input_dropout)
        self.embed[2] = nn.LeakyReLU()
        self.to_head = nn.Linear(hidden, hidden)
        self.to_tail = nn.Linear(hidden, hidden)
        self.mix_sum = nn.Linear(hidden, hidden)
        self.mix_product = nn.Linear(hidden, hidden)
        self.dropout = Dropout(dropout)
        self.pool = AttentionPool(hidden, hidden // 2, nn.LeakyReLU()) if pool == "attn" else None
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        h = self.embed(features[self.scale])  # (sum of n, hidden)
        h = torch.cat([(bag + bag.mean(0)) / 2 for bag in h.split(sizes)])
        q, t = self.to_head(h), self.to_tail(h)  # (sum of n, hidden) each
        told = torch.cat([self._neighbourhood(*bag) for bag in zip(q.split(sizes), t.split(sizes), strict=True)])
        e = F.leaky_relu(self.mix_sum(q + told)) + F.leaky_relu(self.mix_product(q * told))
        e = self.dropout(e)  # (sum of n, hidden)
        z = segment_mean(e, sizes) if self.pool is None else self.pool(e, sizes)  # (b, hidden)
        return self.head(self.norm(z))

    def _neighbourhood(self, q: Tensor, t: Tensor) -> Tensor:
        """What the neighbours tell each patch of one bag, heads and tails (n, hidden): -> (n, hidden)."""
        with torch.no_grad():
            k = min(self.k, len(t))
            near = torch.cat([(rows @ t.T).topk(k, 1).indices for rows in q.split(PORTION)])  # (n, k)
        return in_portions(lambda head, chosen: self._aggregate(head, t[chosen]), PORTION, q, near)

    def _aggregate(self, q: Tensor, t: Tensor) -> Tensor:
        """Attention of heads (n, hidden) to their neighbours' tails (n, k, hidden): -> (n, hidden)."""
        q = q[:, None]  # (n, 1, hidden)
        p = ((q * t).sum(2, keepdim=True) * q.shape[2] ** -0.5).softmax(1)  # (n, k, 1)
        gate = torch.tanh(q + (p * t + (1 - p) * q))  # (n, k, hidden)
        u = t.sum(2) * gate.sum(2) if self.product == "sums" else (t * gate).sum(2)  # (n, k)
        return (u.softmax(1)[:, :, None] * t).sum(1)


WEIGHTS = PublicWeights(
    case="wikg",
    model="wikg",
    read=lambda given: (
        given["_fc1.0.weight"].shape[1],
        given["fc.bias"].shape[0],
        {"hidden": given["_fc1.0.weight"].shape[0]},
    ),
    rules=(
        (r"^embed\.1\.", "_fc1.0."),
        (r"^to_head\.", "W_head."),
        (r"^to_tail\.", "W_tail."),
        (r"^mix_sum\.", "linear1."),
        (r"^mix_product\.", "linear2."),
        (r"^pool\.content\.", "readout.gate_nn.0."),
        (r"^pool\.score\.", "readout.gate_nn.2."),
        (r"^head\.", "fc."),
    ),
    hyperparameters={"topk": "neighbours"},
    constants={"aggregation": "bi-interaction"},
    unused=(r"^gate_[UVW]\.", r"^readout\."),
)


SPEC = ModelSpec(
    name="wikg",
    title="WiKG",
    build=WiKG,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 256,
        "neighbours": 6,
        "product": "sums",
        "pool": "attn",
        "dropout": 0.3,
        "embedding_dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 512,
        "neighbours": 6,
        "product": "sums",
        "pool": "attn",
        "dropout": 0.3,
        "embedding_dropout": 0.0,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (128, 256, 512),
        "neighbours": (3, 6, 12),
        "product": ("sums", "dot"),
        "pool": ("attn", "mean"),
        "dropout": (0.0, 0.1, 0.3, 0.5),
        "embedding_dropout": (0.0, 0.25),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    reference="Li et al.: Dynamic Graph Representation with Knowledge-aware Attention for Histopathology Whole Slide "
    "Image Analysis. CVPR 2024, arXiv:2403.07719.",
    equation="H = LeakyReLU(L(X)), H <- (H + mean) / 2; Q = L(H), T = L(H); the k neighbours of largest Q T^T, p their "
    "softmax; g_j = tanh(Q + p_j T_j + (1 - p_j) Q); N = sum of softmax(u)_j T_j; E = LeakyReLU(L(Q + N)) + "
    "LeakyReLU(L(Q * N)); out = L(LN(attention pooling of E)).",
    cost="n^2 h operations for the neighbours, in blocks of rows and without gradient; memory n k h in blocks",
    repository="WonderLandxD/WiKG eb3144f",
    licence="none stated",
    defects=(
        "The published einsum multiplies the sum of T_j by the sum of g_j where the paper has their dot product: both "
        "are here (`product`), the code's by default.",
        "`gate_U`, `gate_V` and `gate_W` are never used there (0.4 M parameters): left out.",
        "Bags of fewer than k patches fail there: here k is at most n.",
        "The published training script pools by the mean, the class by attention: `pool`.",
    ),
)
