"""A loss of one score, minus the log of the expected time."""

import numpy as np
import torch
from milsurv.benchmark.training.loss import SurvivalLoss, Target
from torch import Tensor


def log_time(scores: Tensor, target: Target, alpha: float) -> Tensor:
    """Exponential model: negative log-likelihood of the rate exp(score - 3). Times are months."""
    rate = (scores[:, 0] - 3).exp()
    return (rate * target.time.float() - target.event.float() * rate.log()).mean()


LOG_TIME = SurvivalLoss(
    name="log-time",
    title="exponential time",
    width=lambda bins: 1,
    loss=log_time,
    risk=lambda scores: scores[:, 0],
    survival=lambda scores, bins, *_: torch.exp(
        -(scores - 3).exp() * torch.from_numpy(np.asarray(bins.upper, np.float32))
    ),
    separable=True,
    reference="Your paper.",
)
