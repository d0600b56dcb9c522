"""The way in for modules that know nothing of packed batches."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class PerBag(nn.Module):
    """Run any module that takes one bag on every bag of a packed batch.

    With one scale the module is called with (1, n, d); with several, with a mapping of magnification to (1, n, d). It
    returns (1, n_out) or (n_out,). Layers that mix bags, such as BatchNorm, see one bag at a time.
    """

    def __init__(self, module: nn.Module, *scales: int) -> None:
        """Wrap `module`, which reads `scales`. Raises ValueError where none is given."""
        super().__init__()
        if not scales:
            raise ValueError("PerBag needs the magnifications that the module reads, such as PerBag(module, 20)")
        self.module = module
        self.scales = scales

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch one by one: -> (b, n_out)."""
        split = [features[scale].split(lengths[scale].tolist()) for scale in self.scales]
        scores: list[Tensor] = []
        for bag in zip(*split, strict=True):
            bags = [x.unsqueeze(0) for x in bag]
            one = bags[0] if len(bags) == 1 else dict(zip(self.scales, bags, strict=True))
            scores.append(self.module(one).reshape(-1))
        return torch.stack(scores)
