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


def breslow_baseline(bins: TimeBins, scores: Tensor, time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Breslow's baseline of a training set: a score that counts as 0, then the cumulative hazard of who has it.

    Breslow 1972. (1 + bins,): the highest score, without which exp() would overflow, and the hazard at the end of every
    bin.
    """
    risk = scores[:, 0].double()
    shift = risk.max()
    weight = (risk - shift).exp().numpy()  # (m,)
    order = np.argsort(-time, kind="stable")
    at_risk = np.cumsum(weight[order])  # everyone with a time at least as long
    # Tied times share the largest risk set.
    last = np.searchsorted(-time[order], -time[order], side="right") - 1
    step = event[order] / at_risk[last]
    return np.array([float(shift), *(float(step[time[order] <= edge].sum()) for edge in bins.upper)])


def breslow_survival(scores: Tensor, bins: TimeBins, baseline: np.ndarray) -> Tensor:
    """Survival at the end of every bin from Cox scores and a `breslow_baseline`. (n, 1) -> (n, bins)."""
    relative = (scores[:, 0].double() - baseline[0]).exp()  # (n,)
    return torch.exp(-relative[:, None] * torch.from_numpy(baseline[1:])).float()


COX = SurvivalLoss(
    "cox",
    "Cox partial likelihood",
    lambda bins: 1,
    cox,
    lambda scores: scores[:, 0],
    breslow_survival,
    False,
    "Cox 1972",
    breslow_baseline,
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
    breslow_baseline,
)
