"""The Pad-Transformer of CrossFusion: transformer blocks on both sides of a position encoding on a square."""

import torch
from torch import Tensor, nn

from .feed_forward import feed_forward
from .ppeg import PPEG
from .self_attention import SelfAttention
from .squares import joined


class Block(nn.Module):
    """x = LN(x); x = x + MHA(x); x = LN(x); x = x + FFN(x): the residuals start from the normalised tokens."""

    def __init__(self, width: int, heads: int, attention_dropout: float, ffn_dropout: float, in_eval: bool) -> None:
        """Build a block for tokens of `width`; `in_eval` leaves the attention dropout on in evaluation."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, attention_dropout, in_eval)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn = feed_forward(width, ffn_dropout)

    def forward(self, x: Tensor, groups: list[tuple[int, int]], first_only: bool = False) -> Tensor:
        """Transform x (rows, c), `groups` giving (bags, tokens); with `first_only` return first tokens, (b, c)."""
        x = self.attention_norm(x)
        attended = self.attention(x, groups, first_only)
        x = self.ffn_norm((first_tokens(x, groups) if first_only else x) + attended)
        return x + self.ffn(x)


class PadTransformer(nn.Module):
    """Blocks, PPEG on the square, blocks, LayerNorm. A class token bypasses the PPEG."""

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        attention_dropout: float = 0.0,
        ffn_dropout: float = 0.0,
        attention_dropout_in_eval: bool = False,
    ) -> None:
        """Build `layers` blocks on either side of the PPEG. Raises ValueError where `layers` is below 1."""
        super().__init__()
        if layers < 1:
            raise ValueError(f"a Pad-Transformer needs at least 1 layer, not {layers}")
        block = (width, heads, attention_dropout, ffn_dropout, attention_dropout_in_eval)
        self.before = nn.ModuleList(Block(*block) for _ in range(layers))
        self.ppeg = PPEG(width)
        self.after = nn.ModuleList(Block(*block) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, squares: tuple[tuple[int, int], ...], class_token: bool = False) -> Tensor:
        """Transform x (rows, c), the bags' cells row by row, `squares` giving (bags, side) of equal bags.

        With `class_token` each bag's cells follow its class token, and only these are returned, (b, c): the last
        block computes nothing else. Otherwise all cells are returned, (rows, c).
        """
        extra = int(class_token)
        groups = [(bags, side * side + extra) for bags, side in squares]
        for block in self.before:
            x = block(x, groups)
        parts = [part.view(*group, -1) for part, group in zip(self._split(x, groups), groups, strict=True)]
        grids = [part[:, extra:].unflatten(1, (side, side)) for part, (_, side) in zip(parts, squares, strict=True)]
        encoded = [grid.flatten(1, 2) for grid in self.ppeg(grids)]  # (g, side * side, c) each
        if class_token:
            encoded = [torch.cat([p[:, :1], grid], 1) for p, grid in zip(parts, encoded, strict=True)]
        x = joined([part.flatten(0, 1) for part in encoded])
        for i, block in enumerate(self.after):
            x = block(x, groups, first_only=class_token and i == len(self.after) - 1)
        return self.norm(x)

    @staticmethod
    def _split(x: Tensor, groups: list[tuple[int, int]]) -> tuple[Tensor, ...]:
        return x.split([bags * tokens for bags, tokens in groups])


def first_tokens(x: Tensor, groups: list[tuple[int, int]]) -> Tensor:
    """The first token of every bag: (rows, c) -> (b, c)."""
    parts = x.split([bags * tokens for bags, tokens in groups])
    return joined([part.view(*group, -1)[:, 0] for part, group in zip(parts, groups, strict=True)])
