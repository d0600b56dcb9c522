"""MuSTMIL: one attention per scale and one over the scales joined, all trained together."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .contract import Places, Trained
from .layers.dropout import Dropout
from .layers.paired import paired_rows
from .layers.segments import segment_softmax, segment_weighted_sum
from .public_weights import PublicWeights
from .spec import ModelSpec

SCALES = (20, 10, 5)


class MapHead(nn.Module):
    """Attention with one map per output, the maps' vectors scored together: L(flatten(A E)).

    A = softmax over the patches of L(tanh(L(E))), (k, n) for k outputs.
    """

    def __init__(self, width: int, attention: int, n_out: int) -> None:
        """Score instances of `width` through `attention` hidden units."""
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(width, attention), nn.Tanh(), nn.Linear(attention, n_out))
        self.score = nn.Linear(width * n_out, n_out)

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Score a packed batch: (sum of n, width) -> (b, n_out)."""
        weights = segment_softmax(self.attention(x), sizes)  # (sum of n, n_out)
        return self.score(segment_weighted_sum(weights, x, sizes).flatten(1))


class MuSTMIL(nn.Module):
    """Every 20x patch with its 10x and 5x parents, embedded apart and attended to together (Marini et al. 2021).

    E_s = L(x_s); scores = maps over [E_20, E_10, E_5]; in training also the scores of maps over each E_s, as views that
    get the same loss. A coarse patch counts once for every fine one in it, in its own scale's view too.
    """

    def __init__(
        self, dim: int, n_out: int, *, hidden: int = 128, attention: int = 64, input_dropout: float = 0.0
    ) -> None:
        """Embed `dim` to `hidden` at each scale."""
        super().__init__()
        self.input_dropout = Dropout(input_dropout)
        self.embeddings = nn.ModuleList(nn.Linear(dim, hidden) for _ in SCALES)
        self.heads = nn.ModuleList(MapHead(hidden, attention, n_out) for _ in SCALES)
        self.joint = MapHead(len(SCALES) * hidden, attention, n_out)

    def forward(
        self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places
    ) -> Tensor | Trained:
        """Score the bags of a packed batch: -> (b, n_out); in training with a view for each scale."""
        sizes = lengths[SCALES[0]].tolist()
        embedded = [
            embed(self.input_dropout(features[m]))[rows]  # (n at 20x, hidden)
            for m, embed, rows in zip(SCALES, self.embeddings, paired_rows(places, SCALES), strict=True)
        ]
        scores = self.joint(torch.cat(embedded, 1), sizes)  # (b, n_out)
        if not self.training:
            return scores
        views = [head(e, sizes) for head, e in zip(self.heads, embedded, strict=True)]
        return Trained(scores, torch.stack(views))


WEIGHTS = PublicWeights(
    case="mustmil",
    model="mustmil",
    read=lambda given: (
        given["embeddings.0.weight"].shape[1],
        given["classifier.bias"].shape[0],
        {
            "hidden": given["embeddings.0.bias"].shape[0],
            "attention": given["attention_general.0.bias"].shape[0],
        },
    ),
    rules=(
        (r"^heads\.(\d)\.attention\.", r"attentions.\1."),
        (r"^heads\.(\d)\.score\.", r"embeddings_fc.\1.0."),
        (r"^joint\.attention\.", "attention_general."),
        (r"^joint\.score\.", "classifier."),
    ),
    told=("embed",),
    constants={"order": [20, 10, 5]},
)

SPEC = ModelSpec(
    name="mustmil",
    title="MuSTMIL",
    build=MuSTMIL,
    scales=(5, 10, 20),
    defaults={"hidden": 128, "attention": 64, "input_dropout": 0.0},
    reference_defaults={"hidden": 128, "attention": 64, "input_dropout": 0.0},
    search_space={
        "hidden": (64, 128, 256),
        "attention": (32, 64, 128),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="multi-scale",
    order_free=True,
    places=True,
    reference="Marini et al.: Multi-Scale Task Multiple Instance Learning for the Classification of Digital Pathology "
    "Images with Global Annotations. MICCAI COMPAY workshop 2021.",
    equation="scores = L(flatten(A E)), E = [L(x_20), L(x_10), L(x_5)] of every 20x patch and its parents, "
    "A = softmax(L(tanh(L(E)))), one map per output; the same for each scale alone in training",
    cost="linear in n",
    repository="ilmaro8/MuSTMIL fd9d726",
    licence="none stated",
    defects=(
        "All scales must have equally many rows: here every 20x patch is joined with its parents by cells.",
        "Three best checkpoints are kept, one per loss: here the joint scores alone are evaluated.",
        "The learning-rate schedule is never stepped: here the recipe's is.",
        "Pairs there are cut around one centre: here the containing cells, or the nearest where there is none.",
    ),
)
