"""k-means by Lloyd's iterations from a k-means++ start, in plain torch, reproducible by its generator."""

import torch
from torch import Tensor

BLOCK = 2**24  # distances held at once


def nearest(x: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to the nearest centre and its number, the lower of two equal: x (n, d) -> (n,) and (n,)."""
    norms = centres.square().sum(1)  # (k,)
    found = [
        torch.addmm(norms[None], rows, centres.T, alpha=-2).min(1) for rows in x.split(max(1, BLOCK // len(centres)))
    ]
    least = torch.cat([part.values for part in found]) + x.square().sum(1)
    return least.clamp(min=0), torch.cat([part.indices for part in found])


@torch.no_grad()
def kmeans(
    x: Tensor, count: int, iterations: int, generator: torch.Generator, candidates: int = 1
) -> tuple[Tensor, Tensor]:
    """Centres (k, d) and the number of each row's centre (n,), with k = min(count, n).

    generator: on the CPU, whatever the device of x (n, d), so that all devices start from the same rows. Each further
    centre is the best of so many `candidates` drawn with a chance proportional to the squared distance to the centres
    before it (k-means++; Arthur and Vassilvitskii 2007). A centre that no row is nearest to stays where it was.
    """
    n = len(x)
    chosen = [int(torch.randint(n, (), generator=generator))]
    norms = x.double().square().sum(1)
    # Squared distance to the nearest centre so far, (n,).
    least = _squared(x, norms, torch.tensor(chosen, device=x.device))[:, 0]
    for draws in torch.rand(min(count, n) - 1, candidates, dtype=torch.float64, generator=generator):
        total = least.cumsum(0)
        drawn = torch.searchsorted(total.cpu(), draws * total[-1].item(), right=True).clamp(max=n - 1)
        after = torch.minimum(least[:, None], _squared(x, norms, drawn.to(x.device)))  # (n, candidates)
        best = int(after.sum(0).argmin())
        chosen.append(int(drawn[best]))
        least = after[:, best]
    centres = x[chosen].clone()
    for _ in range(iterations):
        label = nearest(x, centres)[1]
        counts = torch.bincount(label, minlength=len(centres))[:, None]  # (k, 1)
        sums = torch.zeros_like(centres).index_add_(0, label, x)
        moved = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres, nearest(x, centres)[1]


def _squared(x: Tensor, norms: Tensor, rows: Tensor) -> Tensor:
    """Squared distances of x (n, d), of squared lengths `norms` (n,), to some of its own rows (k,): (n, k) in double.

    Expanded, which is one product of matrices; a row's distance to itself is exactly 0.
    """
    found = (norms[:, None] + norms[rows] - 2 * (x @ x[rows].T).double()).clamp(min=0)
    return found.scatter(0, rows[None], 0.0)


def distortion(x: Tensor, centres: Tensor) -> float:
    """Sum of the squared distances of rows (n, d) to their nearest centre."""
    return float(nearest(x, centres)[0].double().sum())
