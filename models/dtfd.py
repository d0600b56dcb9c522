"""DTFD-MIL: pseudo-bags, and a second attention over what they distil."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .contract import Trained
from .layers.dropout import Dropout
from .layers.gated_attention import GatedAttention, GatedAttentionPool
from .layers.listening import tell
from .layers.segments import segment_softmax, segment_weighted_sum
from .public_weights import PublicWeights
from .spec import ModelSpec

DISTILLATIONS = ("AFS", "MaxMinS", "MaxS")
RANKINGS = ("last", "risk")


class DTFD(nn.Module):
    """Double-tier feature distillation (Zhang et al. 2022).

    H = ReLU(W X), no bias; the bag is cut into G groups. Tier 1 pools each group by gated attention, f_g = sum alpha h,
    and scores it, sub_g = L1(f_g). Distilled are f_g (`AFS`), or the patches of the q highest and q lowest ranks of the
    group (`MaxMinS`), or of the highest alone (`MaxS`), ranked by their part alpha_i W1 h_i of the group's scores.
    Tier 2 pools what all groups distilled by a gated attention of its own, and out = L2(z).

    In training the groups are random and the sub_g are further views, of weight 1 / G each. In evaluation row i is of
    group i modulo G. A bag of fewer than G patches has as many groups as patches.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 512,
        attention: int = 128,
        groups: int = 4,
        distill: str = "AFS",
        instances: int = 1,
        rank: str = "last",
        detach: bool = True,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; `instances` = q; with `detach` tier 2 does not train tier 1.

        rank: "last" ranks by the softmax over the outputs' last entry, "risk" by their sum.
        Raises ValueError for a `distill` or `rank` that is none.
        """
        super().__init__()
        if distill not in DISTILLATIONS or rank not in RANKINGS:
            raise ValueError(f"distill is one of {DISTILLATIONS} and rank one of {RANKINGS}, not {distill!r}, {rank!r}")
        self.scale, self.groups, self.q = scale, groups, instances
        self.distill, self.rank, self.detach = distill, rank, detach
        self.embed = nn.Sequential(
            Dropout(input_dropout), nn.Linear(dim, hidden, bias=False), nn.ReLU(), Dropout(dropout)
        )
        self.attention = GatedAttention(hidden, attention)
        self.group_head = nn.Linear(hidden, n_out)
        self.pool = GatedAttentionPool(hidden, attention)
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor | Trained:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        groups = [self._draw(n) for n in sizes]
        scores, sub = self.tiers(self.embed(features[self.scale]), sizes, groups)
        if not self.training:
            return scores
        # A bag of fewer groups shows its own in turn, so that every bag has G views.
        bags = [bag[torch.arange(self.groups) % len(bag)] for bag in sub.split([len(cut) for cut in groups])]
        return Trained(scores, torch.stack(bags, 1), 1 / self.groups)

    def _draw(self, n: int) -> list[Tensor]:
        """The rows of each group of a bag of n patches."""
        count = min(self.groups, n)
        if self.training:
            return list(torch.randperm(n).tensor_split(count))
        return [torch.arange(g, n, count) for g in range(count)]

    def tiers(self, h: Tensor, sizes: list[int], groups: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
        """Scores of the bags (b, n_out) and of all groups (sum of groups, n_out), of which the rows are given."""
        h = torch.cat([bag[torch.cat(rows).to(h.device)] for bag, rows in zip(h.split(sizes), groups, strict=True)])
        cuts = [len(rows) for bag in groups for rows in bag]
        weights = segment_softmax(self.attention.scores(h), cuts, heard=False)  # (sum of n, 1)
        starts = [sum(sizes[:bag]) for bag in range(len(sizes))]
        order = torch.cat([torch.cat(rows) + start for rows, start in zip(groups, starts, strict=True)])
        tell(torch.empty_like(weights).index_copy_(0, order.to(h.device), weights))
        pooled = segment_weighted_sum(weights, h, cuts).squeeze(1)  # (sum of groups, hidden)
        if self.distill == "AFS":
            distilled, counts = pooled, [1] * len(cuts)
        else:
            kept = [self._keep(w * bag) for w, bag in zip(weights.split(cuts), h.split(cuts), strict=True)]
            distilled = torch.cat([bag[rows] for bag, rows in zip(h.split(cuts), kept, strict=True)])
            counts = [len(rows) for rows in kept]
        if self.training and self.detach:
            distilled = distilled.detach()
        ends = iter(counts)
        per_bag = [sum(next(ends) for _ in bag) for bag in groups]
        return self.head(self.pool(distilled, per_bag)), self.group_head(pooled)

    @torch.no_grad()
    def _keep(self, weighted: Tensor) -> Tensor:
        """Rows that a group distils, from its weighted patches (n, hidden)."""
        parts = weighted @ self.group_head.weight.T  # (n, n_out): the class activations, without the bias
        last = self.rank == "last" and parts.shape[1] > 1
        rank = parts.softmax(1)[:, -1] if last else parts.sum(1)
        order = rank.argsort(descending=True, stable=True)
        if self.distill == "MaxS" or len(order) <= 2 * self.q:
            return order[: self.q if self.distill == "MaxS" else None]
        return torch.cat([order[: self.q], order[-self.q :]])


WEIGHTS = PublicWeights(
    case="dtfd",
    model="dtfd",
    read=lambda given: (
        given["dimReduction.fc1.weight"].shape[1],
        given["classifier.fc.bias"].shape[0],
        {
            "hidden": given["dimReduction.fc1.weight"].shape[0],
            "attention": given["attention.attention_V.0.bias"].shape[0],
        },
    ),
    rules=(
        (r"^embed\.1\.", "dimReduction.fc1."),
        (r"^group_head\.", "classifier.fc."),
        (r"^head\.", "attCls.classifier.fc."),
        (r"^pool\.", "attCls.attention."),
        (r"attention\.content\.", "attention.attention_V.0."),
        (r"attention\.gate\.", "attention.attention_U.0."),
        (r"attention\.score\.", "attention.attention_weights."),
    ),
    hyperparameters={"instances_per_group": "instances"},
)


SPEC = ModelSpec(
    name="dtfd",
    title="DTFD-MIL",
    build=DTFD,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 256,
        "attention": 128,
        "groups": 4,
        "distill": "AFS",
        "instances": 1,
        "rank": "risk",
        "detach": True,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 512,
        "attention": 128,
        "groups": 4,
        "distill": "AFS",
        "instances": 1,
        "rank": "last",
        "detach": True,
        "dropout": 0.0,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (128, 256, 512),
        "groups": (2, 4, 8),
        "distill": ("AFS", "MaxMinS"),
        "detach": (True, False),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=False,
    reference="Zhang et al.: DTFD-MIL: Double-Tier Feature Distillation Multiple Instance Learning for Histopathology "
    "Whole Slide Image Classification. CVPR 2022, arXiv:2203.12081.",
    equation="H = ReLU(W X), cut into G groups; tier 1: f_g = gated attention of group g, sub_g = L1(f_g); tier 2: z "
    "= gated attention over the f_g (AFS) or over each group's patches of highest and lowest rank (MaxMinS), out = "
    "L2(z). The sub_g are trained with the same loss.",
    cost="linear in n",
    repository="hrzhang1123/DTFD-MIL 10964f4",
    licence="MIT",
    defects=(
        "The groups are random in evaluation as well there, so that two evaluations differ: here row i is of group i "
        "modulo G.",
        "On today's torch the second tier's backward fails, the first step having changed its weights: here both tiers "
        "are one sum of losses, and tier 2 reads tier 1 detached, as published (`detach`).",
        "Ranking by the last class means the last time bin's hazard (`rank=last`); the default ranks by all bins' "
        "hazards (`risk`). A head of one output is ranked by that output.",
        "MaxMinS takes the patches of a group of fewer than 2q twice: here once.",
    ),
)
