"""Losses of discrete-time hazards: raw scores are the logits of dying in each bin when alive at its start."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ...survival.time_bins import TimeBins
from .loss import SurvivalLoss


def log_survival(logits: Tensor) -> Tensor:
    """log S after every bin from the logits of the hazards: the running sum of log(1 - h). (n, bins) -> (n, bins)."""
    return logsigmoid(-logits).cumsum(1)


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[:, None]).squeeze(1)  # (b,)


def _death_in_bin(logits: Tensor, bin: Tensor) -> Tensor:
    """log P(T in bin): alive at its start, dead before its end. (b,)"""
    start = torch.cat([torch.zeros_like(logits[:, :1]), log_survival(logits)], 1)  # (b, bins + 1)
    return _at(start, bin) + _at(logsigmoid(logits), bin)


def nll(logits: Tensor, bin: Tensor, time: Tensor, event: Tensor, alpha: float) -> Tensor:
    """Negative log-likelihood of discrete-time hazards; `alpha` takes weight off the censored patients.

    Zadeh and Schmid 2021, equation 9, with the alpha of MCAT (Chen et al. 2021). Computed from log-sigmoids, so it
    needs no epsilon and stays finite where a hazard is 0 or 1.
    """
    died = event.float()
    death = -died * _death_in_bin(logits, bin)
    alive = -(1 - died) * _at(log_survival(logits), bin)
    return (death + (1 - alpha) * alive).mean()


def cross_entropy(logits: Tensor, bin: Tensor, time: Tensor, event: Tensor, alpha: float) -> Tensor:
    """The reference's cross-entropy survival loss: is the patient dead at the end of the bin?

    `alpha` blends in the likelihood of the deaths (Zadeh and Schmid 2021, equation 7; as the reference weighs it).
    """
    died = event.float()
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
    "Zadeh and Schmid 2021",
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
