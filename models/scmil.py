"""SCMIL: patches that matter, gathered in clusters of like look and place, attend to each other."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .contract import Places
from .layers.dropout import Dropout
from .layers.gated_attention import GatedAttentionPool
from .layers.kmeans import kmeans
from .layers.mixture import MixtureHead
from .layers.neighbours import reading_order
from .layers.self_attention import SelfAttention
from .public_weights import PublicWeights
from .spec import ModelSpec


class SCMIL(nn.Module):
    """Sparse context-aware MIL (Yang et al. 2024).

    f = sigmoid(L(GELU(L(x)))); y = f x. Rows with f > 0.5 are clustered, slide by slide, by k-means on look and place,
    and attend within their cluster: y += MHA(y). The others stay as they are. scores = head(gated attention over y).
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 0,
        filter_hidden: int = 256,
        attention: int = 256,
        num_heads: int = 8,
        num_layers: int = 1,
        cluster_size: int = 64,
        feature_weight: float = 0.8,
        head: str = "linear",
        mixture_hidden: int = 256,
        dropout: float = 0.1,
        pool_dropout: float = 0.25,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; work at width `hidden`, or at that of the features where it is 0, as published.

        `cluster_size` is the mean size of a cluster; features count `feature_weight` in k-means, places the rest. With
        the `mixture` head, n_out is three times the number of components: see `MixtureHead`.
        """
        super().__init__()
        if head not in ("linear", "mixture"):
            raise ValueError(f"the head is 'linear' or 'mixture', not {head!r}")
        self.scale, self.cluster_size, self.feature_weight = scale, cluster_size, feature_weight
        self.input_dropout = Dropout(input_dropout)
        self.project = nn.Linear(dim, hidden) if hidden else nn.Identity()
        width = hidden or dim
        self.filter = nn.Sequential(nn.Linear(width, filter_hidden), nn.GELU(), nn.Linear(filter_hidden, 1))
        self.layers = nn.ModuleList(SelfAttention(width, num_heads, dropout) for _ in range(num_layers))
        self.dropout = Dropout(dropout)
        self.pool = GatedAttentionPool(width, attention, branch_dropout=pool_dropout)
        self.head = MixtureHead(width, n_out, mixture_hidden, dropout) if head == "mixture" else nn.Linear(width, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        x = self.project(self.input_dropout(features[self.scale]))  # (sum of n, width)
        kept = torch.sigmoid(self.filter(x))  # (sum of n, 1)
        y = kept * x
        order, runs = self.clustered(y, kept[:, 0] > 0.5, places.cells[self.scale], places.slide[self.scale], sizes)
        if runs:
            attended = y[order]
            for layer in self.layers:
                attended = attended + self.dropout(layer(attended, runs))
            y = y.index_copy(0, order, attended)
        return self.head(self.pool(y, sizes))  # (b, n_out)

    @torch.no_grad()
    def clustered(
        self, y: Tensor, kept: Tensor, cells: Tensor, slide: Tensor, sizes: list[int]
    ) -> tuple[Tensor, list[tuple[int, int]]]:
        """Kept rows, cluster by cluster, clusters of equal size together; and (clusters, rows) of every such size.

        Clusters are data: nothing of them is differentiated. A bag of one kept row has no cluster.
        """
        kept = kept.clone()
        for bag in torch.arange(len(kept), device=y.device).split(sizes):
            if int(kept[bag].sum()) < 2:
                kept[bag] = False
        rows = kept.nonzero().squeeze(1)
        # In an order that the rows of the file have no part in.
        rows = rows[y[rows].sum(1).argsort(stable=True)]
        rows = rows[reading_order(cells[rows], slide[rows])]
        clusters: list[Tensor] = []
        for of in rows.split(torch.unique_consecutive(slide[rows], return_counts=True)[1].tolist()):
            label = self.cluster(y[of], cells[of])
            for number in torch.unique(label).tolist():
                members = of[label == number]
                runs = max(1, len(members) // self.cluster_size)
                clusters += members.tensor_split(runs) if len(members) >= 2 * self.cluster_size else [members]
        clusters.sort(key=len)
        lengths = torch.tensor([len(c) for c in clusters])
        found, counts = torch.unique_consecutive(lengths, return_counts=True)
        return torch.cat([*clusters, rows[:0]]), list(zip(counts.tolist(), found.tolist(), strict=True))

    def cluster(self, y: Tensor, cells: Tensor) -> Tensor:
        """The cluster of each kept row of one slide: y (n, width), cells (n, 2) -> (n,). Always the same draws."""
        places = cells.to(y.dtype)
        points = torch.cat(
            [self.feature_weight * _standard(y), (1 - self.feature_weight) * _standard(places)], 1
        ).float()  # (n, width + 2)
        k = max(1, len(y) // self.cluster_size)
        return kmeans(points, k, 5, torch.Generator().manual_seed(0))[1]


def _standard(x: Tensor) -> Tensor:
    """Minus the mean, over the standard deviation, of all entries at once."""
    return (x - x.mean()) / x.std(correction=0).clamp(min=1e-6)


def _rules(prefix: str) -> tuple[tuple[str, str], ...]:
    return (
        (r"^filter\.", f"{prefix}softfilter.layers."),
        (r"^layers\.(\d+)\.qkv\.", rf"{prefix}attens.\1.to_qkv."),
        (r"^layers\.(\d+)\.out\.", rf"{prefix}attens.\1.to_out.0."),
        (r"^pool\.content\.", f"{prefix}amil.attention_a.0."),
        (r"^pool\.gate\.", f"{prefix}amil.attention_b.0."),
        (r"^pool\.score\.", f"{prefix}amil.attention_c."),
    )


_NAMES = {"heads": "num_heads", "layers": "num_layers"}
_UNUSED = (r"(^|\.)fc1\.0\.", r"attens\.\d+\.atten\.")

WEIGHTS = (
    PublicWeights(
        case="scmil",
        model="scmil",
        read=lambda given: (
            given["softfilter.layers.0.weight"].shape[1],
            given["classifier.bias"].shape[0],
            {
                "filter_hidden": given["softfilter.layers.0.weight"].shape[0],
                "attention": given["amil.attention_a.0.bias"].shape[0],
                "num_layers": sum(key.endswith(".to_qkv.bias") and ".atten." not in key for key in given),
            },
        ),
        rules=(*_rules(""), (r"^head\.", "classifier.")),
        hyperparameters=_NAMES,
        fixed={"head": "linear", "hidden": 0},
        told=("hidden",),
        unused=_UNUSED,
    ),
    PublicWeights(
        case="scmil-mdn",
        model="scmil",
        read=lambda given: (
            given["backbone.softfilter.layers.0.weight"].shape[1],
            3 * given["mlp.fc.bias"].shape[0],
            {
                "filter_hidden": given["backbone.softfilter.layers.0.weight"].shape[0],
                "attention": given["backbone.amil.attention_a.0.bias"].shape[0],
                "mixture_hidden": given["mlp.layers.0.bias"].shape[0],
                "num_layers": sum(key.endswith(".to_qkv.bias") and ".atten." not in key for key in given),
            },
        ),
        rules=(
            *_rules("backbone."),
            (r"^head\.first\.", "mlp.layers.0."),
            (r"^head\.second\.", "mlp.layers.3."),
            (r"^head\.weight\.", "mlp.fc."),
            (r"^head\.mu$", "params.mu"),
            (r"^head\.sigma$", "params.sigma"),
            (r"^head\.to_(mu|sigma)\.", r"layer_\1.0."),
        ),
        hyperparameters=_NAMES,
        fixed={"head": "mixture", "hidden": 0},
        told=("hidden", "mdn_hidden", "components"),
        unused=_UNUSED,
    ),
)

SPEC = ModelSpec(
    name="scmil",
    title="SCMIL",
    learning_rate=1e-3,
    build=SCMIL,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 256,
        "filter_hidden": 128,
        "attention": 128,
        "num_heads": 8,
        "num_layers": 1,
        "cluster_size": 64,
        "feature_weight": 0.8,
        "head": "linear",
        "mixture_hidden": 128,
        "dropout": 0.1,
        "pool_dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 0,
        "filter_hidden": 256,
        "attention": 256,
        "num_heads": 8,
        "num_layers": 1,
        "cluster_size": 64,
        "feature_weight": 0.8,
        "head": "linear",
        "mixture_hidden": 256,
        "dropout": 0.1,
        "pool_dropout": 0.25,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (128, 256, 512),
        "attention": (64, 128, 256),
        "cluster_size": (16, 32, 64),
        "feature_weight": (0.5, 0.8, 1.0),
        "dropout": (0.0, 0.1, 0.25),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    places=True,
    reference="Yang et al.: SCMIL: Sparse Context-aware Multiple Instance Learning for Predicting Cancer Survival "
    "Probability Distribution in Whole Slide Images. MICCAI 2024.",
    equation="y = sigmoid(f(x)) x; rows with sigmoid(f(x)) > 0.5 attend within k-means clusters of look and place; "
    "gated attention",
    cost="n x 64 attention weights a head; k-means with n / 64 centres, n^2 / 64 distances in each of 5 rounds",
    repository="yang-ze-kang/SCMIL ec6759a",
    licence="MIT",
    defects=(
        "`fc1` is skipped whenever the filter is on, so the width is that of the features: `hidden` 0; else projected.",
        "`fc1` and a second attention, half of the weights, are never used: left out, passed over in public weights.",
        "k-means runs in cuML, whose labels no other library gives: in torch here, with fixed draws, slide by slide.",
        "The filter gets no gradient through the decision to keep a patch: kept.",
        "Mean and deviation are taken over all entries and both coordinates at once: kept.",
        "The mixture's e^t overflows beyond 88.7 months in single precision: ours uses t there.",
        "The mixture's means and deviations are the same for all patients: kept. `--set head=mixture --loss mixture` "
        "trains it; the linear head, which all other losses read, is the default.",
    ),
)
