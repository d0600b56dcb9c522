"""Some patches of a bag, drawn anew in every epoch, so that training reads less than evaluation does."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from .batches import BagSource, OneBag


@dataclass(frozen=True)
class SampledBag:
    """Some patches of a bag, in their order; see `batches.OneBag`."""

    features: Mapping[int, np.ndarray]
    cells: Mapping[int, np.ndarray]
    slide_lengths: Mapping[int, Sequence[int]]


class MeasuredBags(BagSource, Protocol):
    """Bags whose patches are counted without reading them; `milsurv.datasets.bags.Bags` is one."""

    def lengths(self, patient_id: str) -> Mapping[int, int]:
        """Patches by magnification."""
        ...


@dataclass(frozen=True)
class SampledBags:
    """Bags of about `patches` patches at the finest magnification, as they are in one epoch; see `batches.BagSource`.

    The other magnifications keep the same share of their patches. A model that knows places gets whole cells of the
    coarsest magnification with all that lies in them, so that what belongs together stays together. A bag with no more
    patches is given as it is.

    seed, epoch: what is drawn follows from these and the patient alone, whatever was drawn before.
    """

    bags: MeasuredBags
    patches: int
    seed: int
    epoch: int

    def __getitem__(self, patient_id: str) -> OneBag:
        """The sampled bag of a patient."""
        bag = self.bags[patient_id]
        finest = len(bag.features[max(bag.features)])
        if finest <= self.patches:
            return bag
        digest = hashlib.sha256(f"{self.seed}/{self.epoch}/{patient_id}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        drawn = _by_cell if bag.cells else _by_patch
        return _some(bag, drawn(bag, self.patches / finest, rng))

    def tokens(self, patient_id: str) -> int:
        """Patches over all magnifications; about as many, where whole cells are drawn."""
        lengths = self.bags.lengths(patient_id)
        share = min(1.0, self.patches / lengths[max(lengths)])
        return sum(_count(share, n) for n in lengths.values())


def training_bags(bags: BagSource, patches: int, seed: int) -> Callable[[int], BagSource]:
    """The bags to learn from, by epoch from 0: all patches where `patches` is 0."""
    if not patches:
        return lambda epoch: bags
    return lambda epoch: SampledBags(cast(MeasuredBags, bags), patches, seed, epoch)


def _count(share: float, n: int) -> int:
    return max(1, round(share * n))


def _by_patch(bag: OneBag, share: float, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Rows by magnification, each drawn at random."""
    return {
        m: np.sort(rng.choice(len(x), _count(share, len(x)), replace=False, shuffle=False))
        for m, x in sorted(bag.features.items())
    }


def _by_cell(bag: OneBag, share: float, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Rows by magnification: all that lie in cells of the coarsest magnification that are drawn at random."""
    coarsest, finest = min(bag.cells), max(bag.cells)
    low = np.min([cells.min(0) // (m // coarsest) for m, cells in bag.cells.items()], axis=0)  # (2,)

    def names(m: int) -> np.ndarray:
        """Of every row, its slide and coarsest cell as one number, (n,)."""
        x, y = (bag.cells[m] // (m // coarsest) - low).astype(np.int64).T
        return np.repeat(np.arange(len(bag.slide_lengths[m])), bag.slide_lengths[m]) << 42 | x << 21 | y

    known, held = np.unique(names(finest), return_counts=True)
    order = rng.permutation(len(known))
    enough = 1 + int(np.searchsorted(np.cumsum(held[order]), _count(share, int(held.sum()))))
    rows = {m: np.flatnonzero(np.isin(names(m), known[order[:enough]])) for m in sorted(bag.cells)}
    # A scale may lack all patches of these cells where the scales of a slide do not cover the same tissue.
    return {m: row if len(row) else rng.integers(len(bag.cells[m]), size=1) for m, row in rows.items()}


def _some(bag: OneBag, rows: Mapping[int, np.ndarray]) -> SampledBag:
    ends = {m: np.cumsum(bag.slide_lengths[m]) for m in rows}
    return SampledBag(
        {m: bag.features[m][row] for m, row in rows.items()},
        {m: bag.cells[m][row] for m, row in rows.items()} if bag.cells else {},
        {m: tuple(np.diff(np.searchsorted(row, ends[m]), prepend=0).tolist()) for m, row in rows.items()},
    )
