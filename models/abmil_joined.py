"""ABMIL-joined: every 20x patch with the features of the 10x and 5x patches around it, then ABMIL."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .contract import Places
from .layers.dropout import Dropout
from .layers.gated_attention import GatedAttentionPool
from .layers.paired import paired_rows
from .spec import ModelSpec

SCALES = (20, 10, 5)


class ABMILJoined(nn.Module):
    """Gated attention over places, each seen at three magnifications: the simplest model that knows what lies in what.

    H = ReLU(L([x_20, x_10, x_5])) of every 20x patch and the coarser patches that contain it; scores = L(gated
    attention over H). It differs from `abmil-concat`, which pools the scales apart, in the pairing alone.
    """

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
        """Embed three times `dim` to `hidden`, pool with `attention` hidden units, head of width `n_out`."""
        super().__init__()
        self.input_dropout, self.dropout = Dropout(input_dropout), Dropout(dropout)
        self.embed = nn.Linear(len(SCALES) * dim, hidden)
        self.pool = GatedAttentionPool(hidden, attention, attention_dropout)
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        # The embedding of joined features is a sum over scales: a coarse patch is multiplied once, not once a child.
        parts = [
            nn.functional.linear(self.input_dropout(features[m]), weight)[rows]  # (n at 20x, hidden)
            for m, weight, rows in zip(
                SCALES, self.embed.weight.chunk(len(SCALES), 1), paired_rows(places, SCALES), strict=True
            )
        ]
        h = self.dropout(torch.relu(parts[0] + parts[1] + parts[2] + self.embed.bias))  # (n at 20x, hidden)
        return self.head(self.pool(h, lengths[SCALES[0]].tolist()))  # (b, n_out)


SPEC = ModelSpec(
    name="abmil-joined",
    title="ABMIL-joined",
    build=ABMILJoined,
    scales=(5, 10, 20),
    defaults={"hidden": 256, "attention": 128, "dropout": 0.25, "attention_dropout": 0.0, "input_dropout": 0.0},
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
    places=True,
    reference="A baseline of this benchmark, after Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance "
    "Learning. ICML 2018.",
    equation="gated attention over ReLU(L([x_20, x_10, x_5])) of every 20x patch and its parents",
    cost="linear in n",
)
