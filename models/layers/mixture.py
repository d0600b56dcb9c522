"""The mixture density network of SCMIL: survival in continuous time as a mixture of normal distributions."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dropout import Dropout

MEAN, DEVIATION = 200.0, (0.01, 100.0)
"""The largest mean, either way, and the smallest and largest deviation of a component."""
FAR = 30.0  # from here on log(e^t - 1) is t in double precision, too


class MixtureHead(nn.Module):
    """Weights, means and deviations of K components of y = log(e^t - 1), t in months (Yang et al. 2024).

    w = softmax(L(h)), h two layers of L, GELU, dropout; mu = L(mu0) within +-200 and sigma = softplus(L(sigma0)) in
    [0.01, 100], mu0 and sigma0 learned, the same for all patients. The scores are [log w, mu, log sigma], (b, 3 K):
    `survival`, `density` and `mean` read them, and take any numbers for a mixture within these limits.
    """

    def __init__(self, width: int, n_out: int, hidden: int, dropout: float) -> None:
        """n_out is 3 K. Raises ValueError where it is not a multiple of 3."""
        super().__init__()
        if n_out % 3:
            raise ValueError(f"a mixture has three scores a component, so n_out is a multiple of 3, not {n_out}")
        k = n_out // 3
        self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, hidden)
        self.dropout = Dropout(dropout)
        self.weight = nn.Linear(hidden, k)
        self.mu, self.sigma = nn.Parameter(torch.linspace(0, 200, k)), nn.Parameter(torch.ones(k))
        self.to_mu, self.to_sigma = nn.Linear(k, k), nn.Linear(k, k)

    def forward(self, z: Tensor) -> Tensor:
        """Score vectors of bags: (b, width) -> (b, 3 K)."""
        h = self.dropout(F.gelu(self.first(z)))
        h = self.dropout(F.gelu(self.second(h)))
        mu = self.to_mu(self.mu).clamp(-MEAN, MEAN)
        sigma = F.softplus(self.to_sigma(self.sigma)).clamp(*DEVIATION)
        return torch.cat([F.log_softmax(self.weight(h), 1), mu.expand(len(z), -1), sigma.log().expand(len(z), -1)], 1)


def survival(scores: Tensor, time: Tensor) -> Tensor:
    """The probability of being alive at `time` (b,) or (1,), from scores (b, 3 K): (b,)."""
    log_w, mu, log_sigma = _components(scores)
    z = (_warped(time)[:, None] - mu) / log_sigma.exp()  # (b, K)
    return (log_w.exp() * torch.special.ndtr(-z)).sum(1)  # 1 - ndtr(z) would lose the digits of small ones


def density(scores: Tensor, time: Tensor) -> Tensor:
    """The density of dying at `time` (b,) or (1,), from scores (b, 3 K): (b,)."""
    log_w, mu, log_sigma = _components(scores)
    z = (_warped(time)[:, None] - mu) / log_sigma.exp()  # (b, K)
    normal = torch.exp(log_w - 0.5 * z.square() - log_sigma - 0.5 * math.log(2 * math.pi)).sum(1)
    near = torch.exp(time.clamp(max=FAR))
    return normal * torch.where(time > FAR, 1.0, near / (near - 1 + 1e-6))


def mean(scores: Tensor) -> Tensor:
    """The mean of y = log(e^t - 1), which is about t from a few months on: scores (b, 3 K) -> (b,)."""
    log_w, mu, _ = _components(scores)
    return (log_w.exp() * mu).sum(1)


def _components(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log w, mu and log sigma, (b, K) each."""
    log_w, mu, log_sigma = scores.chunk(3, 1)
    low, high = map(math.log, DEVIATION)
    return F.log_softmax(log_w, 1), mu.clamp(-MEAN, MEAN), log_sigma.clamp(low, high)


def _warped(time: Tensor) -> Tensor:
    """log(e^t - 1 + 1e-6), which is t where e^t would overflow."""
    return torch.where(time > FAR, time, torch.log(torch.expm1(time.clamp(max=FAR)) + 1e-6))
