"""The patches of a slide whose features are most alike: the latent graph of the graph models."""

import torch
from torch import Tensor

BLOCK = 2**22  # distances held at once


@torch.no_grad()
def most_similar(x: Tensor, slide: Tensor, k: int) -> Tensor:
    """The k other patches of the same slide with the nearest features, nearest first: rows, (n, k); -1 where fewer.

    x: features (n, d); slide: (n,). Distances are Euclidean, computed in blocks of rows.
    """
    found = torch.full((len(x), k), -1, dtype=torch.long, device=x.device)
    for number in torch.unique(slide).tolist():
        rows = (slide == number).nonzero().squeeze(1)
        own, kept = x[rows].float(), min(k, len(rows) - 1)
        for some in torch.arange(len(rows), device=x.device).split(max(1, BLOCK // len(rows))):
            distance = torch.cdist(own[some], own)  # (r, n of the slide)
            distance.scatter_(1, some[:, None], torch.inf)
            found[rows[some], :kept] = rows[distance.topk(kept, largest=False).indices]
    return found
