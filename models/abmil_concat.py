"""ABMIL-concat: one attention pooling per magnification, the pooled vectors side by side, one head."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .layers.embedding import embedding
from .layers.gated_attention import GatedAttentionPool
from .spec import ModelSpec

SCALES = (5, 10, 20)


class ABMILConcat(nn.Module):
    """Early fusion by concatenation, the plainest there is: nothing passes between scales before the head."""

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        hidden: int = 512,
        attention: int = 256,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Per scale embed `dim` to `hidden` and pool; one head of width `n_out` on the three."""
        super().__init__()
        names = [f"x{scale}" for scale in SCALES]
        self.embed = nn.ModuleDict({name: embedding(dim, hidden, dropout, input_dropout) for name in names})
        self.pool = nn.ModuleDict({name: GatedAttentionPool(hidden, attention, attention_dropout) for name in names})
        self.head = nn.Linear(len(SCALES) * hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        pooled = [
            self.pool[f"x{scale}"](self.embed[f"x{scale}"](features[scale]), lengths[scale].tolist())
            for scale in SCALES
        ]  # 3 x (b, hidden)
        return self.head(torch.cat(pooled, 1))  # (b, n_out)


SPEC = ModelSpec(
    name="abmil-concat",
    title="ABMIL-concat",
    learning_rate=2e-3,
    build=ABMILConcat,
    scales=SCALES,
    defaults={
        "hidden": 256,
        "attention": 128,
        "dropout": 0.25,
        "attention_dropout": 0.0,
        "input_dropout": 0.0,
    },
    reference_defaults={
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
    family="multi-scale",
    order_free=True,
    reference="Of this benchmark, after Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance "
    "Learning. ICML 2018.",
    equation="one gated attention pooling a scale, their vectors joined; out = L(joined)",
    cost="linear in n",
)
