"""Losses of discrete-time hazards: raw scores are the logits of dying in each bin when alive at its start."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ...survival.time_bins import TimeBins
from .loss import SurvivalLoss, Target


def log_survival(logits: Tensor) -> Tensor:
    """log S after every bin from the logits of the hazards: the running sum of log(1 - h). (n, bins) -> (n, bins)."""
    return logsigmoid(-logits).cumsum(1)


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[:, None]).squeeze(1)  # (b,)


def _at_start(logits: Tensor, bin: Tensor) -> Tensor:
    """log S at the start of the bin. (b,)"""
    return _at(torch.cat([torch.zeros_like(logits[:, :1]), log_survival(logits)], 1), bin)


def _death_in_bin(logits: Tensor, bin: Tensor) -> Tensor:
    """log P(T in bin): alive at its start, dead before its end. (b,)"""
    return _at_start(logits, bin) + _at(logsigmoid(logits), bin)


def nll(logits: Tensor, target: Target, alpha: float) -> Tensor:
    """Negative log-likelihood of discrete-time hazards, in which a patient censored within a bin is known to have
    survived the share of it that lies before.

    Zadeh and Schmid 2021, equation 9, with log(S[j - 1] + share (S[j] - S[j - 1])) for a patient censored in bin j:
    deaths are even within a bin, as in the actuarial life table (Kvamme and Borgan 2021, section 3.3, call the curve
    CDI). Its optimum without covariates is close to Kaplan-Meier's estimate, while `nll_mcat` promises too long a life.
    `alpha` takes weight off the censored patients.
    """
    logit = _at(logits, target.bin)
    # S[j-1] + share (S[j] - S[j-1]) = S[j-1] ((1 - h) + (1 - share) h)
    within = torch.logaddexp(logsigmoid(-logit), (1 - target.share).log() + logsigmoid(logit))
    return _likelihood(logits, target, _at_start(logits, target.bin) + within, alpha)


def nll_mcat(logits: Tensor, target: Target, alpha: float) -> Tensor:
    """Negative log-likelihood of discrete-time hazards, as MCAT and the literature after it compute it.

    A patient censored within a bin counts as having survived all of it. Zadeh and Schmid 2021, equation 9, with the
    alpha of MCAT (Chen et al. 2021). Computed from log-sigmoids, so it needs no epsilon and stays finite where a
    hazard is 0 or 1.
    """
    return _likelihood(logits, target, _at(log_survival(logits), target.bin), alpha)


def _likelihood(logits: Tensor, target: Target, alive: Tensor, alpha: float) -> Tensor:
    """Minus the mean log-likelihood; `alive` (b,) is its logarithm for a censored patient."""
    died = target.event.float()
    return -(died * _death_in_bin(logits, target.bin) + (1 - alpha) * (1 - died) * alive).mean()


def cross_entropy(logits: Tensor, target: Target, alpha: float) -> Tensor:
    """The reference's cross-entropy survival loss: is the patient dead at the end of the bin?

    `alpha` blends in the likelihood of the deaths (Zadeh and Schmid 2021, equation 7; as the reference weighs it).
    """
    bin, died = target.bin, target.event.float()
    log_alive = _at(log_survival(logits), bin)
    # log(1 - S), exact near S = 1 where 1 - exp(x) would lose every digit.
    log_dead = torch.log(-torch.expm1(log_alive.clamp(max=-1e-7)))
    entropy = -(1 - died) * log_alive - died * log_dead
    return ((1 - alpha) * entropy - alpha * died * _death_in_bin(logits, bin)).mean()


def discrete_risk(logits: Tensor) -> Tensor:
    """-sum of the survival curve: minus the expected number of bins survived. (n, bins) -> (n,)"""
    return -log_survival(logits).exp().sum(1)


def _discrete_survival(logits: Tensor, bins: TimeBins, *_: object) -> Tensor:
    return log_survival(logits).exp()


NLL = SurvivalLoss(
    "nll",
    "discrete-time likelihood",
    lambda bins: bins,
    nll,
    discrete_risk,
    _discrete_survival,
    True,
    "Zadeh and Schmid 2021; Kvamme and Borgan 2021",
)
NLL_MCAT = SurvivalLoss(
    "nll-mcat",
    "discrete-time likelihood, as MCAT has it",
    lambda bins: bins,
    nll_mcat,
    discrete_risk,
    _discrete_survival,
    True,
    "Zadeh and Schmid 2021; Chen et al. 2021",
)
CE = SurvivalLoss(
    "ce",
    "survival cross-entropy",
    lambda bins: bins,
    cross_entropy,
    discrete_risk,
    _discrete_survival,
    True,
    "Zadeh and Schmid 2021",
)
