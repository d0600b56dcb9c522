"""Deletion and insertion: how the risk moves when the patches that a map ranks first are taken away, or given alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .scorer import Scorer

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)


@torch.no_grad()
def deletion(scorer: Scorer, magnification: int, values: Tensor, shares: Sequence[float] = SHARES) -> Tensor:
    """Risks (k,) without the share of one scale's patches that `values` (n,) rank highest: each is the mean patch then.

    References
    ----------
    Petsiuk, Das and Saenko: RISE: Randomized input sampling for explanation of black-box models. BMVC 2018.
    """
    return _curve(scorer, magnification, values, shares, deleted=True)


@torch.no_grad()
def insertion(scorer: Scorer, magnification: int, values: Tensor, shares: Sequence[float] = SHARES) -> Tensor:
    """Risks (k,) with only that share of the patches as they are, all others of the scale the mean patch."""
    return _curve(scorer, magnification, values, shares, deleted=False)


def _curve(scorer: Scorer, m: int, values: Tensor, shares: Sequence[float], deleted: bool) -> Tensor:
    x = scorer.features[m]
    mean = scorer.means()[m]
    order = values.argsort(descending=True, stable=True)
    risks = []
    for share in shares:
        first = torch.zeros(len(x), dtype=torch.bool)
        first[order[: max(1, round(share * len(x)))]] = True
        gone = first if deleted else ~first
        changed = torch.where(gone[:, None], mean, x)
        variants = {s: one[None] for s, one in scorer.features.items()} | {m: changed[None]}
        risks.append(scorer(variants)[0])
    return torch.stack(risks).float().cpu()
