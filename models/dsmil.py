"""DSMIL: dual-stream multiple instance learning."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .layers.dropout import Dropout
from .layers.listening import tell
from .layers.segments import segment_weighted_sum
from .spec import ModelSpec


class DSMIL(nn.Module):
    """An instance stream finds the critical patch per output; a bag stream attends to it (Li et al. 2021).

    Instance scores s_i = W x_i; the patch with the largest score of an output is critical for it. In the bag stream
    every patch is weighted by the softmax over the bag of q_i . q_critical / sqrt(d), q a two-layer network, and a
    linear map takes the n_out weighted means of the features to n_out scores. The result is the mean of both streams,
    (1 - w) * bag + w * max_i s_i. The paper takes w = `instance_weight` = 0.5. The public CrossFusion code takes 0;
    the instance stream then learns nothing and chooses the critical patches at random.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 128,
        instance_weight: float = 0.5,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; queries of `hidden`, one critical patch per output of `n_out`."""
        super().__init__()
        self.scale = scale
        self.instance_weight = instance_weight
        self.input_dropout = Dropout(input_dropout)
        self.instance = nn.Linear(dim, n_out)
        self.query = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.Tanh())
        self.head = nn.Conv1d(n_out, n_out, dim)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        x = self.input_dropout(features[self.scale])  # (sum of n, dim)
        scores = self.instance(x)  # (sum of n, n_out)
        q = self.query(x)  # (sum of n, hidden)
        largest, weights = [], []
        for score, query in zip(scores.split(sizes), q.split(sizes), strict=True):
            best, critical = score.max(0)  # (n_out,) both
            likeness = query @ query[critical].T * query.shape[1] ** -0.5  # (n, n_out)
            largest.append(best)
            weights.append(tell(likeness.softmax(0)))
        pooled = segment_weighted_sum(torch.cat(weights), x, sizes)  # (b, n_out, dim)
        bag = self.head(pooled).squeeze(2)  # (b, n_out)
        if self.instance_weight == 0.0:
            return bag
        return torch.lerp(bag, torch.stack(largest), self.instance_weight)


SPEC = ModelSpec(
    name="dsmil",
    title="DSMIL",
    learning_rate=2e-3,
    build=DSMIL,
    scales=(20,),
    defaults={"scale": 20, "hidden": 128, "instance_weight": 0.5, "input_dropout": 0.0},
    reference_defaults={"scale": 20, "hidden": 128, "instance_weight": 0.0, "input_dropout": 0.0},
    search_space={
        "hidden": (64, 128, 256),
        "instance_weight": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25, 0.5),
    },
    family="single-scale",
    order_free=True,
    reference="Li, Li, Eliceiri: Dual-stream Multiple Instance Learning Network for Whole Slide Image Classification "
    "with Self-supervised Contrastive Learning. CVPR 2021.",
    equation="s_i = W x_i, the patch of largest s of each output is critical; weights softmax(q_i . q_critical / "
    "sqrt(d)), q two layers with tanh; out = (1 - w) L(weighted means of X) + w max_i s_i",
    cost="linear in n",
    repository="RustinS/CrossFusion df5473d",
    licence="none stated",
    defects=(
        "The public CrossFusion code returns the bag stream alone (`instance_weight` 0): its instance classifier gets "
        "no gradient and picks the critical patches at random. The default averages both, as the paper does.",
    ),
)
