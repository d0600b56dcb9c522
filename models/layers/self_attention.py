"""Multi-head self-attention over packed bags."""

from torch import Tensor, nn
from torch.nn import functional as F

from .attention import attention
from .squares import joined


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) with biased projections, every bag for itself.

    Dropout on the attention weights acts in training only, unless `dropout_in_eval`, which reproduces a defect of the
    public CrossFusion code: there two evaluations of one model differ.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, dropout_in_eval: bool = False) -> None:
        """Attend with `heads` heads over tokens of `width`. Raises ValueError where heads do not divide width."""
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide the width {width}")
        self.heads = heads
        self.dropout = dropout
        self.dropout_in_eval = dropout_in_eval
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, groups: list[tuple[int, int]], first_only: bool = False) -> Tensor:
        """Attend over each bag of x (sum of bags * tokens, c), `groups` giving (bags, tokens) in the order of the rows.

        Returns the same shape; with `first_only` just the first token of every bag, (b, c), the others only being
        looked at: all that is needed of a last layer whose class token alone is read.
        """
        p = self.dropout if self.training or self.dropout_in_eval else 0.0
        width = x.shape[1]
        rows = [bags * tokens for bags, tokens in groups]
        if first_only:
            weight, bias = self.qkv.weight, self.qkv.bias
            firsts = [part.view(*group, width)[:, 0] for part, group in zip(x.split(rows), groups, strict=True)]
            queries = F.linear(joined(firsts), weight[:width], bias[:width])  # (b, c)
            keyed = F.linear(x, weight[width:], bias[width:])  # (rows, 2c)
            parts = [
                (*self._heads(q, bags, 1, 1), *self._heads(kv, bags, tokens, 2))
                for q, kv, (bags, tokens) in zip(
                    queries.split([bags for bags, _ in groups]), keyed.split(rows), groups, strict=True
                )
            ]
        else:
            parts = [
                self._heads(qkv, bags, tokens, 3)
                for qkv, (bags, tokens) in zip(self.qkv(x).split(rows), groups, strict=True)
            ]
        attended = [attention(q, k, v, p) for q, k, v in parts]  # (g, h, n, d) each
        return self.out(joined([part.transpose(1, 2).reshape(-1, width) for part in attended]))

    def _heads(self, x: Tensor, bags: int, tokens: int, kinds: int) -> tuple[Tensor, ...]:
        """Split (g * n, kinds * c) into its kinds and heads: `kinds` times (g, h, n, d), in one copy."""
        heads = x.view(bags, tokens, kinds, self.heads, -1).permute(2, 0, 3, 1, 4).contiguous()
        return heads.unbind(0)
