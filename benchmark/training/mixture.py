"""The loss of SCMIL's mixture density network: the likelihood of a mixture of normal distributions, without bins."""

import numpy as np
import torch
from torch import Tensor

from ...models.layers.mixture import density, mean, survival
from ...survival.time_bins import TimeBins
from .loss import SurvivalLoss, Target

COMPONENTS = 100
"""As published."""
_EPSILON = 1e-6  # as published: who is far from every component teaches nothing


def mixture(scores: Tensor, target: Target, alpha: float) -> Tensor:
    """-event log(density + 1e-6) - (1 - event) log(S + 1e-6) at the time of each patient, the mean over patients.

    `alpha` is not used. Yang et al. 2024.
    """
    time = target.time.to(scores.dtype)
    at = torch.where(target.event.bool(), density(scores, time), survival(scores, time))
    return -torch.log(at + _EPSILON).mean()


def _survival(scores: Tensor, bins: TimeBins, _: np.ndarray) -> Tensor:
    """Alive at the end of each bin, (n, n_bins)."""
    ends = torch.as_tensor(np.asarray(bins.upper)).to(scores)
    return torch.stack([survival(scores, end[None]) for end in ends], 1)


MIXTURE = SurvivalLoss(
    "mixture",
    "mixture of normal distributions",
    lambda bins: 3 * COMPONENTS,
    mixture,
    lambda scores: -mean(scores),
    _survival,
    True,
    "Yang et al. 2024",
    head="mixture",
)
