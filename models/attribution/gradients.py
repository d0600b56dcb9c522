"""Gradients: how the risk follows the features of a patch, at the bag itself and on the way to it from mean patches."""

import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from .scorer import Scorer

STEPS = 16


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


def integrated_gradients(scorer: Scorer, steps: int = STEPS) -> dict[int, Tensor]:
    """The gradients along the straight way from a bag of mean patches, times the difference: (n,) by magnification.

    They sum to the risk of the bag minus that of the bag of mean patches, up to the error of `steps` points.

    References
    ----------
    Sundararajan, Taly and Yan: Axiomatic attribution for deep networks. ICML 2017.
    """
    scales = list(scorer.features)
    means = scorer.means()

    def forward(*parts: Tensor) -> Tensor:
        return scorer(dict(zip(scales, parts, strict=True)))

    inputs = tuple(scorer.features[m][None] for m in scales)
    baselines = tuple(means[m].expand_as(scorer.features[m])[None] for m in scales)
    explained = IntegratedGradients(forward, multiply_by_inputs=True)
    found = explained.attribute(inputs, baselines, n_steps=steps, internal_batch_size=1)
    return {m: one[0].sum(1).detach().float().cpu() for m, one in zip(scales, found, strict=True)}
