"""DeepGraphSurv, in the form that everybody compares with: a graph isomorphism network on neighbouring patches."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .contract import Places
from .layers.dropout import Dropout
from .layers.gated_attention import GatedAttentionPool
from .layers.messages import Edges, edges_from, message_sum
from .layers.neighbours import nearest
from .layers.similar import most_similar
from .public_weights import PublicWeights
from .spec import ModelSpec


class GIN(nn.Module):
    """A graph isomorphism layer (Xu et al. 2019, eq. 4.1): L(ReLU(L(H_i + sum of H_j over the senders j of i)))."""

    def __init__(self, width: int, hidden: int) -> None:
        """Bring patches of `width` to `hidden`."""
        super().__init__()
        self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, hidden)

    def forward(self, h: Tensor, edges: Edges) -> Tensor:
        """One round of messages: (n, width) -> (n, hidden)."""
        x = nn.functional.linear(h, self.first.weight)  # (n, hidden); linear, so sums may wait until it is narrow
        x = x + message_sum(x, edges) + self.first.bias
        return self.second(torch.relu(x))


class DeepGraphSurv(nn.Module):
    """Three graph isomorphism layers, gated attention, two layers (Li et al. 2018; GIN: Xu et al. 2019, eq. 4.1).

    H_i <- ReLU(MLP(H_i + sum of H_j over the senders j of i)), three times; z = gated attention over the H_i;
    scores = L(ReLU(L(z))). Every patch sends to the `neighbours` patches next to it.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 256,
        attention: int = 256,
        neighbours: int = 8,
        edges: str = "spatial",
        dropout: float = 0.25,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; edges lead to the nearest patches on the slide (`spatial`) or in the features (`latent`)."""
        super().__init__()
        if edges not in ("spatial", "latent"):
            raise ValueError(f"edges are 'spatial' or 'latent', not {edges!r}")
        self.scale, self.neighbours, self.edges = scale, neighbours, edges
        self.input_dropout = Dropout(input_dropout)
        self.layers = nn.ModuleList(GIN(width, hidden) for width in (dim, hidden, hidden))
        self.pool = GatedAttentionPool(hidden, attention, branch_dropout=dropout)
        self.rho = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), Dropout(dropout))
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        h, slide = features[self.scale], places.slide[self.scale]  # (sum of n, dim), (sum of n,)
        if self.edges == "spatial":
            near = nearest(places.cells[self.scale], slide, self.neighbours)  # (sum of n, k)
        else:
            near = most_similar(h, slide, self.neighbours)
        edges = edges_from(near)
        h = self.input_dropout(h)
        for layer in self.layers:
            h = torch.relu(layer(h, edges))  # (sum of n, hidden)
        return self.head(self.rho(self.pool(h, sizes)))  # (b, n_out)


WEIGHTS = PublicWeights(
    case="deepgraphsurv",
    model="deepgraphsurv",
    read=lambda given: (
        given["conv1.nn.0.weight"].shape[1],
        given["classifier.bias"].shape[0],
        {
            "hidden": given["classifier.weight"].shape[1],
            "attention": given["path_attention_head.attention_a.0.bias"].shape[0],
        },
    ),
    rules=(
        (r"^layers\.0\.", "conv1.nn."),
        (r"^layers\.1\.", "conv2.nn."),
        (r"^layers\.2\.", "conv3.nn."),
        (r"\.first\.", ".0."),
        (r"\.second\.", ".2."),
        (r"^pool\.content\.", "path_attention_head.attention_a.0."),
        (r"^pool\.gate\.", "path_attention_head.attention_b.0."),
        (r"^pool\.score\.", "path_attention_head.attention_c."),
        (r"^rho\.", "path_rho."),
        (r"^head\.", "classifier."),
    ),
    hyperparameters={"k": "neighbours"},
)

SPEC = ModelSpec(
    name="deepgraphsurv",
    title="DeepGraphSurv (GIN)",
    build=DeepGraphSurv,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 128,
        "attention": 128,
        "neighbours": 8,
        "edges": "spatial",
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 256,
        "attention": 256,
        "neighbours": 8,
        "edges": "spatial",
        "dropout": 0.25,
        "input_dropout": 0.25,
    },
    search_space={
        "hidden": (64, 128, 256),
        "attention": (64, 128, 256),
        "neighbours": (4, 8),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    places=True,
    reference="Li et al.: Graph CNN for Survival Analysis on Whole Slide Pathological Images. MICCAI 2018.",
    equation="H_i <- ReLU(MLP(H_i + sum of H_j over the patches j that have i among their 8 nearest)), three times; "
    "gated attention; two layers",
    cost="linear in n: 8 n additions of width `hidden` a layer",
    repository="mahmoodlab/Patch-GCN 823adda (the original, uta-smile/DeepGraphSurv 3149752, has no licence)",
    licence="GPL-3.0",
    defects=(
        "The class reads `pool`, which it never sets, and fails on every call: there is no such option here.",
        "Latent edges are found by asking the index of features for coordinates: ours are found among features.",
        "The original squares distances with a wrong sign and divides attention by 1000: this is the later GIN form.",
        "Edges lead from a patch to its neighbours, so it hears those on whose list it is: kept, as published.",
    ),
)
