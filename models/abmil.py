"""ABMIL: attention-based deep multiple instance learning, with the gated attention."""

from collections.abc import Mapping

from torch import Tensor, nn

from .layers.embedding import embedding
from .layers.gated_attention import GatedAttentionPool
from .spec import ModelSpec


class ABMIL(nn.Module):
    """Embed every patch of one scale, pool the bag by gated attention, score it linearly (Ilse et al. 2018)."""

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 512,
        attention: int = 256,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; embed `dim` to `hidden`, pool with `attention` hidden units, head of width `n_out`."""
        super().__init__()
        self.scale = scale
        self.embed = embedding(dim, hidden, dropout, input_dropout)
        self.pool = GatedAttentionPool(hidden, attention, attention_dropout)
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        x = self.embed(features[self.scale])  # (sum of n, hidden)
        return self.head(self.pool(x, sizes))  # (b, n_out)


SPEC = ModelSpec(
    name="abmil",
    title="ABMIL",
    learning_rate=2e-3,
    build=ABMIL,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 256,
        "attention": 128,
        "dropout": 0.25,
        "attention_dropout": 0.0,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 512,
        "attention": 256,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (128, 256, 512),
        "attention": (64, 128, 256),
        "dropout": (0.0, 0.25, 0.5),
        "attention_dropout": (0.0, 0.25),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    reference="Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance Learning. ICML 2018.",
    equation="H = ReLU(L(X)); z = sum of softmax(w . (tanh(V h) * sigmoid(U h))) h; out = L(z)",
    cost="linear in n",
    repository="RustinS/CrossFusion df5473d",
    licence="none stated",
)
