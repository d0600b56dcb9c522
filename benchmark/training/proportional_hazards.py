"""Losses of one score a patient, the log relative hazard; Breslow's baseline hazard makes a curve of it."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from ...survival.time_bins import TimeBins
from .loss import SurvivalLoss, Target


def cox(scores: Tensor, target: Target, alpha: float) -> Tensor:
    """Cox's negative log partial likelihood with Breslow's handling of ties, per death in the batch.

    Cox 1972; DeepSurv (Katzman et al. 2018), equation 4. A batch without a death has loss 0. `alpha` is not used.
    """
    risk, time, event = scores[:, 0], target.time, target.event
    at_risk = time[None, :] >= time[:, None]  # (b, b): column j is at risk when row i dies
    log_sum = torch.logsumexp(risk[None, :].masked_fill(~at_risk, -torch.inf), 1)
    return -((risk - log_sum) * event.float()).sum() / event.sum().clamp(min=1)


def rank(scores: Tensor, target: Target, alpha: float) -> Tensor:
    """Mean over comparable pairs of log(1 + exp(r_j - r_i)), i having died before j died or was last seen alive.

    The logistic bound on the concordance index of Steck et al. 2007 (RankNet's loss). It knows the order of the risks
    alone, so the scale of its curves is not fitted. A batch without a comparable pair has loss 0. `alpha` is not used.
    """
    risk, time, event = scores[:, 0], target.time, target.event
    later = (time[None, :] > time[:, None]) | ((time[None, :] == time[:, None]) & ~event[None, :].bool())
    pairs = (event[:, None].bool() & later).float()  # (b, b): row i died before column j
    return (softplus(risk[None, :] - risk[:, None]) * pairs).sum() / pairs.sum().clamp(min=1)


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


COX = SurvivalLoss(
    "cox",
    "Cox partial likelihood",
    lambda bins: 1,
    cox,
    lambda scores: scores[:, 0],
    breslow_survival,
    False,
    "Cox 1972",
)
RANK = SurvivalLoss(
    "rank",
    "pairwise ranking",
    lambda bins: 1,
    rank,
    lambda scores: scores[:, 0],
    breslow_survival,
    False,
    "Steck et al. 2007",
)
