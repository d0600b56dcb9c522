"""The gradient: how the risk follows the features of a patch, at the bag as it is."""

import torch
from torch import Tensor

from .scorer import Scorer


def gradient_times_input(scorer: Scorer) -> dict[int, Tensor]:
    """The derivative of the risk by each patch, times the patch's difference from the mean patch: (n,) by scale.

    To first order, what the risk would lose if the patch were the mean one. One forward and one backward pass.

    References
    ----------
    Shrikumar, Greenside and Kundaje: Learning important features through propagating activation differences. ICML 2017.
    """
    inputs = {m: x.detach()[None].clone().requires_grad_() for m, x in scorer.features.items()}
    scales = list(inputs)
    grads = torch.autograd.grad(scorer(inputs).sum(), [inputs[m] for m in scales], allow_unused=True)
    means, found = scorer.means(), {}
    for m, grad in zip(scales, grads, strict=True):
        x = scorer.features[m]
        found[m] = torch.zeros(len(x)) if grad is None else ((x - means[m]) * grad[0]).sum(1).float().cpu()
    return found
