"""PANTHER: a slide as a Gaussian mixture around prototypes, and a linear head."""

from collections.abc import Mapping, Sequence
from math import e, log, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import TrainingBags
from .layers.dropout import Dropout
from .layers.kmeans import distortion, kmeans
from .public_weights import PublicWeights
from .spec import ModelSpec

RESTARTS, ITERATIONS = 5, 50


class Panther(nn.Module):
    """Mixture statistics of a bag around P prototypes, scored linearly without bias (Song et al. 2024).

    The prior has means m, k-means centres of the training set's patches, and variances V = eps. From pi = 1 / P,
    mu = m, S = V, each step of EM takes r = softmax over k of log pi_k + log N(x; mu_k, diag S_k), N_k = sum r + tau,
    pi = N_k / sum N, mu = (sum r x + tau m) / N_k, S = (sum r x^2 + tau (V + m^2)) / N_k - mu^2. The vector
    [pi, mu, S], of P + 2 P d numbers, is scored by L.
    """

    prototypes: Tensor
    spread: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        prototypes: int = 16,
        steps: int = 1,
        tau: float = 1.0,
        eps: float = 1.0,
        patches: int = 100_000,
        standardise: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; `patches` per prototype are clustered at most, drawn evenly from the training slides.

        `standardise` z-scores the vector by the training patients; `dropout` acts on it.
        """
        super().__init__()
        self.scale, self.steps, self.tau, self.eps = scale, steps, tau, eps
        self.patches, self.standardise = patches, standardise
        self.register_buffer("prototypes", torch.randn(prototypes, dim))
        self.register_buffer("spread", torch.full((prototypes, dim), log(e - 1)))  # V is its softplus, 1
        width = prototypes * (1 + 2 * dim)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.input_dropout, self.dropout = Dropout(input_dropout), Dropout(dropout)
        self.head = nn.Linear(width, n_out, bias=False)

    @torch.no_grad()
    def prepare(self, bags: TrainingBags, patients: Sequence[str], rng: Any) -> None:
        """Cluster random patches of the training set; where asked for, take mean and spread of its vectors."""
        count, device = len(self.prototypes), self.prototypes.device
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        share = -(-count * self.patches // len(patients))  # patches of each patient
        drawn = []
        for patient in patients:
            x = torch.tensor(bags[patient].features[self.scale])
            drawn.append(x[torch.randperm(len(x), generator=generator)[:share]])
        x = torch.cat(drawn).float().to(device)
        found = (kmeans(x, count, ITERATIONS, generator, candidates=4)[0] for _ in range(RESTARTS))
        centres = min(found, key=lambda centres: distortion(x, centres))
        self.prototypes[: len(centres)] = centres  # fewer patches than prototypes leave the others where they were
        if self.standardise:
            bag = (torch.tensor(bags[p].features[self.scale]).float().to(device) for p in patients)
            vectors = torch.stack([self.vector(x) for x in bag]).double()  # (patients, P + 2 P d)
            self.mean.copy_(vectors.mean(0))
            std = vectors.std(0, correction=0)
            self.std.copy_(torch.where(std > 1e-6 * (1 + vectors.mean(0).abs()), std, 1.0))

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        x = self.input_dropout(features[self.scale])
        with torch.set_grad_enabled(x.requires_grad and torch.is_grad_enabled()):  # nothing in here is trained
            vectors = torch.stack([self.vector(bag) for bag in x.split(lengths[self.scale].tolist())])
            vectors = (vectors - self.mean) / self.std  # (b, P + 2 P d)
        return self.head(self.dropout(vectors))

    def vector(self, x: Tensor) -> Tensor:
        """[pi, mu, S] of one bag: (n, d) -> (P + 2 P d,)."""
        with torch.autocast(x.device.type, enabled=False):
            m, v, tau = self.prototypes, self.eps * F.softplus(self.spread), self.tau
            x = x.to(m.dtype)
            prior, mu, s = x.new_full((len(m),), 1 / len(m)), m, v
            for _ in range(self.steps):
                density = [_log_normal(x, mean, variance) for mean, variance in zip(mu, s, strict=True)]
                r = (torch.stack(density, 1) + prior.log()).softmax(1)  # (n, P)
                counts = r.sum(0) + tau  # (P,)
                prior = counts / counts.sum()
                mu = (r.T @ x + tau * m) / counts[:, None]  # (P, d)
                s = (r.T @ x.square() + tau * (v + m.square())) / counts[:, None] - mu.square()
            return torch.cat([prior, mu.flatten(), s.flatten()])


def _log_normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log density of a normal distribution with independent features: (n, d) -> (n,).

    From the differences, not from the expanded square, whose terms cancel in single precision.
    """
    return -0.5 * (((x - mean).square() / variance).sum(1) + variance.log().sum() + x.shape[1] * log(2 * pi))


WEIGHTS = PublicWeights(
    case="panther",
    model="panther",
    read=lambda given: (
        given["panther.priors.m"].shape[1],
        given["classifier.weight"].shape[0],
        {"prototypes": given["panther.priors.m"].shape[0]},
    ),
    rules=(
        (r"^prototypes$", "panther.priors.m"),
        (r"^spread$", "panther.priors.V_"),
        (r"^head\.", "classifier."),
    ),
    hyperparameters={"em_steps": "steps"},
    ours_alone=(r"^mean$", r"^std$"),
)


SPEC = ModelSpec(
    name="panther",
    title="PANTHER, linear",
    learning_rate=2e-4,
    build=Panther,
    scales=(20,),
    defaults={
        "scale": 20,
        "prototypes": 16,
        "steps": 1,
        "tau": 1.0,
        "eps": 1.0,
        "patches": 2_000,
        "standardise": True,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "prototypes": 16,
        "steps": 1,
        "tau": 1.0,
        "eps": 1.0,
        "patches": 100_000,
        "standardise": False,
        "dropout": 0.0,
        "input_dropout": 0.0,
    },
    search_space={
        "prototypes": (8, 16, 32),
        "tau": (0.1, 1.0, 10.0),
        "standardise": (True, False),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    reference="Song et al.: Morphological Prototyping for Unsupervised Slide Representation Learning in Computational "
    "Pathology. CVPR 2024, arXiv:2405.11643.",
    equation="Prototypes m by k-means on the training set; one step of EM from pi = 1 / P, mu = m, S = V with a prior "
    "of weight tau; out = L([pi, mu, S]), without bias.",
    cost="n P d; nothing but the head is trained, (P + 2 P d) c parameters",
    repository="mahmoodlab/PANTHER 15531d3",
    licence="CC BY-NC-SA 4.0",
    defects=(
        "The first rows of every slide are clustered there, its top: here rows at random.",
        "The prototype script's default is the patches of all splits, test set included: here the training set's "
        "alone.",
        "mu and S outweigh pi, unscaled: `standardise` z-scores the vector by the training patients; False as "
        "published.",
        "The default configuration there (tau 0.001, other outputs) is not the published one; here tau is 1.",
    ),
)
