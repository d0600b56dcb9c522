"""Median pooling."""

from milsurv.models.layers.per_bag import PerBag
from milsurv.models.spec import ModelSpec
from torch import Tensor, nn


class MedianPool(nn.Module):
    """The median of every feature over the bag, scored linearly."""

    def __init__(self, dim: int, n_out: int, dropout: float) -> None:
        """Score bags of `dim` features with `n_out` numbers."""
        super().__init__()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, n_out))

    def forward(self, bag: Tensor) -> Tensor:
        """Score one bag: (1, n, dim) -> (1, n_out)."""
        return self.head(bag.median(1).values)


def build(dim: int, n_out: int, *, scale: int = 20, dropout: float = 0.25) -> nn.Module:
    """Build median pooling at `scale`."""
    return PerBag(MedianPool(dim, n_out, dropout), scale)


SPEC = ModelSpec(
    name="median",
    title="Median pooling",
    build=build,
    scales=(20,),
    defaults={"scale": 20, "dropout": 0.25},
    reference_defaults={"scale": 20, "dropout": 0.0},
    search_space={"dropout": (0.0, 0.25, 0.5)},
    family="single-scale",
    order_free=True,
    reference="Your paper.",
    equation="out = L(median over the bag)",
    cost="linear in n",
)
