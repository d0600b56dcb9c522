"""ProtoSurv: prototypes of each patch type gather what is like them, then read the graph of the tissue."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import DataError
from .contract import Places, Trained, TrainingBags
from .layers.dropout import Dropout
from .layers.gen_conv import GENConv
from .layers.kmeans import kmeans
from .layers.kmeans import nearest as nearest_centre
from .layers.messages import edges_from
from .layers.neighbours import nearest
from .layers.scatter import scatter_mean
from .layers.segments import segment_mean
from .public_weights import PublicWeights
from .spec import ModelSpec

PATCHES = 20_000
"""How many patches of the training set the types are fitted on; their scale is that of `scale`."""


class Gather(nn.Module):
    """A few queries attend to many patches: u = L(A V); q += LN(u); q += LN(L(GELU(LN(L(q))))).

    A = softmax(Q K^T / sqrt(d / heads)), Q and K normalised per head by a LayerNorm without parameters.
    """

    def __init__(self, width: int, source: int, heads: int, hidden: int, dropout: float) -> None:
        """Queries of `width`, patches of width `source`. Raises ValueError where heads do not divide width."""
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide the width {width}")
        self.heads = heads
        self.q, self.k, self.v = nn.Linear(width, width), nn.Linear(source, width), nn.Linear(source, width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, q: Tensor, x: Tensor, sizes: list[int]) -> Tensor:
        """Queries q (b, k, width) of each bag of x (sum of n, source) -> (b, k, width)."""
        queries, keys = (
            F.layer_norm(t.unflatten(-1, (self.heads, -1)), (t.shape[-1] // self.heads,))
            for t in (self.q(q), self.k(x))
        )  # (b, k, heads, d), (sum of n, heads, d)
        queries = queries.transpose(1, 2) * queries.shape[-1] ** -0.5  # (b, heads, k, d)
        # Weights sum to one, so the values need not be computed for every patch: A (x W + b) = (A x) W + b.
        seen = torch.stack(
            [
                (query @ key.permute(1, 2, 0)).softmax(2) @ bag.to(query.dtype)  # (heads, k, source)
                for query, key, bag in zip(queries, keys.split(sizes), x.split(sizes), strict=True)
            ]
        )  # (b, heads, k, source)
        value = self.v.weight.unflatten(0, (self.heads, -1))  # (heads, d, source)
        attended = (seen @ value.transpose(1, 2).to(seen.dtype)).transpose(1, 2).flatten(
            2
        ) + self.v.bias  # (b, k, width)
        q = q + self.norm1(self.dropout(self.out(attended)))
        return q + self.norm2(self.dropout(self.mlp(q)))


class ProtoSurv(nn.Module):
    """Heterogeneous prototypes over a graph of patches (Wu et al. 2024), with patch types from k-means.

    Context: H = GELU(LN(L(x))), graph convolutions with GELU, joined to ctx. Prototypes of type k: several around the
    mean of its patches (of the bag, where it has none). They gather from all patches, then from ctx; scores = L(LN(mean
    of the prototypes)). In training a penalty keeps prototypes near their type and apart from each other.

    The paper's types come from a classifier that was not released. Here `prepare` fits k-means on patches of the
    training set, and a patch has the type of the nearest centre: a variant, so named. With `type_vectors` the types are
    zero-shot, as the paper's alternative has them: see `read_type_vectors`.
    """

    centres: Tensor

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 128,
        num_layers: int = 4,
        neighbours: int = 4,
        embed_dim: int = 768,
        types: int = 5,
        prototypes: int = 8,
        iterations: int = 2,
        num_heads: int = 3,
        fusion_layers: int = 4,
        fusion_heads: int = 3,
        ffn: int = 512,
        compatibility: float = 0.01,
        orthogonality: float = 0.1,
        dropout: float = 0.25,
        attention_dropout: float = 0.2,
        input_dropout: float = 0.0,
        type_vectors: str = "",
    ) -> None:
        """Read `scale`; `types` kinds of patches with `prototypes` each, of width `embed_dim`.

        type_vectors: `path@hash` of a file for `read_type_vectors`; k-means where it is empty. Only `prepare` reads it.
        """
        super().__init__()
        self.type_vectors = type_vectors
        self.scale, self.neighbours = scale, neighbours
        self.compatibility, self.orthogonality = compatibility, orthogonality
        self.iterations = iterations
        self.register_buffer("centres", torch.zeros(types, dim))
        self.input_dropout = Dropout(input_dropout)
        self.embed = nn.Sequential(nn.Linear(dim, hidden), nn.LayerNorm(hidden), nn.GELU(), Dropout(dropout))
        self.convolutions = nn.ModuleList(GENConv(hidden) for _ in range(num_layers - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(num_layers - 2))
        self.context = nn.Sequential(
            nn.Linear(num_layers * hidden, embed_dim),
            nn.LayerNorm(embed_dim),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(embed_dim, embed_dim),
        )
        self.around = nn.Sequential(nn.Linear(dim, embed_dim), nn.LayerNorm(embed_dim), nn.GELU())
        self.log_sigma = nn.Parameter(torch.zeros(types, 1, embed_dim))
        self.offsets = nn.Parameter(torch.randn(types, prototypes, embed_dim))
        self.gather = nn.ModuleList(
            Gather(embed_dim, dim, num_heads, ffn, attention_dropout) for _ in range(types * iterations)
        )
        self.fusion = nn.ModuleList(
            Gather(embed_dim, embed_dim, fusion_heads, ffn, attention_dropout) for _ in range(fusion_layers)
        )
        self.head = nn.Linear(embed_dim, n_out, bias=False)
        self.back = nn.Sequential(
            nn.Linear(embed_dim, dim, bias=False), nn.LayerNorm(dim), nn.GELU(), nn.Linear(dim, dim, bias=False)
        )

    def prepare(self, bags: TrainingBags, patients: Sequence[str], rng: Any) -> None:
        """Fit the centres of the types on equally many random patches of each patient of the training set.

        Zero-shot types need no fit. Errors: `DataError` as `read_type_vectors`.
        """
        if self.type_vectors:
            self.centres.copy_(read_type_vectors(self.type_vectors, *self.centres.shape))
            return
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        each = max(1, PATCHES // len(patients))
        drawn = []
        for patient in patients:
            x = bags[patient].features[self.scale]  # (n, dim)
            rows = torch.randperm(len(x), generator=generator)[:each]
            drawn.append(torch.from_numpy(x[rows.numpy()]).float())  # a copy: bags are read-only
        x = torch.cat(drawn).to(self.centres.device)
        k = min(len(self.centres), len(x))
        self.centres[:k] = kmeans(x, k, 20, generator)[0]

    def types(self, x: Tensor) -> Tensor:
        """The type of each patch: (n, dim) -> (n,)."""
        if self.type_vectors:
            return (x.float() @ self.centres.float().t()).argmax(1)
        return nearest_centre(x.float(), self.centres.float())[1]

    def forward(
        self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places
    ) -> Tensor | Trained:
        """Score the bags of a packed batch: -> (b, n_out); in training with the penalty of each."""
        x, sizes = features[self.scale], lengths[self.scale].tolist()
        edges = edges_from(nearest(places.cells[self.scale], places.slide[self.scale], self.neighbours))
        types = self.types(x)  # (sum of n,)
        x = self.input_dropout(x)
        h = self.embed(x)  # (sum of n, hidden)
        layers = [h, self.convolutions[0](h, edges)]
        for convolution, norm in zip(self.convolutions[1:], self.norms, strict=True):
            layers.append(layers[-1] + F.gelu(norm(convolution(layers[-1], edges))))
        context = self.context(torch.cat(layers, 1))  # (sum of n, embed_dim)
        prototypes = self.prototypes_of(x, types, sizes)  # (b, types, prototypes, embed_dim)
        fused = prototypes.flatten(1, 2)
        for block in self.fusion:
            fused = block(fused, context, sizes)
        z = fused.mean(1)  # (b, embed_dim)
        scores = self.head(F.layer_norm(z, z.shape[1:]))
        if not self.training:
            return scores
        bags = zip(x.split(sizes), types.split(sizes), prototypes, strict=True)
        return Trained(scores, penalty=torch.stack([self.penalty(*bag) for bag in bags]))

    def prototypes_of(self, x: Tensor, types: Tensor, sizes: list[int]) -> Tensor:
        """What the prototypes of each bag gather from all of its patches: (b, types, prototypes, embed_dim)."""
        count = len(self.centres)
        bag = torch.repeat_interleave(torch.tensor(sizes, device=x.device))  # (sum of n,)
        group = bag * count + types
        means = scatter_mean(x, group, len(sizes) * count).unflatten(0, (-1, count))  # (b, types, dim)
        absent = torch.bincount(group, minlength=len(sizes) * count).view(-1, count, 1) == 0
        means = torch.where(absent, segment_mean(x, sizes)[:, None], means)
        start = (
            self.around(means)[:, :, None] + self.log_sigma.exp() * self.offsets
        )  # (b, types, prototypes, embed_dim)
        found = []
        for k in range(count):
            q = start[:, k]
            for block in self.gather[k * self.iterations : (k + 1) * self.iterations]:
                q = block(q, x, sizes)
            found.append(q)
        return torch.stack(found, 1)

    def penalty(self, x: Tensor, types: Tensor, prototypes: Tensor) -> Tensor:
        """Weighted compatibility and orthogonality of one bag."""
        back = self.back(prototypes)  # (types, prototypes, dim)
        return self.compatibility * compatibility(x, types, back) + self.orthogonality * orthogonality(back)


def read_type_vectors(file: str, types: int, dim: int) -> Tensor:
    """What tells the types apart by text, as CONCH's zero-shot classifier does (Lu et al. 2024): -> (types, dim).

    file: `path@hash`. What torch.save wrote of a dict: a tensor a type, (prompts, d), the embeddings of its prompts.
    Each is brought to length 1, and so is their mean. A patch x has the type whose vector has the largest inner product
    with x P: `projection`, (dim, d), is the image encoder's last map into the space of the texts. Without it, features
    are taken to lie there. P is folded into the vectors; the length of x P is the same for all types.

    Raises
    ------
    DataError
        The file is missing, damaged, or not the one of the hash; or shapes do not fit the model.
    """
    path, _, digest = file.rpartition("@")
    try:
        content = Path(path).read_bytes()
        found = {str(name): x.float() for name, x in torch.load(io.BytesIO(content), weights_only=True).items()}
    except Exception as error:  # torch.load raises what the file makes it raise
        raise DataError(f"{path} cannot be read as tensors by name ({type(error).__name__}: {error})") from error
    if hashlib.sha256(content).hexdigest()[:10] != digest:
        raise DataError(f"{path} has changed since the experiment was named: run the command again")
    projection = found.pop("projection", None)
    if len(found) != types:
        raise DataError(f"{path} holds {len(found)} types ({', '.join(sorted(found))}): add --set types={len(found)}")
    width = dim if projection is None else projection.shape[-1]
    if wrong := [name for name, x in sorted(found.items()) if x.dim() != 2 or x.shape[1] != width or not len(x)]:
        raise DataError(f"{path}: {', '.join(wrong)} should be (prompts, {width}), as wide as what it is compared with")
    vectors = F.normalize(torch.stack([F.normalize(found[name], dim=1).mean(0) for name in sorted(found)]), dim=1)
    if projection is None:
        return vectors
    if projection.shape[0] != dim:
        raise DataError(f"{path}: its projection reads {projection.shape[0]} numbers, and the features have {dim}")
    return vectors @ projection.t()


def compatibility(x: Tensor, types: Tensor, back: Tensor) -> Tensor:
    """Patches near the prototypes of their type and far from those of others: x (n, dim), back (types, k, dim).

    dist(i, k) = mean over the prototypes of k of |x_i - r|;
    (sum of dist(i, type_i) + logsumexp of -dist(i, k) over k != type_i) / (n types).
    """
    distance = torch.cdist(x, back.flatten(0, 1)).unflatten(1, back.shape[:2]).mean(2)  # (n, types)
    own = F.one_hot(types, back.shape[0]).bool()
    others = (-distance).masked_fill(own, -torch.inf)
    return (distance[own].sum() + others.flatten().logsumexp(0)) / own.numel()


def orthogonality(back: Tensor) -> Tensor:
    """Frobenius norm of G / |G| - I / |I| with G = R^T R, R the prototypes (types * k, dim), as published.

    Its square is 2 - 2 tr(G) / (|G| |I|), and |G| = |R R^T|, so the dim x dim matrix is not needed.
    """
    rows = back.flatten(0, 1)
    gram = (rows @ rows.t()).norm()
    return (2 - 2 * rows.square().sum() / (gram * rows.shape[1] ** 0.5)).clamp(min=0).sqrt()


WEIGHTS = PublicWeights(
    case="protosurv",
    model="protosurv",
    read=lambda given: (
        given["pre_fc.0.weight"].shape[1],
        given["risk_prediction_layer.weight"].shape[0],
        {
            "hidden": given["pre_fc.0.bias"].shape[0],
            "num_layers": given["post_fc.0.weight"].shape[1] // given["pre_fc.0.bias"].shape[0],
            "embed_dim": given["post_fc.0.bias"].shape[0],
            "types": given["ProtoGNN.proto_attention.rand_mul"].shape[0],
            "prototypes": given["ProtoGNN.proto_attention.rand_mul"].shape[1],
            "iterations": sum(key.startswith("ProtoGNN") and key.endswith("to_q.bias") for key in given)
            // given["ProtoGNN.proto_attention.rand_mul"].shape[0],
            "fusion_layers": sum(key.startswith("proto_fusion") and key.endswith("to_q.bias") for key in given),
            "ffn": given["ProtoGNN.proto_attention.layers.0.mlp.0.bias"].shape[0],
        },
    ),
    rules=(
        (r"^embed\.", "pre_fc."),
        (r"^convolutions\.(\d+)\.t$", r"total_layers.\1.conv.aggr_module.t"),
        (r"^convolutions\.(\d+)\.mlp\.3\.", r"total_layers.\1.conv.mlp.4."),
        (r"^convolutions\.(\d+)\.mlp\.", r"total_layers.\1.conv.mlp."),
        (r"^norms\.(\d+)\.", lambda found: f"total_layers.{int(found[1]) + 1}.norm."),
        (r"^context\.", "post_fc."),
        (r"^around\.", "ProtoGNN.proto_attention.proto_mlp."),
        (r"^log_sigma$", "ProtoGNN.proto_attention.proto_logsigma"),
        (r"^offsets$", "ProtoGNN.proto_attention.rand_mul"),
        (r"^gather\.", "ProtoGNN.proto_attention.layers."),
        (r"^fusion\.", "proto_fusion_to_p.layers."),
        (r"(layers\.\d+)\.([qkv])\.", r"\1.to_\2."),
        (r"(layers\.\d+)\.out\.", r"\1.out_proj."),
        (r"(layers\.\d+)\.norm1\.", r"\1.att_norm."),
        (r"(layers\.\d+)\.norm2\.", r"\1.post_norm."),
        (r"^head\.", "risk_prediction_layer."),
        (r"^back\.", "mlp_comp."),
    ),
    renamed=((r"\.conv\.t$", ".conv.aggr_module.t"),),
    hyperparameters={
        "dropout_rate": "dropout",
        "proto_n_head": "num_heads",
        "fusion_n_head": "fusion_heads",
        "k": "neighbours",
    },
    told=(
        "input_dim",
        "num_layers",
        "hidden_dim",
        "nr_types",
        "num_proto",
        "proto_iters",
        "fusion_layer_to_p",
        "dim_proto",
        "proto_fc_hidden_dim",
    ),
    unused=(r"^total_layers\.\d+\.layer\.", r"^total_layers\.0\.norm\.", r"^ProtoGNN\.(norm|lin|proto_mlp)\."),
    ours_alone=(r"^centres$",),
)

SPEC = ModelSpec(
    name="protosurv",
    title="ProtoSurv (k-means types)",
    build=ProtoSurv,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 32,
        "num_layers": 4,
        "neighbours": 4,
        "embed_dim": 96,
        "types": 5,
        "prototypes": 4,
        "iterations": 1,
        "num_heads": 3,
        "fusion_layers": 2,
        "fusion_heads": 3,
        "ffn": 128,
        "compatibility": 0.01,
        "orthogonality": 0.1,
        "dropout": 0.25,
        "attention_dropout": 0.2,
        "input_dropout": 0.0,
        "type_vectors": "",
    },
    reference_defaults={
        "scale": 20,
        "hidden": 128,
        "num_layers": 4,
        "neighbours": 4,
        "embed_dim": 768,
        "types": 5,
        "prototypes": 8,
        "iterations": 2,
        "num_heads": 3,
        "fusion_layers": 4,
        "fusion_heads": 3,
        "ffn": 512,
        "compatibility": 0.01,
        "orthogonality": 0.1,
        "dropout": 0.25,
        "attention_dropout": 0.2,
        "input_dropout": 0.0,
        "type_vectors": "",
    },
    search_space={
        "hidden": (32, 64, 128),
        "embed_dim": (96, 192, 384),
        "types": (3, 5, 8),
        "prototypes": (2, 4, 8),
        "compatibility": (0.0, 0.01, 0.1),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    places=True,
    files=("type_vectors",),
    reference="Wu et al.: Leveraging Tumor Heterogeneity: Heterogeneous Graph Representation Learning for Cancer "
    "Survival Prediction in Whole Slide Images. NeurIPS 2024.",
    equation="prototypes of each patch type attend to all patches, then to a graph convolution of the patches; scores "
    "= L(LN(mean of the prototypes)); penalties on the prototypes",
    cost="linear in n: types x iterations projections of all patches",
    repository="wjx-error/ProtoSurv c66e0ce",
    licence="none stated",
    defects=(
        "Patch types come from a classifier that was not released: here k-means on the training set, or, with a "
        "file of prompts' vectors (`type_vectors`), the zero-shot types of an encoder with a text side such as CONCH: "
        "variants.",
        "The compatibility loss crashes when a slide lacks the last type: here all types are always counted.",
        "`forward` seeds the global random generator: nothing is seeded here.",
        "Only a patient's first slide is used, and 25,000 patches at most in training: here all.",
        "Training always adds noise to patches and drops some, and edges: not part of the method, left out.",
        "Selected and reported on the same patients, batches without an event skipped: the recipe's ways here.",
        "Orthogonality is asked of the features' Gram matrix, of low rank, so it cannot reach 0: kept.",
        "Keys and values of ten blocks are each computed for all patches: values here for the prototypes alone.",
    ),
)
