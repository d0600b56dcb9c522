"""What CrossFusion and its variant by concatenation share: three scales brought onto the grid of the middle one."""

from collections.abc import Mapping

from torch import Tensor, nn

from .cross_attention import CrossAttention
from .feed_forward import feed_forward
from .pad_transformer import PadTransformer
from .pairing import pairing
from .squares import Squares, squares

COARSE, SOURCE, FINE = 5, 10, 20


def projection(dim: int, width: int) -> nn.Module:
    """Linear(dim, width) and LayerNorm; the identity where the two are equal."""
    return nn.Identity() if dim == width else nn.Sequential(nn.Linear(dim, width), nn.LayerNorm(width))


class CrossBlock(nn.Module):
    """CrossFusion's cross-attention block: x = LN(x + cross-attention(x, context)); x = x + FFN(x)."""

    def __init__(self, width: int, heads: int, ffn_dropout: float) -> None:
        """Build the block for tokens of `width`."""
        super().__init__()
        self.attention = CrossAttention(width, heads)
        self.norm = nn.LayerNorm(width)
        self.ffn = feed_forward(width, ffn_dropout)

    def forward(self, x: Tensor, context: Tensor, n_queries: list[int], n_keys: list[int]) -> Tensor:
        """Let the bags of x (sum of n, c) look at those of context (sum of m, c): -> (sum of n, c)."""
        x = self.norm(x + self.attention(x, context, pairing(n_queries, n_keys, x.device)))
        return x + self.ffn(x)


class ScaleStreams(nn.Module):
    """Project 5x, 10x and 20x; let the 10x patches look at 5x and at 20x; run a Pad-Transformer on each of the three.

    All three streams have the 10x patches as tokens, laid on the same squares.
    """

    def __init__(
        self,
        dim: int,
        width: int,
        heads: int,
        layers: int,
        attention_dropout: float = 0.0,
        ffn_dropout: float = 0.0,
        attention_dropout_in_eval: bool = False,
    ) -> None:
        """Bring features of `dim` to streams of `width`."""
        super().__init__()
        transformer = (width, heads, layers, attention_dropout, ffn_dropout, attention_dropout_in_eval)
        self.coarse_projection = projection(dim, width)
        self.source_projection = projection(dim, width)
        self.fine_projection = projection(dim, width)
        self.coarse_cross = CrossBlock(width, heads, ffn_dropout)
        self.fine_cross = CrossBlock(width, heads, ffn_dropout)
        self.coarse_transformer = PadTransformer(*transformer)
        self.source_transformer = PadTransformer(*transformer)
        self.fine_transformer = PadTransformer(*transformer)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> tuple[list[Tensor], Squares]:
        """Return the source, fine and coarse streams in this order, (cells, c) each, and the squares they lie on."""
        sizes = {scale: lengths[scale].tolist() for scale in (COARSE, SOURCE, FINE)}
        coarse = self.coarse_projection(features[COARSE])  # (sum of n at 5x, c)
        source = self.source_projection(features[SOURCE])  # (sum of n at 10x, c)
        fine = self.fine_projection(features[FINE])  # (sum of n at 20x, c)
        coarse = self.coarse_cross(source, coarse, sizes[SOURCE], sizes[COARSE])  # (sum of n at 10x, c)
        fine = self.fine_cross(source, fine, sizes[SOURCE], sizes[FINE])  # (sum of n at 10x, c)
        layout = squares(sizes[SOURCE], source.device)
        branches = (
            (self.source_transformer, source),
            (self.fine_transformer, fine),
            (self.coarse_transformer, coarse),
        )
        return [net(x.index_select(0, layout.cells), layout.groups) for net, x in branches], layout
