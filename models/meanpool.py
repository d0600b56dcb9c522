"""Mean pooling: the baseline without attention."""

from collections.abc import Mapping

from torch import Tensor, nn

from .layers.embedding import embedding
from .layers.segments import segment_mean
from .spec import ModelSpec


class MeanPool(nn.Module):
    """Embed every patch of one scale, take the mean over the bag, score it linearly."""

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 512,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; embed `dim` to `hidden`, head of width `n_out`."""
        super().__init__()
        self.scale = scale
        self.embed = embedding(dim, hidden, dropout, input_dropout)
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        x = self.embed(features[self.scale])  # (sum of n, hidden)
        return self.head(segment_mean(x, lengths[self.scale].tolist()))  # (b, n_out)


SPEC = ModelSpec(
    name="meanpool",
    title="Mean pooling",
    learning_rate=1e-3,
    build=MeanPool,
    scales=(20,),
    defaults={"scale": 20, "hidden": 256, "dropout": 0.25, "input_dropout": 0.0},
    reference_defaults={"scale": 20, "hidden": 512, "dropout": 0.0, "input_dropout": 0.0},
    search_space={"hidden": (128, 256, 512), "dropout": (0.0, 0.25, 0.5), "input_dropout": (0.0, 0.1, 0.25)},
    family="single-scale",
    order_free=True,
    reference="Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance Learning. ICML 2018 (mean operator).",
    equation="H = ReLU(L(X)); out = L(mean of H)",
    cost="linear in n",
)
