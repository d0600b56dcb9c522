"""Patch-GCN: a deep graph convolutional network on neighbouring patches, all of its layers read together."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .contract import Places
from .layers.dropout import Dropout
from .layers.embedding import embedding
from .layers.gated_attention import GatedAttentionPool
from .layers.gen_conv import GENConv
from .layers.messages import edges_from
from .layers.neighbours import nearest
from .layers.similar import most_similar
from .public_weights import PublicWeights
from .spec import ModelSpec


class PatchGCN(nn.Module):
    """Embedding, residual graph convolutions, gated attention over the concatenated layers (Chen et al. 2021).

    H_0 = ReLU(L(x)); H_1 = GEN(H_0); H_l = H_(l-1) + ReLU(LN(GEN(H_(l-1)))); C = ReLU(L([H_0, H_1, ...]));
    scores = L(ReLU(L(gated attention over C))).
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 128,
        num_layers: int = 4,
        neighbours: int = 8,
        edges: str = "spatial",
        dropout: float = 0.25,
        graph_dropout: float = 0.1,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; `num_layers` counts the embedding, so there is one convolution fewer."""
        super().__init__()
        if edges not in ("spatial", "latent"):
            raise ValueError(f"edges are 'spatial' or 'latent', not {edges!r}")
        if num_layers < 2:
            raise ValueError(f"num_layers is {num_layers}: the embedding and at least one convolution make 2")
        self.scale, self.neighbours, self.edges = scale, neighbours, edges
        self.embed = embedding(dim, hidden, dropout, input_dropout)
        self.convolutions = nn.ModuleList(GENConv(hidden) for _ in range(num_layers - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(num_layers - 2))
        self.graph_dropout = Dropout(graph_dropout)
        width = num_layers * hidden
        self.phi = nn.Sequential(nn.Linear(width, width), nn.ReLU(), Dropout(dropout))
        self.pool = GatedAttentionPool(width, width, branch_dropout=dropout)
        self.rho = nn.Sequential(nn.Linear(width, width), nn.ReLU(), Dropout(dropout))
        self.head = nn.Linear(width, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        x, slide = features[self.scale], places.slide[self.scale]
        if self.edges == "spatial":
            near = nearest(places.cells[self.scale], slide, self.neighbours)  # (sum of n, k)
        else:
            near = most_similar(x, slide, self.neighbours)
        edges = edges_from(near)
        h = self.embed(x)  # (sum of n, hidden)
        layers = [h, self.convolutions[0](h, edges)]
        for convolution, norm in zip(self.convolutions[1:], self.norms, strict=True):
            h = layers[-1]
            layers.append(self.graph_dropout(h + torch.relu(norm(convolution(h, edges)))))
        c = self.phi(torch.cat(layers, 1))  # (sum of n, num_layers * hidden)
        return self.head(self.rho(self.pool(c, lengths[self.scale].tolist())))  # (b, n_out)


WEIGHTS = PublicWeights(
    case="patchgcn",
    model="patchgcn",
    read=lambda given: (
        given["fc.0.weight"].shape[1],
        given["classifier.bias"].shape[0],
        {
            "hidden": given["fc.0.bias"].shape[0],
            "num_layers": given["path_phi.0.bias"].shape[0] // given["fc.0.bias"].shape[0],
        },
    ),
    rules=(
        (r"^embed\.1\.", "fc.0."),
        (r"^convolutions\.(\d+)\.t$", r"layers.\1.conv.aggr_module.t"),
        (r"^convolutions\.(\d+)\.mlp\.3\.", r"layers.\1.conv.mlp.4."),
        (r"^convolutions\.(\d+)\.mlp\.", r"layers.\1.conv.mlp."),
        (r"^norms\.(\d+)\.", lambda found: f"layers.{int(found[1]) + 1}.norm."),
        (r"^phi\.", "path_phi."),
        (r"^pool\.content\.", "path_attention_head.attention_a.0."),
        (r"^pool\.gate\.", "path_attention_head.attention_b.0."),
        (r"^pool\.score\.", "path_attention_head.attention_c."),
        (r"^rho\.", "path_rho."),
        (r"^head\.", "classifier."),
    ),
    renamed=((r"\.conv\.t$", ".conv.aggr_module.t"),),
    unused=(r"^layers\.0\.norm\.",),
    hyperparameters={"k": "neighbours"},
    constants={"mlp_bias": True},
)

SPEC = ModelSpec(
    name="patchgcn",
    title="Patch-GCN",
    build=PatchGCN,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 64,
        "num_layers": 4,
        "neighbours": 8,
        "edges": "spatial",
        "dropout": 0.25,
        "graph_dropout": 0.1,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 128,
        "num_layers": 4,
        "neighbours": 8,
        "edges": "spatial",
        "dropout": 0.25,
        "graph_dropout": 0.1,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (32, 64, 128),
        "num_layers": (2, 3, 4, 5),
        "neighbours": (4, 8),
        "dropout": (0.0, 0.25, 0.5),
        "graph_dropout": (0.0, 0.1, 0.25),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    places=True,
    reference="Chen et al.: Whole Slide Images are 2D Point Clouds. MICCAI 2021.",
    equation="H_l = H_(l-1) + ReLU(LN(GENConv(H_(l-1)))) on the graph of the 8 nearest patches; gated attention over "
    "ReLU(L([H_0, H_1, H_2, H_3]))",
    cost="linear in n: 8 n messages of width `hidden` a layer, each kept for the gradient",
    repository="mahmoodlab/Patch-GCN 823adda",
    licence="GPL-3.0",
    defects=(
        "The input width 1024 is hard-coded: here it is that of the features.",
        "The norm of the first layer is never used: it does not exist here, and is passed over in public weights.",
        "Newer versions of torch_geometric drop the biases of the convolution silently: they are kept, as published.",
        "Bags above 100,000 patches are skipped without a word, in evaluation as well: no bag is skipped here.",
        "Latent edges are found by asking the index of features for coordinates: ours are found among features.",
        "Edges lead from a patch to its neighbours, so it hears those on whose list it is: kept, as published.",
        "Time bins come from all patients: here from the training set.",
    ),
)
