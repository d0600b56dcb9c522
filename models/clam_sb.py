"""CLAM-SB: gated attention, and a classifier of its most and least attended patches; CLAM-MB is the same class."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import Trained
from .layers.embedding import embedding
from .layers.gated_attention import GatedAttention
from .layers.segments import segment_softmax, segment_weighted_sum
from .public_weights import PublicWeights
from .spec import ModelSpec


class CLAM(nn.Module):
    """Attention pooling with one map (SB) or one per output (MB), and an instance loss per time bin (Lu et al. 2021).

    H = ReLU(L(X)). SB: z = alpha^T H, out = L(z). MB: one map alpha_j and one vector z_j per output, out_j = w_j z_j +
    b_j.

    In training, for a patient of bin y, a classifier of that bin should say 1 of the k most attended patches and 0 of
    the k least attended (mean cross entropy). With `subtyping` every other bin's classifier should also say 0 of the k
    patches attended most, and the sum is divided by the number of bins. Bins take the place of CLAM's classes. The
    penalty is read at the bin of patients who died: a censored patient's bin is not known. A head of one output
    (Cox) has one classifier, for all bins.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 512,
        attention: int = 256,
        dropout: float = 0.25,
        attention_dropout: float = 0.25,
        input_dropout: float = 0.0,
        instances: int = 8,
        instance_weight: float = 0.3,
        subtyping: bool = True,
        branches: bool = False,
    ) -> None:
        """Read `scale`; `instances` = k; the instance loss has `instance_weight` and the bag's 1 minus it."""
        super().__init__()
        self.scale, self.k, self.subtyping = scale, instances, subtyping
        self.penalty_weight = instance_weight / (1 - instance_weight)  # beside a bag loss of weight 1
        self.embed = embedding(dim, hidden, dropout, input_dropout)
        self.attention = GatedAttention(hidden, attention, n_out if branches else 1, branch_dropout=attention_dropout)
        self.head = nn.Linear(hidden, n_out)
        classifiers = n_out if instance_weight > 0 else 0
        self.instance = nn.ModuleList(nn.Linear(hidden, 2) for _ in range(classifiers))  # no, yes

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor | Trained:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        h = self.embed(features[self.scale])  # (sum of n, hidden)
        weights = segment_softmax(self.attention.scores(h), sizes)  # (sum of n, maps)
        z = segment_weighted_sum(weights, h, sizes)  # (b, maps, hidden)
        scores = (z * self.head.weight).sum(2) + self.head.bias  # (b, n_out): one map serves all outputs, or its own
        if not self.training or not self.instance:
            return scores
        bags = zip(weights.detach().split(sizes), h.split(sizes), strict=True)
        losses = torch.stack([self.instance_losses(w, bag) for w, bag in bags])  # (b, n_out)
        return Trained(scores, penalty=self.penalty_weight * losses)

    def instance_losses(self, weights: Tensor, h: Tensor) -> Tensor:
        """The instance loss of one bag for each bin its patient may be of: (n, maps), (n, hidden) -> (n_out,)."""
        bins = len(self.instance)
        k = min(self.k, len(h) // 2)  # no patch is among the highest and the lowest at once
        if k == 0:
            return h.new_zeros(bins)
        order = weights.argsort(dim=0, descending=True, stable=True).expand(-1, bins).unbind(1)
        high = torch.stack([self._log_odds(j, h[rows[:k]]) for j, rows in enumerate(order)])  # (n_out, k)
        low = torch.stack([self._log_odds(j, h[rows[-k:]]) for j, rows in enumerate(order)])
        own = (F.softplus(-high).mean(1) + F.softplus(low).mean(1)) / 2  # cross entropy of 1 and of 0, (n_out,)
        if not self.subtyping:
            return own
        other = F.softplus(high).mean(1)
        return (own + other.sum() - other) / bins

    def _log_odds(self, j: int, h: Tensor) -> Tensor:
        """Log odds of yes that bin j's classifier gives to patches (k, hidden): -> (k,)."""
        no, yes = self.instance[j](h).unbind(1)
        return yes - no


WEIGHTS = PublicWeights(
    case="clam-sb",
    model="clam-sb",
    read=lambda given: (
        given["attention_net.0.weight"].shape[1],
        given["classifiers.bias"].shape[0],
        {
            "hidden": given["attention_net.0.weight"].shape[0],
            "attention": given["attention_net.3.attention_a.0.bias"].shape[0],
        },
    ),
    rules=(
        (r"^embed\.1\.", "attention_net.0."),
        (r"^attention\.content\.", "attention_net.3.attention_a.0."),
        (r"^attention\.gate\.", "attention_net.3.attention_b.0."),
        (r"^attention\.score\.", "attention_net.3.attention_c."),
        (r"^head\.", "classifiers."),
        (r"^instance\.", "instance_classifiers."),
    ),
    hyperparameters={"k_sample": "instances"},
    constants={"instance_loss": "cross entropy"},
)


PAPER = (
    "Lu et al.: Data-efficient and weakly supervised computational pathology on whole-slide images. Nature Biomedical "
)
PAPER += "Engineering 2021, arXiv:2004.09666."

SPEC = ModelSpec(
    name="clam-sb",
    title="CLAM-SB",
    learning_rate=2e-3,
    build=CLAM,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 256,
        "attention": 128,
        "dropout": 0.25,
        "attention_dropout": 0.25,
        "input_dropout": 0.0,
        "instances": 8,
        "instance_weight": 0.3,
        "subtyping": True,
        "branches": False,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 512,
        "attention": 256,
        "dropout": 0.25,
        "attention_dropout": 0.25,
        "input_dropout": 0.0,
        "instances": 8,
        "instance_weight": 0.3,
        "subtyping": True,
        "branches": False,
    },
    search_space={
        "hidden": (128, 256, 512),
        "dropout": (0.0, 0.25, 0.5),
        "attention_dropout": (0.0, 0.25),
        "input_dropout": (0.0, 0.1, 0.25),
        "instances": (4, 8, 16),
        "instance_weight": (0.0, 0.1, 0.3, 0.5),
    },
    family="single-scale",
    order_free=True,
    reference=PAPER,
    equation="H = ReLU(L(X)); z = sum of softmax(w . (tanh(V h) * sigmoid(U h))) h; out = L(z). In training also: 0.3 "
    "/ 0.7 times the cross entropy of a classifier of the patient's time bin on the k most and k least attended "
    "patches.",
    cost="linear in n",
    repository="mahmoodlab/CLAM 53e2409",
    licence="GPL-3.0",
    defects=(
        "Classes become time bins; a censored patient's bin is not known, so its instance loss is 0. The survival "
        "scripts of RRT-MIL never switch this loss on (`instance_weight` 0): CLAM-SB is then ABMIL with dropout.",
        "A bag of fewer than k patches fails there, and one of fewer than 2k has patches on both sides: here k is at "
        "most n // 2.",
    ),
)
