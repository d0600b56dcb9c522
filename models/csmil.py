"""CS-MIL: cross-scale attention decides, place by place, how much each magnification counts."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .contract import Places
from .layers.dropout import Dropout
from .layers.embedding import embedding
from .layers.paired import paired_rows
from .layers.segments import segment_softmax, segment_weighted_sum
from .public_weights import PublicWeights
from .spec import ModelSpec

SCALES = (20, 10, 5)


class CSMIL(nn.Module):
    """Every 20x patch with its parents: weighted over scales, then pooled over places (Deng et al. 2022).

    H = ReLU(L(v)) of the views v at 20x, 10x and 5x; r = L(ReLU(L(H))); F = sum over scales of r H;
    z = attention over places of F; scores = L(ReLU(L(z))).
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        hidden: int = 64,
        attention: int = 32,
        scale_softmax: bool = False,
        dropout: float = 0.5,
        input_dropout: float = 0.0,
    ) -> None:
        """Embed `dim` to `hidden`, all scales alike; `scale_softmax` normalises the weights r over the scales."""
        super().__init__()
        self.scale_softmax = scale_softmax
        self.embed = embedding(dim, hidden, input_dropout=input_dropout)
        self.scale_attention = nn.Sequential(nn.Linear(hidden, attention), nn.ReLU(), nn.Linear(attention, 1))
        self.attention = nn.Sequential(nn.Linear(hidden, attention), nn.Tanh(), nn.Linear(attention, 1))
        self.head = nn.Sequential(
            nn.Linear(hidden, attention), nn.ReLU(), Dropout(dropout), nn.Linear(attention, n_out)
        )

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes, rows = lengths[SCALES[0]].tolist(), paired_rows(places, SCALES)
        # A coarse patch is embedded once, however many fine ones lie in it.
        embedded = [self.embed(features[m]) for m in SCALES]  # (n at the scale, hidden) each
        views = torch.stack([h[row] for h, row in zip(embedded, rows, strict=True)], 1)  # (n at 20x, 3, hidden)
        weights = torch.stack([self.scale_attention(h)[row] for h, row in zip(embedded, rows, strict=True)], 1)
        if self.scale_softmax:
            weights = weights.softmax(1)  # (n at 20x, 3, 1)
        joined = (weights * views).sum(1)  # (n at 20x, hidden)
        pooled = segment_weighted_sum(segment_softmax(self.attention(joined), sizes), joined, sizes)  # (b, 1, hidden)
        return self.head(pooled.squeeze(1))  # (b, n_out)


WEIGHTS = PublicWeights(
    case="csmil",
    model="csmil",
    read=lambda given: (
        given["embedding_net.0.weight"].shape[1],
        given["fc6.3.bias"].shape[0],
        {"hidden": given["embedding_net.0.bias"].shape[0], "attention": given["attention.0.bias"].shape[0]},
    ),
    rules=(
        (r"^embed\.1\.", "embedding_net.0."),
        (r"^scale_attention\.", "res_attention."),
        (r"^head\.", "fc6."),
    ),
    told=("embed", "hidden"),
)

SPEC = ModelSpec(
    name="csmil",
    title="CS-MIL",
    build=CSMIL,
    scales=(5, 10, 20),
    defaults={"hidden": 128, "attention": 64, "scale_softmax": False, "dropout": 0.25, "input_dropout": 0.0},
    reference_defaults={"hidden": 64, "attention": 32, "scale_softmax": False, "dropout": 0.5, "input_dropout": 0.0},
    search_space={
        "hidden": (64, 128, 256),
        "attention": (32, 64, 128),
        "scale_softmax": (False, True),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="multi-scale",
    order_free=True,
    places=True,
    reference="Deng et al.: Cross-scale Attention Guided Multi-instance Learning for Crohn's Disease Diagnosis with "
    "Pathological Images. MMMI at MICCAI 2022.",
    equation="F = sum over scales of r(H) H, H = ReLU(L(v)) of a 20x patch and its parents; attention over places",
    cost="linear in n",
    repository="hrlblab/CS-MIL e052cec",
    licence="MIT",
    defects=(
        "Bags are small random samples of k-means clusters, in testing too, so results are random: here all patches.",
        "The weights of the scales are not normalised, unlike in the paper: kept; `scale_softmax` normalises them.",
        "Pairs there are cut around one centre: here the containing cells, or the nearest where there is none.",
        "The mask of empty clusters adds 1 - 1 / (mask + 1e-5) to scores: without clusters there is nothing to mask.",
    ),
)
