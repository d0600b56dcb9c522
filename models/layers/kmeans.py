"""k-means in torch: the same clusters for the same points in the same order, on any device."""

import torch
from torch import Tensor

BLOCK = 2**22  # distances held at once


@torch.no_grad()
def k_means(x: Tensor, k: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Centres of k clusters of the points x (n, d): (k, d), k <= n.

    Starts from k-means++ (Arthur and Vassilvitskii 2007), then `iterations` rounds of Lloyd's algorithm; a centre
    that loses all its points stays where it was. `generator` is of the CPU.
    """
    n = len(x)
    draws = torch.rand(k, dtype=torch.float64, generator=generator).tolist()
    centres = x[int(draws[0] * n)][None]
    nearest = (x - centres[0]).square().sum(1)  # (n,) squared distance to the nearest centre so far
    for draw in draws[1:]:
        reach = nearest.double().cumsum(0)
        chosen = int(torch.searchsorted(reach, draw * reach[-1], right=True).clamp(max=n - 1))
        centres = torch.cat([centres, x[chosen][None]])
        nearest = torch.minimum(nearest, (x - x[chosen]).square().sum(1))
    for _ in range(iterations):
        label = closest(x, centres)
        counts = torch.bincount(label, minlength=k)
        means = torch.zeros_like(centres).index_add(0, label, x) / counts.clamp(min=1)[:, None].to(x.dtype)
        centres = torch.where(counts[:, None] > 0, means, centres)
    return centres


@torch.no_grad()
def closest(x: Tensor, centres: Tensor) -> Tensor:
    """The nearest of the centres (k, d) of each point x (n, d): (n,); the first of equally near ones."""
    norms = centres.square().sum(1)
    return torch.cat([(norms - 2 * part @ centres.t()).argmin(1) for part in x.split(max(1, BLOCK // len(centres)))])
