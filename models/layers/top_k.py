"""Selecting the k best rows in a way that can be trained."""

from typing import Any

import torch
from torch import Tensor


def perturbed_top_k(scores: Tensor, k: int, noise: Tensor, sigma: float) -> Tensor:
    """The expected indicators of the k best of scores (n,) under noise (draws, n): (k, n).

    Row q is the mean over the draws of the one-hot vector of the q-th selected row, in ascending position (Cordonnier
    et al. 2021, Differentiable Patch Selection). Rows of score -inf are never selected; k must not exceed the others.
    """
    selected: Tensor = _PerturbedTopK.apply(scores, k, noise, sigma)  # pyright: ignore[reportAssignmentType]
    return selected


class _PerturbedTopK(torch.autograd.Function):
    """The gradient is the diagonal of the perturbation estimator, as in the published listing:

    d scores[p] = sum over q of g[q, p] * mean over the draws of (indicator[q, p] * noise[p]) / sigma.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, k: int, noise: Tensor, sigma: float) -> Tensor:
        chosen = (scores + sigma * noise).topk(k, dim=1).indices.sort(1).values  # (draws, k)
        place = (chosen + torch.arange(k, device=chosen.device) * len(scores)).flatten()
        counts = scores.new_zeros(k * len(scores))
        mean = counts.index_add(0, place, torch.ones_like(counts[:1]).expand(len(place))) / len(noise)
        weighted = counts.index_add(0, place, noise.gather(1, chosen).flatten()) / len(noise)
        ctx.save_for_backward(weighted.view(k, -1) / sigma)
        return mean.view(k, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (weighted,) = ctx.saved_tensors
        return (grads[0] * weighted).sum(0), None, None, None
