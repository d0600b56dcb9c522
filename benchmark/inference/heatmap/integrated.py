"""Integrated gradients, by captum: how the risk follows the features on the way from a bag of mean patches."""

from captum.attr import IntegratedGradients
from torch import Tensor

from ....models.attribution.scorer import Scorer

STEPS = 16


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
