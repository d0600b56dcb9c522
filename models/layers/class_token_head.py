"""The last part of the CrossFusion family: a class token, a Pad-Transformer, a linear head."""

import torch
from torch import Tensor, nn

from .pad_transformer import PadTransformer
from .squares import Squares, joined


class ClassTokenHead(nn.Module):
    """Put a class token before the cells of every bag, run a Pad-Transformer, score the class token linearly."""

    def __init__(
        self,
        width: int,
        n_out: int,
        heads: int,
        layers: int,
        attention_dropout: float = 0.0,
        ffn_dropout: float = 0.0,
        attention_dropout_in_eval: bool = False,
    ) -> None:
        """Score bags of tokens of `width` with `n_out` numbers."""
        super().__init__()
        self.class_token = nn.Parameter(torch.empty(width))
        nn.init.normal_(self.class_token, std=1e-6)
        self.transformer = PadTransformer(
            width, heads, layers, attention_dropout, ffn_dropout, attention_dropout_in_eval
        )
        self.head = nn.Linear(width, n_out)

    def forward(self, x: Tensor, layout: Squares) -> Tensor:
        """Score the bags whose cells are x (cells, c): -> (b, n_out), in the order of the batch."""
        tokens = prepend(self.class_token, x, layout.groups)
        scores = self.head(self.transformer(tokens, layout.groups, class_token=True))
        return scores.index_select(0, layout.back)


def prepend(token: Tensor, x: Tensor, squares: tuple[tuple[int, int], ...]) -> Tensor:
    """Put token (c,) before the cells of every bag of x (cells, c): -> (cells + b, c)."""
    parts = x.split([bags * side * side for bags, side in squares])
    grids = [part.view(bags, side * side, -1) for part, (bags, side) in zip(parts, squares, strict=True)]
    return joined([torch.cat([token.expand(g.shape[0], 1, -1), g], 1).flatten(0, 1) for g in grids])
