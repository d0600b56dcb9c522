"""ILRA-MIL: patches and a few latent vectors attend to each other in turn."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers.dropout import Dropout
from .public_weights import PublicWeights
from .spec import ModelSpec


class Block(nn.Module):
    """B(Q0, K0): Q, K, V = L(Q0), L(K0), L(K0); O = LN(Q + MHA(Q, K, V)); O = LN(O + ReLU(L(O))); O *= SiLU(L(Q0)).

    The last step only where `gated`, the LayerNorms only where `norm`.
    """

    def __init__(self, query: int, key: int, width: int, heads: int, gated: bool, norm: bool) -> None:
        """Attend from tokens of width `query` to tokens of width `key`, in `width`."""
        super().__init__()
        self.query, self.key, self.value = nn.Linear(query, width), nn.Linear(key, width), nn.Linear(key, width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm0 = nn.LayerNorm(width) if norm else nn.Identity()
        self.norm1 = nn.LayerNorm(width) if norm else nn.Identity()
        self.out = nn.Linear(width, width)
        self.gate = nn.Linear(query, width) if gated else None

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """Attend from query (m, .) to key (n, .) of one bag: -> (m, width)."""
        q = self.query(query)  # (m, width)
        told, _ = self.attention(q[None], self.key(key)[None], self.value(key)[None], need_weights=False)
        o = self.norm0(q + told[0])
        o = self.norm1(o + F.relu(self.out(o)))
        return o if self.gate is None else o * F.silu(self.gate(query))


class ILRA(nn.Module):
    """Iterative low-rank attention (Xiang et al. 2023).

    Two layers, each with r latents Z: Y = B(Z, X), X <- B(X, Y), both gated. Then one query s reads the patches,
    z = B(s, X), not gated; out = L(z).
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 256,
        num_heads: int = 8,
        rank: int = 64,
        layers: int = 2,
        layer_norm: bool = True,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; `rank` = r; `dropout` acts on the patches after every layer."""
        super().__init__()
        self.scale = scale
        self.input_dropout, self.dropout = Dropout(input_dropout), Dropout(dropout)
        widths = [dim] + [hidden] * (layers - 1)
        block = (hidden, num_heads, True, layer_norm)
        self.latents = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(rank, hidden)) for _ in widths)
        self.to_latents = nn.ModuleList(Block(hidden, width, *block) for width in widths)
        self.to_patches = nn.ModuleList(Block(width, hidden, *block) for width in widths)
        self.seed = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, hidden)))
        self.pool = Block(hidden, hidden, hidden, num_heads, False, layer_norm)
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        bags = self.input_dropout(features[self.scale]).split(lengths[self.scale].tolist())
        return self.head(torch.cat([self._read(bag) for bag in bags]))

    def _read(self, x: Tensor) -> Tensor:
        """One bag (n, dim): -> (1, hidden)."""
        for latents, to_latents, to_patches in zip(self.latents, self.to_latents, self.to_patches, strict=True):
            x = self.dropout(to_patches(x, to_latents(latents, x)))  # (n, hidden)
        return self.pool(self.seed, x)


WEIGHTS = PublicWeights(
    case="ilra",
    model="ilra",
    read=lambda given: (
        given["gab_blocks.0.project_forward.fc_k.weight"].shape[1],
        given["classifier.bias"].shape[0],
        {
            "hidden": given["classifier.weight"].shape[1],
            "rank": given["gab_blocks.0.latent"].shape[-2],
            "layers": sum(key.endswith(".latent") for key in given),
            "layer_norm": "pooling.mha.ln0.weight" in given,
        },
    ),
    rules=(
        (r"^latents\.(\d+)$", r"gab_blocks.\1.latent"),
        (r"^to_latents\.(\d+)\.", r"gab_blocks.\1.project_forward."),
        (r"^to_patches\.(\d+)\.", r"gab_blocks.\1.project_backward."),
        (r"^seed$", "pooling.S"),
        (r"^pool\.", "pooling.mha."),
        (r"^head\.", "classifier."),
        (r"\.attention\.", ".multihead_attn."),
        (r"\.query\.", ".fc_q."),
        (r"\.key\.", ".fc_k."),
        (r"\.value\.", ".fc_v."),
        (r"\.out\.", ".fc_o."),
        (r"\.norm([01])\.", r".ln\1."),
        (r"\.gate\.", ".gate.0."),
    ),
    hyperparameters={"heads": "num_heads"},
    unused=(r"\.ln[01]\.",),
)


SPEC = ModelSpec(
    name="ilra",
    title="ILRA-MIL",
    build=ILRA,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 128,
        "num_heads": 8,
        "rank": 16,
        "layers": 2,
        "layer_norm": True,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 256,
        "num_heads": 8,
        "rank": 64,
        "layers": 2,
        "layer_norm": True,
        "dropout": 0.0,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (64, 128, 256),
        "rank": (1, 16, 64),
        "layers": (1, 2),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    reference="Xiang et al.: Exploring Low-Rank Property in Multiple Instance Learning for Whole Slide Image "
    "Classification. ICLR 2023.",
    equation="B(Q0, K0): O = LN(Q + MHA(Q, K, V)), O = LN(O + ReLU(L(O))), times SiLU(L(Q0)). Twice, with r latents Z: "
    "Y = B(Z, X), X <- B(X, Y). z = B(s, X) of one query s, without the gate; out = L(z).",
    cost="linear: n r",
    repository="jinxixiang/low_rank_wsi bb45b9b",
    licence="none stated",
    defects=(
        "The authors' configuration has r = 1, whose way back is a softmax over one key, constantly 1; MIL-Lab has "
        "r = 64, taken here as published.",
        "LayerNorm is off in the constructor and on in the authors' configuration: on (`layer_norm`).",
        "Copies in other collections have r pooling queries and so r predictions: one query here.",
    ),
)
