"""Occlusion: how much the risk falls where a group of patches is replaced by the mean patch of its bag and scale."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from .scorer import Scorer, portions

TOKENS = 40_000
"""Patches that are computed at once: bounds memory."""


@torch.no_grad()
def occlusion(
    scorer: Scorer,
    groups: Mapping[int, Tensor],
    tokens: int = TOKENS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Tensor]:
    """What each patch is worth by the group that it is in: risk as it is, minus risk without the group, per patch.

    Groups are replaced scale by scale. A patch gets the change of its group divided by the group's patches, so that
    groups of different size compare. Positive: the patches raise the risk. Replacing a patch instead of removing it
    keeps the bag's shape, which models with positions, graphs or pyramids need.

    Parameters
    ----------
    groups
        By magnification, the number of each patch's group, (n,), from 0.
    tokens
        Patches that are computed at once.
    progress
        Called with (groups done, all groups).

    Returns
    -------
    dict
        By magnification, (n,) float32.
    """
    base, means, found = scorer.base(), scorer.means(), {}
    total = sum(int(group.max()) + 1 for group in groups.values())
    done = 0
    for m, group in groups.items():
        numbers = list(range(int(group.max()) + 1))
        change = torch.zeros(len(numbers))
        for some in portions(numbers, tokens // max(1, scorer.patches)):
            change[list(some)] = base - _without(scorer, m, group, some, means[m]).float().cpu()
            done += len(some)
            progress(done, total)
        size = torch.bincount(group, minlength=len(numbers)).clamp(min=1)
        found[m] = (change / size)[group]
    return found


def _without(scorer: Scorer, m: int, group: Tensor, numbers: Sequence[int], mean: Tensor) -> Tensor:
    """Risks of the bag without each of these groups of one scale."""
    variants = {s: x.expand(len(numbers), *x.shape) for s, x in scorer.features.items()}
    one = scorer.features[m].repeat(len(numbers), 1, 1)  # (k, n, d)
    for k, number in enumerate(numbers):
        one[k, group == number] = mean
    return scorer({**variants, m: one})
