"""Every survival loss by name: ours, then those of other packages through the entry-point group `milsurv.losses`.

Times are months, event True = died, and a higher risk means an earlier death.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ...plugins import registered
from ...survival.time_bins import TimeBins
from .loss import SurvivalLoss

ENTRY_POINTS = "milsurv.losses"
"""The entry-point group through which other packages add losses."""


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


def cox(scores: Tensor, bin: Tensor, time: Tensor, event: Tensor, alpha: float) -> Tensor:
    """Cox's negative log partial likelihood with Breslow's handling of ties, per death in the batch.

    Cox 1972; DeepSurv (Katzman et al. 2018), equation 4. A batch without a death has loss 0. `alpha` is not used.
    """
    risk = scores[:, 0]
    at_risk = time[None, :] >= time[:, None]  # (b, b): column j is at risk when row i dies
    log_sum = torch.logsumexp(risk[None, :].masked_fill(~at_risk, -torch.inf), 1)
    return -((risk - log_sum) * event.float()).sum() / event.sum().clamp(min=1)


def discrete_risk(logits: Tensor) -> Tensor:
    """-sum of the survival curve: minus the expected number of bins survived. (n, bins) -> (n,)"""
    return -log_survival(logits).exp().sum(1)


def _discrete_survival(logits: Tensor, bins: TimeBins, *_: object) -> Tensor:
    return log_survival(logits).exp()


def breslow_survival(
    scores: Tensor, bins: TimeBins, train_scores: Tensor, train_time: np.ndarray, train_event: np.ndarray
) -> Tensor:
    """Survival at the end of every bin from Cox scores, with Breslow's baseline hazard of the training set.

    Breslow 1972. (n, 1) -> (n, bins).
    """
    risk = train_scores[:, 0].double()
    shift = risk.max()  # the baseline absorbs it; exp() would overflow without it
    weight = (risk - shift).exp().numpy()  # (m,)
    order = np.argsort(-train_time, kind="stable")
    at_risk = np.cumsum(weight[order])  # everyone with a time at least as long
    # Tied times share the largest risk set.
    last = np.searchsorted(-train_time[order], -train_time[order], side="right") - 1
    step = train_event[order] / at_risk[last]
    hazard = [float(step[train_time[order] <= edge].sum()) for edge in bins.upper]  # (bins,)
    relative = (scores[:, 0].double() - shift).exp()  # (n,)
    return torch.exp(-relative[:, None] * torch.tensor(hazard, dtype=torch.float64)).float()


LOSSES: dict[str, SurvivalLoss] = registered(
    SurvivalLoss,
    ENTRY_POINTS,
    (
        SurvivalLoss(
            "nll",
            "discrete-time likelihood",
            lambda bins: bins,
            nll,
            discrete_risk,
            _discrete_survival,
            True,
            "Zadeh and Schmid 2021",
        ),
        SurvivalLoss(
            "ce",
            "survival cross-entropy",
            lambda bins: bins,
            cross_entropy,
            discrete_risk,
            _discrete_survival,
            True,
            "Zadeh and Schmid 2021",
        ),
        SurvivalLoss(
            "cox",
            "Cox partial likelihood",
            lambda bins: 1,
            cox,
            lambda scores: scores[:, 0],
            breslow_survival,
            False,
            "Cox 1972",
        ),
    ),
)
