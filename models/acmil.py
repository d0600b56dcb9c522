"""ACMIL: several attention branches, pushed apart, with their strongest patches masked at random."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import Trained
from .layers.dropout import Dropout
from .layers.gated_attention import GatedAttention
from .layers.segments import segment_softmax, segment_weighted_sum
from .public_weights import PublicWeights
from .spec import ModelSpec

FORMS = ("gated", "heads")


class ACMIL(nn.Module):
    """Attention-challenging MIL (Zhang et al. 2024).

    H = ReLU(W X), no bias; T branches, A_t the softmax over the bag of branch t's scores. In `gated` form z_t = A_t^T
    H, branch_t = L_t(z_t) and out = L(mean_t A_t^T H), the scores being those of one gated attention with T columns. In
    `heads` form branch t is a multi-head attention with one query of its own, and the mean of the branches' maps is
    applied head by head to values of its own.

    In training a random 60% of each branch's m = 10 strongest patches are masked; the branches are further views, of
    weight 1 / T each; the penalty is the mean cosine of two branches' maps.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 128,
        attention: int = 128,
        branches: int = 5,
        form: str = "gated",
        num_heads: int = 8,
        masked: int = 10,
        mask_ratio: float = 0.6,
        diversity: float = 1.0,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; `masked` = m; `diversity` weighs the penalty; `num_heads` and 0.1 dropout belong to `heads`.

        Raises ValueError for a `form` that is none.
        """
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"form is one of {FORMS}, not {form!r}")
        self.scale, self.masked, self.mask_ratio, self.diversity = scale, masked, mask_ratio, diversity
        self.embed = nn.Sequential(
            Dropout(input_dropout), nn.Linear(dim, hidden, bias=False), nn.ReLU(), Dropout(dropout)
        )
        if form == "gated":
            self.branches = _GatedBranches(hidden, attention, branches)
        else:
            self.branches = _HeadBranches(hidden, num_heads, branches)
        self.branch_heads = nn.ModuleList(nn.Linear(hidden, n_out) for _ in range(branches))
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor | Trained:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        h = self.embed(features[self.scale])  # (sum of n, hidden)
        raw = self.branches.scores(h)  # (sum of n, T * maps), the maps of a branch together
        if self.training and self.masked:
            raw = torch.cat([self._mask(bag) for bag in raw.split(sizes)])
        weights = segment_softmax(raw, sizes).unflatten(1, (len(self.branch_heads), -1))  # (sum of n, T, maps)
        scores = self.head(self.branches.whole(weights.mean(1), h, sizes))
        if not self.training:
            return scores
        z = self.branches.each(weights, h, sizes)  # T times (b, hidden)
        views = torch.stack([head(part) for head, part in zip(self.branch_heads, z, strict=True)])
        penalty = torch.stack([diversity(bag) for bag in weights.split(sizes)])  # (b,)
        return Trained(scores, views, 1 / len(views), self.diversity * penalty)

    def _mask(self, raw: Tensor) -> Tensor:
        """Set a random share of each map's strongest patches far below the others: (n, maps) -> (n, maps)."""
        m = min(self.masked, len(raw))
        strongest = raw.detach().topk(m, 0).indices  # (m, maps)
        chosen = torch.rand(strongest.shape, device=raw.device).argsort(0)[: int(self.mask_ratio * m)]
        return raw.scatter(0, strongest.gather(0, chosen), -1e9)


def diversity(weights: Tensor) -> Tensor:
    """Mean cosine of the maps of every two branches, map by map: (n, T, maps) -> ()."""
    pairs = list(combinations(range(weights.shape[1]), 2))
    if not pairs:
        return weights.new_zeros(())
    return torch.stack([F.cosine_similarity(weights[:, s], weights[:, t], dim=0).mean() for s, t in pairs]).mean()


class _GatedBranches(GatedAttention):
    """Branches that are columns of one gated attention."""

    def __init__(self, width: int, attention: int, branches: int) -> None:
        super().__init__(width, attention, branches)

    def whole(self, weights: Tensor, h: Tensor, sizes: list[int]) -> Tensor:
        """Pool by the mean map: weights (sum of n, 1) -> (b, width)."""
        return segment_weighted_sum(weights, h, sizes).squeeze(1)

    def each(self, weights: Tensor, h: Tensor, sizes: list[int]) -> list[Tensor]:
        """Pool by every branch: weights (sum of n, T, 1) -> T times (b, width)."""
        return list(segment_weighted_sum(weights.squeeze(2), h, sizes).unbind(1))


class _HeadBranches(nn.Module):
    """Branches that are multi-head attentions with one query each."""

    def __init__(self, width: int, heads: int, branches: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide the width {width}")
        self.heads = heads
        self.queries = nn.Parameter(1e-6 * torch.randn(branches, width))
        self.query = nn.ModuleList(nn.Linear(width, width) for _ in range(branches))
        self.key = nn.ModuleList(nn.Linear(width, width) for _ in range(branches))
        self.readers = nn.ModuleList(_Reader(width) for _ in range(branches))
        self.reader = _Reader(width)

    def scores(self, h: Tensor) -> Tensor:
        """Scaled products of the queries and the keys: (rows, width) -> (rows, T * heads)."""
        found = []
        for query, to_query, to_key in zip(self.queries, self.query, self.key, strict=True):
            q, k = (
                x.unflatten(-1, (self.heads, -1)) for x in (to_query(query), to_key(h))
            )  # (heads, d), (n, heads, d)
            found.append((q * k).sum(2) * q.shape[1] ** -0.5)  # (rows, heads)
        return torch.cat(found, 1)

    def whole(self, weights: Tensor, h: Tensor, sizes: list[int]) -> Tensor:
        """Pool by the mean map of every head: weights (sum of n, heads) -> (b, width)."""
        return self.reader(weights, h, sizes)

    def each(self, weights: Tensor, h: Tensor, sizes: list[int]) -> list[Tensor]:
        """Pool by every branch: weights (sum of n, T, heads) -> T times (b, width)."""
        return [read(weights[:, t], h, sizes) for t, read in enumerate(self.readers)]


class _Reader(nn.Module):
    """LN(L(heads joined)), each head the sum of its values weighted by its map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(0.1)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, weights: Tensor, h: Tensor, sizes: list[int]) -> Tensor:
        """Weights (sum of n, heads), h (sum of n, width): -> (b, width)."""
        values = self.value(h).unflatten(1, (weights.shape[1], -1))  # (sum of n, heads, d)
        bags = zip(weights.split(sizes), values.split(sizes), strict=True)
        joined = torch.stack([torch.einsum("nh,nhd->hd", w, v).flatten() for w, v in bags])  # (b, width)
        return self.norm(self.dropout(self.out(joined)))


def _read(given: Mapping[str, Tensor]) -> tuple[int, int, dict[str, object]]:
    hidden, dim = given["dimreduction.fc1.weight"].shape
    n_out = given["Slide_classifier.fc.bias"].shape[0]
    if "q" in given:
        return dim, n_out, {"hidden": hidden, "form": "heads", "branches": given["q"].shape[-2]}
    scores = given["attention.attention_weights.weight"]
    return dim, n_out, {"hidden": hidden, "branches": scores.shape[0], "attention": scores.shape[1]}


WEIGHTS = PublicWeights(
    case="acmil",
    model="acmil",
    read=_read,
    rules=(
        (r"^embed\.1\.", "dimreduction.fc1."),
        (r"^branches\.content\.", "attention.attention_V.0."),
        (r"^branches\.gate\.", "attention.attention_U.0."),
        (r"^branches\.score\.", "attention.attention_weights."),
        (r"^branches\.queries$", "q"),
        (r"^branches\.query\.(\d+)\.", r"sub_attention.\1.q_proj."),
        (r"^branches\.key\.(\d+)\.", r"sub_attention.\1.k_proj."),
        (r"^branches\.readers\.(\d+)\.", r"sub_attention.\1."),
        (r"^branches\.reader\.", "bag_attention."),
        (r"\.value\.", ".v_proj."),
        (r"\.out\.", ".out_proj."),
        (r"\.norm\.", ".layer_norm."),
        (r"^branch_heads\.(\d+)\.", r"classifier.\1.fc."),
        (r"^head\.", "Slide_classifier.fc."),
    ),
)


SPEC = ModelSpec(
    name="acmil",
    title="ACMIL",
    learning_rate=1e-3,
    build=ACMIL,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 128,
        "attention": 128,
        "branches": 5,
        "form": "gated",
        "num_heads": 8,
        "masked": 10,
        "mask_ratio": 0.6,
        "diversity": 1.0,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 128,
        "attention": 128,
        "branches": 5,
        "form": "gated",
        "num_heads": 8,
        "masked": 10,
        "mask_ratio": 0.6,
        "diversity": 1.0,
        "dropout": 0.0,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (128, 256, 512),
        "branches": (1, 3, 5),
        "mask_ratio": (0.0, 0.3, 0.6),
        "diversity": (0.0, 0.1, 1.0),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    reference="Zhang et al.: Attention-Challenging Multiple Instance Learning for Whole Slide Image Classification. "
    "ECCV 2024, arXiv:2311.07125.",
    equation="H = ReLU(W X); A_t = softmax of gated scores, t = 1 ... T; branch_t = L_t(A_t^T H); out = L(mean_t "
    "A_t^T H). In training 60% of each branch's 10 strongest patches are masked, the branches are trained with the "
    "same loss, and the mean cosine of two branches' maps is added.",
    cost="linear in n",
    repository="dazhangyu123/ACMIL e53d19c",
    licence="MIT",
    defects=(
        "The number of masked patches is not checked against the bag there: here m is at most n, and int(0.6 m) are "
        "masked.",
        "Its test set is evaluated at every epoch and its epoch chosen by F1 + AUC: a matter of training, not of this "
        "model.",
    ),
)
