"""What a survival loss is: how raw scores are trained, and how they become a risk and a survival curve.

A model gives raw scores `(b, width)`; it never knows which loss they serve. Times are months, event True = died, and a
higher risk means an earlier death.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...survival.time_bins import TimeBins


@dataclass(frozen=True)
class Target:
    """What is known of b patients, as tensors (b,).

    bin: the time bin of death or of the last follow-up. time: months. event: True = died. share: how much of the bin
    lies before `time`, from 0 to 1; 1 beyond the follow-up of the training set.
    """

    bin: Tensor
    time: Tensor
    event: Tensor
    share: Tensor


@dataclass(frozen=True)
class SurvivalLoss:
    """One way to learn survival from raw scores.

    name: as given to `--loss`.
    title: as people call it.
    width: number of scores per patient, from the number of time bins.
    loss: (scores (b, width), `Target` of b patients, alpha) -> scalar, a mean over patients.
    risk: scores (n, width) -> (n,).
    survival: (scores (n, width), bins, baseline) -> (n, n_bins), the probability of being alive at the end of every
        bin.
    separable: True when the loss of a batch is the mean of its patients' losses, so that pieces may simply be added.
    reference: where it comes from.
    baseline: (bins, scores (m, width), time (m,), event (m,)) of the training set -> numbers, all that `survival` needs
        of it: they are kept with the weights, so that curves need no patient of the training set. Nothing by default.
    head: the hyperparameter `head` that a model must have for this loss; models without one are `linear`.
    """

    name: str
    title: str
    width: Callable[[int], int]
    loss: Callable[[Tensor, Target, float], Tensor]
    risk: Callable[[Tensor], Tensor]
    survival: Callable[[Tensor, TimeBins, np.ndarray], Tensor]
    separable: bool
    reference: str
    baseline: Callable[[TimeBins, Tensor, np.ndarray, np.ndarray], np.ndarray] = lambda *_: np.zeros(0)
    head: str = "linear"
