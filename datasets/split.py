"""Split and Folds: which patients a model learns from and which it is scored on."""

from dataclasses import dataclass

from ..errors import DataError, some
from .findings import Finding


@dataclass(frozen=True)
class Split:
    """One fold: patient ids to learn from (`train`), to choose with (`val`), to score on (`test`; chooses
    nothing).

    Disjoint by construction: a patient in two sets, or twice in one, is a DataError that names them.
    """

    fold: int
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse overlaps."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        for name, ids in parts.items():
            if len(set(ids)) < len(ids):
                twice = sorted({i for i in ids if ids.count(i) > 1})
                raise DataError(f"fold {self.fold}: patients twice in {name}: {some(twice)}.")
        for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
            both = sorted(set(parts[one]) & set(parts[other]))
            if both:
                raise DataError(
                    f"fold {self.fold}: {len(both)} patients are in {one} and in {other}: {some(both)}. "
                    "The scores would be those of patients the model has seen: correct the fold."
                )


@dataclass(frozen=True)
class Folds:
    """The folds of one cross-validation, or of several: `repeats` times as many, one cross-validation after another.

    With k folds and r repeats the splits are numbered 0 to k r - 1; those of repeat j are j k to (j + 1) k - 1,
    and each repeat tests every patient once. `kind` is how they were made: files, stratified, site-preserving.
    `fingerprint` hashes who is in which set, in whatever order.
    """

    name: str
    splits: tuple[Split, ...]
    findings: tuple[Finding, ...]
    fingerprint: str
    kind: str = "files"
    repeats: int = 1
    seed: int | None = None

    @property
    def k(self) -> int:
        """Folds of one cross-validation."""
        return len(self.splits) // self.repeats

    def repeat_of(self, fold: int) -> int:
        """Which cross-validation a fold belongs to, from 0."""
        return [split.fold for split in self.splits].index(fold) // self.k
