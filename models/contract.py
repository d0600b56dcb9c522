"""What passes between a model and its trainer beside features and scores; only models that need it see any of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Where the patches of a packed batch lie, for models whose spec says `places=True`.

    Attributes:
        cells: by magnification, whole cells (x, y) of that scale, (sum of n, 2) int32. The scales of a slide share one
            grid and its origin: the cell at half the magnification that contains a cell is `cell // 2`.
        slide: by magnification, the slide of each row, (sum of n,) int32, numbered through the whole batch. Slides
            share no plane: a graph or a region never crosses them, and so never crosses bags.
    """

    cells: Mapping[int, Tensor]
    slide: Mapping[int, Tensor]

    def to(self, device: Any) -> "Places":
        """The same places on a device."""
        return Places(
            {m: x.to(device, non_blocking=True) for m, x in self.cells.items()},
            {m: x.to(device, non_blocking=True) for m, x in self.slide.items()},
        )


@dataclass(frozen=True)
class Trained:
    """What a model in training mode may return instead of its scores. In evaluation it returns the scores alone.

    The trainer's objective is loss(scores) + view_weight * sum over v of loss(views[v]) + mean of the penalty. No label
    enters `forward`.

    Attributes:
        scores: raw scores, (b, n_out).
        views: further scores of the same patients, trained with the same loss and targets, (v, b, n_out).
        view_weight: the weight of each view.
        penalty: already weighted. (b,): of each patient. (b, bins): read at the bin of each patient who died; of a
            censored patient the bin of death is not known, so the penalty is 0. One column serves all bins.
    """

    scores: Tensor
    views: Tensor | None = None
    view_weight: float = 1.0
    penalty: Tensor | None = None

    def float(self) -> "Trained":
        """The same in single precision: losses are never computed in halves."""
        views = None if self.views is None else self.views.float()
        penalty = None if self.penalty is None else self.penalty.float()
        return replace(self, scores=self.scores.float(), views=views, penalty=penalty)


class TrainingBag(Protocol):
    """A patient's patches, as `prepare` sees them: numpy arrays, read-only; `torch.tensor` copies one."""

    @property
    def features(self) -> Mapping[int, Any]:
        """Features by magnification, float16 `(n, d)` each."""
        ...


class TrainingBags(Protocol):
    """Bags by patient."""

    def __getitem__(self, patient_id: str, /) -> TrainingBag:
        """The bag of a patient."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """A model that fits something before its first step, such as prototypes: in buffers, so a checkpoint holds it."""

    def prepare(self, bags: TrainingBags, patients: Sequence[str], rng: Any) -> None:
        """Look at the training set. Called once a fold, on the model's device.

        bags: by patient; patients: those of the training set, the only ones that may be read.
        rng: a `numpy.random.Generator`; `torch.Generator().manual_seed(int(rng.integers(2**62)))` makes torch's of it.
        """
        ...


@runtime_checkable
class Steps(Protocol):
    """A model that does something after every step of the optimizer, such as moving a teacher."""

    def after_step(self) -> None:
        """Called once after each step, without gradients."""
        ...
