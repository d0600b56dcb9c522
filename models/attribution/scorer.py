"""One bag under a trained model, and variants of it scored many at a time: what every attribution asks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..contract import Places

Risk = Callable[[Tensor], Tensor]
"""Raw scores (b, n_out) to risks (b,): the loss that trained a model knows how."""


@dataclass(frozen=True)
class Scorer:
    """A model in evaluation mode and the bag that is explained.

    Attributes
    ----------
    module
        As `ModelSpec` says.
    risk
        How its scores become the risk that is explained.
    features
        By magnification, (n, d) each, in single precision.
    places
        Of the patches, for models that need them.
    """

    module: nn.Module
    risk: Risk
    features: Mapping[int, Tensor]
    places: Places | None = None

    @property
    def patches(self) -> int:
        """Over all magnifications."""
        return sum(map(len, self.features.values()))

    def means(self) -> dict[int, Tensor]:
        """The mean patch of each scale, (1, d): what stands for a patch that tells nothing."""
        return {m: x.mean(0, keepdim=True) for m, x in self.features.items()}

    def __call__(self, variants: Mapping[int, Tensor]) -> Tensor:
        """Risks (k,) of k variants of the bag at once, (k, n, d) by magnification."""
        k = next(iter(variants.values())).shape[0]
        lengths = {m: torch.full((k,), x.shape[1], dtype=torch.long, device=x.device) for m, x in variants.items()}
        packed = {m: x.reshape(-1, x.shape[-1]) for m, x in variants.items()}
        if self.places is None:
            return self.risk(self.module(packed, lengths))
        return self.risk(self.module(packed, lengths, _repeated(self.places, k)))

    @torch.no_grad()
    def base(self) -> float:
        """The risk of the bag as it is."""
        return float(self({m: x[None] for m, x in self.features.items()})[0])


def _repeated(places: Places, k: int) -> Places:
    """The places of k copies of a bag; every copy has slides of its own."""
    count = 1 + max(int(slide.max()) for slide in places.slide.values())
    shift = torch.arange(k, dtype=torch.int32)
    return Places(
        {m: cells.repeat(k, 1) for m, cells in places.cells.items()},
        {m: (slide[None] + count * shift[:, None].to(slide.device)).flatten() for m, slide in places.slide.items()},
    )


def portions(items: Sequence, size: int) -> Iterator[Sequence]:
    """Runs of at most `size` items."""
    for start in range(0, len(items), max(1, size)):
        yield items[start : start + max(1, size)]
