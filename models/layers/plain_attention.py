"""Attention pooling without a gate."""

from torch import Tensor, nn

from .segments import segment_softmax, segment_weighted_sum


class AttentionPool(nn.Module):
    """One vector per bag: instances weighted by the softmax of w . act(V h) (Ilse et al. 2018, eq. 8)."""

    def __init__(self, width: int, attention: int, activation: nn.Module, bias: bool = True) -> None:
        """Pool instances of `width` through `attention` hidden units."""
        super().__init__()
        self.content = nn.Linear(width, attention, bias)
        self.activation = activation
        self.score = nn.Linear(attention, 1, bias)

    def weights(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Weights of a packed batch, summing to 1 over each bag: (sum of n, width) -> (sum of n, 1)."""
        return segment_softmax(self.score(self.activation(self.content(x))), sizes)

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Pool a packed batch: (sum of n, width) -> (b, width)."""
        return segment_weighted_sum(self.weights(x, sizes), x, sizes).squeeze(1)
