"""TransMIL: two Nystrom attention layers with a position encoding between them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .layers.class_token_head import prepend
from .layers.embedding import embedding
from .layers.nystrom_attention import NystromAttention
from .layers.ppeg import PPEG
from .layers.squares import squares
from .spec import ModelSpec


class TransMIL(nn.Module):
    """Embedding, square padding, class token, attention, PPEG, attention, head on the class token (Shao et al. 2021).

    The attention layers are pre-norm with a residual and have no feed-forward network. Of the second only the class
    token's row is computed, nothing else being read.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        embed_dim: int = 512,
        num_heads: int = 8,
        landmarks: int = 256,
        iterations: int = 6,
        dropout: float = 0.1,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; embed `dim` to `embed_dim`, head of width `n_out`; `dropout` follows the attention layers."""
        super().__init__()
        self.scale = scale
        self.embed = embedding(dim, embed_dim, embedding_dropout, input_dropout)
        self.class_token = nn.Parameter(torch.randn(embed_dim))
        attention = (embed_dim, num_heads, landmarks, iterations, dropout)
        self.norm1, self.attention1 = nn.LayerNorm(embed_dim), NystromAttention(*attention)
        self.ppeg = PPEG(embed_dim)
        self.norm2, self.attention2 = nn.LayerNorm(embed_dim), NystromAttention(*attention)
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        x = self.embed(features[self.scale])  # (sum of n, c)
        layout = squares(lengths[self.scale].tolist(), x.device)
        x = prepend(self.class_token, x.index_select(0, layout.cells), layout.groups)  # (cells + b, c)
        groups = [(bags, side * side + 1) for bags, side in layout.groups]
        parts = x.split([bags * tokens for bags, tokens in groups])
        read = [
            self._class_tokens(part.view(*group, -1), side)
            for part, group, (_, side) in zip(parts, groups, layout.groups, strict=True)
        ]
        return self.head(self.norm(torch.cat(read).index_select(0, layout.back)))  # (b, n_out)

    def _class_tokens(self, x: Tensor, side: int) -> Tensor:
        """Run the layers on bags of equal length: (g, 1 + side * side, c) -> (g, c)."""
        x = x + self.attention1(self.norm1(x))
        (grid,) = self.ppeg([x[:, 1:].unflatten(1, (side, side))])
        x = torch.cat([x[:, :1], grid.flatten(1, 2)], 1)
        return (x[:, :1] + self.attention2(self.norm2(x), first_only=True)).squeeze(1)


SPEC = ModelSpec(
    name="transmil",
    title="TransMIL",
    learning_rate=2e-4,
    build=TransMIL,
    scales=(20,),
    defaults={
        "scale": 20,
        "embed_dim": 256,
        "num_heads": 8,
        "landmarks": 64,
        "iterations": 6,
        "dropout": 0.1,
        "embedding_dropout": 0.0,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "embed_dim": 512,
        "num_heads": 8,
        "landmarks": 256,
        "iterations": 6,
        "dropout": 0.1,
        "embedding_dropout": 0.0,
        "input_dropout": 0.0,
    },
    search_space={
        "embed_dim": (128, 256, 512),
        "landmarks": (64, 128, 256),
        "dropout": (0.0, 0.1, 0.25, 0.5),
        "embedding_dropout": (0.0, 0.25),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=False,
    reference="Shao et al.: TransMIL: Transformer based Correlated Multiple Instance Learning for Whole Slide Image "
    "Classification. NeurIPS 2021.",
    equation="H = ReLU(L(X)) on the least square, first patches repeated, and a class token; H += Nystrom "
    "attention(LN(H)); H += PPEG, three depthwise convolutions; H += Nystrom attention(LN(H)); out = L(LN(class "
    "token))",
    cost="n m operations for m landmarks; memory linear in n",
    repository="RustinS/CrossFusion df5473d",
    licence="none stated",
    defects=(
        "Patches lie on the square in the order they come, not where they were on the slide: kept, so order matters.",
    ),
)
