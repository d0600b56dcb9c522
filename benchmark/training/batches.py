"""From patients to packed tensors: which patients make a step, and how many of them are computed at once."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...models.contract import Places

READERS = 2
"""Threads that read ahead: while one waits for a disk, the other unpacks."""

T = TypeVar("T")
R = TypeVar("R")


class OneBag(Protocol):
    """A patient's patches."""

    @property
    def features(self) -> Mapping[int, np.ndarray]:
        """Features by magnification, float16 `(n, d)` each."""
        ...

    @property
    def cells(self) -> Mapping[int, np.ndarray]:
        """Cells by magnification, int32 `(n, 2)` each; empty where the model does not need them."""
        ...

    @property
    def slide_lengths(self) -> Mapping[int, Sequence[int]]:
        """By magnification, how many patches each slide has, in the order of the rows."""
        ...


class BagSource(Protocol):
    """Where bags come from; `milsurv.datasets.bags.Bags` is one."""

    def __getitem__(self, patient_id: str) -> OneBag:
        """The bag of a patient."""
        ...

    def tokens(self, patient_id: str) -> int:
        """Patches over all magnifications, without reading them."""
        ...


@dataclass(frozen=True)
class Packed:
    """Several bags laid end to end: by magnification, `features[m]` `(sum of n, d)` and `lengths[m]` `(b,)`.

    Lengths stay on the CPU, where models cut bags by them: a GPU would have to be waited for.
    places: where the patches lie, for models that need it; else None. arrived: when features and places, which were
    copied to a GPU beside its arithmetic, are there.
    """

    patients: tuple[str, ...]
    features: dict[int, Tensor]
    lengths: dict[int, Tensor]
    places: Places | None = None
    arrived: "torch.cuda.Event | None" = None

    def to(self, device: torch.device) -> "Packed":
        """The same bags on a device, in float32. They travel in float16, which is half of the bytes."""
        if self.arrived is not None:
            here = torch.cuda.current_stream(device)
            here.wait_event(self.arrived)
            for x in self._tensors():
                x.record_stream(here)  # or their memory would be taken while it is read
        return replace(
            self,
            features={m: x.to(device, non_blocking=True).float() for m, x in self.features.items()},
            places=None if self.places is None else self.places.to(device),
            arrived=None,
        )

    def sent(self, stream: "torch.cuda.Stream") -> "Packed":
        """The same bags on their way to a GPU, in float16, through memory from which it fetches them by itself."""
        places = self.places
        pinned = None if places is None else Places(_pinned(places.cells), _pinned(places.slide))
        with torch.cuda.stream(stream):
            there = replace(
                self,
                features={m: x.to(stream.device, non_blocking=True) for m, x in _pinned(self.features).items()},
                places=None if pinned is None else pinned.to(stream.device),
            )
            return replace(there, arrived=stream.record_event())

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.features.values()
        if self.places is not None:
            yield from (*self.places.cells.values(), *self.places.slide.values())


def _pinned(tensors: Mapping[int, Tensor]) -> dict[int, Tensor]:
    return {m: x.pin_memory() for m, x in tensors.items()}


def pack(bags: BagSource, patients: Sequence[str]) -> Packed:
    """The bags of these patients, packed, as they are stored (float16)."""
    packed = [bags[patient] for patient in patients]
    scales = packed[0].features.keys()
    return Packed(
        tuple(patients),
        {m: torch.from_numpy(np.concatenate([bag.features[m] for bag in packed])) for m in scales},
        {m: torch.tensor([len(bag.features[m]) for bag in packed]) for m in scales},
        _places(packed) if packed[0].cells else None,
    )


def _places(bags: Sequence[OneBag]) -> Places:
    """Cells of these bags, laid end to end, and their slides, numbered through all of them."""
    cells, slide = {}, {}
    for m in bags[0].cells:
        rows = np.concatenate([np.asarray(bag.slide_lengths[m], int) for bag in bags])  # (slides,)
        cells[m] = torch.from_numpy(np.concatenate([bag.cells[m] for bag in bags]))  # (sum of n, 2)
        slide[m] = torch.from_numpy(np.repeat(np.arange(len(rows), dtype=np.int32), rows))  # (sum of n,)
    return Places(cells, slide)


def pieces(bags: BagSource, patients: Sequence[str], tokens: int) -> Iterator[list[str]]:
    """Cut patients, in order, into runs of at most `tokens` patches; a larger bag stands alone."""
    piece: list[str] = []
    held = 0
    for patient in patients:
        size = bags.tokens(patient)
        if piece and held + size > tokens:
            yield piece
            piece, held = [], 0
        piece.append(patient)
        held += size
    if piece:
        yield piece


def prefetched(
    function: Callable[[T], R], items: Iterable[T], size: Callable[[T], int] = lambda item: 1, most: int = 1
) -> Generator[R, None, None]:
    """`map(function, items)` with the next results prepared by threads while the caller uses the last one.

    size: what a result takes; most: what all that are prepared, or under way, take together. One is, however large.
    """
    pool, waiting, held = ThreadPoolExecutor(READERS, "reader"), deque[tuple[Future[R], int]](), 0
    try:
        todo = ((item, size(item)) for item in items)
        following = next(todo, None)
        result: list[R] = []  # the one to be used next, while those after it are prepared
        while following or waiting or result:
            while following and (not waiting or held + following[1] <= most):
                waiting.append((pool.submit(function, following[0]), following[1]))
                held += following[1]
                following = next(todo, None)
            if result:
                yield result.pop()
            if waiting:
                future, taken = waiting.popleft()
                result.append(future.result())
                held -= taken
    finally:
        pool.shutdown(cancel_futures=True)


Piece = tuple[BagSource, list[str]]
"""Some patients of a source."""


def stream(reading: Iterable[Piece], tokens: int, device: torch.device) -> Generator[Packed, None, None]:
    """Packed bags, piece by piece, read ahead while earlier ones are computed: about two budgets of `tokens` patches.

    Reading draws no random number, so that how far it is ahead changes nothing. For a GPU they are copied beside its
    arithmetic.
    """
    aside = torch.cuda.Stream(device) if device.type == "cuda" else None

    def read(piece: Piece) -> Packed:
        packed = pack(*piece)
        return packed if aside is None else packed.sent(aside)

    def size(piece: Piece) -> int:
        return sum(map(piece[0].tokens, piece[1]))

    return prefetched(read, reading, size, 2 * tokens)


def epoch_batches(
    sampling: str,
    patients: Sequence[str],
    bin: np.ndarray,
    event: np.ndarray,
    size: int,
    rng: np.random.Generator,
) -> list[list[str]]:
    """One epoch of optimizer steps, each a list of patients.

    sampling: `shuffle`, `classes` or `events`, as `Recipe` says.
    bin, event: `(n,)` of the training set, in the order of `patients`.
    """
    n = len(patients)
    count = max(1, -(-n // size))
    if sampling == "classes":
        classes = bin * 2 + event
        _, inverse, sizes = np.unique(classes, return_inverse=True, return_counts=True)
        weight = 1.0 / sizes[inverse]
        drawn = rng.choice(n, n, replace=True, p=weight / weight.sum())
        groups = [drawn[i : i + size] for i in range(0, n, size)]
    elif sampling == "events":
        # Deaths first, then the rest, dealt like cards: every batch gets its share of both, give or take one.
        order = np.concatenate([rng.permutation(np.flatnonzero(event)), rng.permutation(np.flatnonzero(~event))])
        groups = [order[i::count] for i in range(count)]
    else:
        order = rng.permutation(n)
        groups = np.array_split(order, count)
    return [[patients[int(i)] for i in group] for group in groups]
