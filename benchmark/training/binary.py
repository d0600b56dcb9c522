"""The loss of one binary classifier per time: raw scores are the logits of having died by the end of each bin."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ...survival.time_bins import TimeBins
from .loss import SurvivalLoss, Target


def bce(scores: Tensor, target: Target, alpha: float) -> Tensor:
    """Binary cross entropy at the end of every bin, of the patients whose state is known then; mean over all entries.

    A patient who died in a bin is alive at the ends before it and dead from its own on; one who was last seen alive in
    a bin counts at the ends before it. Kvamme and Borgan 2023; pycox's `bce_surv_loss`, whose scores are the logits of
    being alive. `alpha` is not used.
    """
    alive = (torch.arange(scores.shape[1], device=scores.device) < target.bin[:, None]).to(scores.dtype)  # (b, bins)
    counted = alive + (1 - alive) * target.event[:, None].to(scores.dtype)
    return binary_cross_entropy_with_logits(-scores, alive, counted)


def _survival(scores: Tensor, bins: TimeBins | None = None, *_: object) -> Tensor:
    """Probabilities of being alive; the classifiers know nothing of each other, so the least so far is taken."""
    return torch.sigmoid(-scores).cummin(1).values


BCE = SurvivalLoss(
    "bce",
    "binary cross entropy at each time",
    lambda bins: bins,
    bce,
    lambda scores: -_survival(scores).sum(1),
    _survival,
    True,
    "Kvamme and Borgan 2023",
)
