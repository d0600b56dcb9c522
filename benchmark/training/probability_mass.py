"""Losses of the probability of dying in each bin: a softmax over the bins and one place beyond them, of score 0.

Equal to pycox's `nll_pmf`, `nll_mtlr` and `DeepHitSingleLoss` (Kvamme and Borgan 2019), computed from log-sum-exps, so
that they need no epsilon.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...survival.time_bins import TimeBins
from .loss import SurvivalLoss, Target

LIKELIHOOD, SIGMA = 0.2, 0.1
"""DeepHit's weight of the likelihood beside the ranking, and the scale of the latter: pycox's defaults."""


def _log_mass(scores: Tensor) -> tuple[Tensor, Tensor]:
    """log P(T in bin) and log S at the end of the bin, (n, bins) each."""
    padded = pad(scores, (0, 1))  # (n, bins + 1)
    tail = padded.flip(1).logcumsumexp(1).flip(1)  # log of the sum over this and all later places
    return scores - tail[:, :1], tail[:, 1:] - tail[:, :1]


def _regressors(scores: Tensor) -> Tensor:
    """MTLR's scores of the bins: the sums over this and all later ones. (n, bins) -> (n, bins)."""
    return scores.flip(1).cumsum(1).flip(1)


def pmf(scores: Tensor, target: Target, alpha: float) -> Tensor:
    """Negative log-likelihood of the probability mass function. Kvamme and Borgan 2019. `alpha` is not used."""
    log_mass, log_alive = _log_mass(scores)
    at = torch.where(target.event.bool()[:, None], log_mass, log_alive)  # (b, bins)
    return -at.gather(1, target.bin[:, None]).mean()


def mtlr(scores: Tensor, target: Target, alpha: float) -> Tensor:
    """Multi-task logistic regression: `pmf` of the reversed running sums. Yu et al. 2011; Fotso 2018."""
    return pmf(_regressors(scores), target, alpha)


def deephit(scores: Tensor, target: Target, alpha: float) -> Tensor:
    """Likelihood and ranking of the probabilities of having died, for one kind of event. Lee et al. 2018.

    0.2 times `pmf` plus 0.8 times the mean over all pairs of exp(-(F_i(T_i) - F_j(T_i)) / 0.1), of those where i died
    in an earlier bin than j, or in the bin in which j was last seen alive. `alpha` is not used.
    """
    bin, event = target.bin, target.event
    dead = _log_mass(scores)[0].exp().cumsum(1)  # F at the end of every bin, (b, bins)
    of_j = dead[:, bin].T  # (b, b): F_j(T_i) in row i, column j
    earlier = (bin[:, None] < bin[None, :]) | ((bin[:, None] == bin[None, :]) & ~event.bool()[None, :])
    pairs = event.bool()[:, None] & earlier
    ranking = torch.exp((of_j - of_j.diagonal()[:, None]) / SIGMA) * pairs
    return LIKELIHOOD * pmf(scores, target, alpha) + (1 - LIKELIHOOD) * ranking.mean()


def _mass_survival(scores: Tensor, bins: TimeBins, *_: object) -> Tensor:
    return _log_mass(scores)[1].exp()


def _mass_risk(scores: Tensor) -> Tensor:
    """-sum of the survival curve. (n, bins) -> (n,)"""
    return -_log_mass(scores)[1].exp().sum(1)


PMF = SurvivalLoss(
    "pmf",
    "probability mass function",
    lambda bins: bins,
    pmf,
    _mass_risk,
    _mass_survival,
    True,
    "Kvamme and Borgan 2019",
)
MTLR = SurvivalLoss(
    "mtlr",
    "multi-task logistic regression",
    lambda bins: bins,
    mtlr,
    lambda scores: _mass_risk(_regressors(scores)),
    lambda scores, *rest: _mass_survival(_regressors(scores), *rest),
    True,
    "Yu et al. 2011",
)
DEEPHIT = SurvivalLoss(
    "deephit",
    "DeepHit, one kind of event",
    lambda bins: bins,
    deephit,
    _mass_risk,
    _mass_survival,
    False,
    "Lee et al. 2018",
)
