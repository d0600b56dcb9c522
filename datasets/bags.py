"""Bags: all slides of a patient as one bag of patches at several magnifications, read once and kept if memory lasts."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import DataError
from .cache import ByteCache
from .features.coverage import spelled, survey
from .features.reader import Reader
from .findings import Finding, finding
from .patient import Patient


@dataclass(frozen=True)
class Bag:
    """A patient's patches by magnification: features float16 (n, d), level-0 coordinates int32 (n, 2) or
    None.

    Rows of several slides follow each other in the order of `slides`; `slide_lengths` says how many each
    slide has. Coordinates are those of each slide: the slides of a patient share no plane. Arrays are
    read-only, because all folds share them.
    """

    patient: str
    features: dict[int, np.ndarray]
    coords: dict[int, np.ndarray | None]
    slides: tuple[str, ...]
    slide_lengths: dict[int, tuple[int, ...]]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = [*self.features.values(), *(c for c in self.coords.values() if c is not None)]
        return sum(array.nbytes for array in arrays)


class Bags:
    """The bags of some patients at some magnifications.

    `check()` looks at every header and refuses faults before any training. With `missing="drop"`, slides
    without a file, without one of the scales, or with an empty one are left out and listed by `check()`, and
    `absent` then names the patients of whom nothing is left: take them out of the folds. Up to `cache_bytes`
    of bags are kept in memory.
    """

    def __init__(
        self,
        reader: Reader,
        patients: Iterable[Patient],
        magnifications: Iterable[int],
        cache_bytes: int = 2 << 30,
        missing: Literal["error", "drop"] = "error",
    ) -> None:
        """Match slides with files by name; nothing is read yet."""
        self.reader = reader
        self.magnifications = tuple(sorted(set(magnifications)))
        self.missing = missing
        self.absent: tuple[str, ...] = ()
        self._cache: ByteCache[Bag] = ByteCache(cache_bytes)
        self._slides: dict[str, tuple[str, ...]] = {}  # as the files are called
        known = list(patients)
        names = spelled((slide for patient in known for slide in patient.slides), reader.slides)
        self._respelt = {slide: name for slide, name in names.items() if name != slide}
        for patient in known:
            self._slides[patient.id] = tuple(names[slide] for slide in patient.slides)

    def check(self, progress: Callable[[int, int], None] | None = None) -> tuple[Finding, ...]:
        """Look at the header of every slide and return what was noticed; one DataError lists all faults
        found.

        Faults: files that are missing or damaged, slides that lack a scale or have an empty one, widths that
        differ between slides or scales. `progress(done, total)` is called once a slide.
        """
        slides = [slide for names in self._slides.values() for slide in names]
        found = survey(self.reader, slides, self.magnifications, progress)
        found.refuse(self.reader.folder, allow_missing=self.missing == "drop")
        findings = [*self.reader.findings, *found.findings(self.reader.folder)]
        for patient, names in self._slides.items():
            self._slides[patient] = tuple(s for s in names if s not in found.unusable)
        self.absent = tuple(sorted(patient for patient, names in self._slides.items() if not names))
        if self.absent:
            message = "patients have no slide with usable features; left out"
            findings.append(finding("patients_without_features", "warning", message, self.absent))
        if self._respelt:
            message = "slides match their feature file only when upper and lower case are ignored"
            findings.append(finding("slide_name_case", "warning", message, self._respelt))
        if extra := self.reader.slides - set(slides):
            message = "slides with features belong to no patient of the labels; not used"
            findings.append(finding("features_without_label", "info", message, extra))
        return tuple(findings)

    @property
    def slides(self) -> tuple[str, ...]:
        """The slides that the bags are made of, as their files are called."""
        return tuple(slide for names in self._slides.values() for slide in names)

    def lengths(self, patient_id: str) -> dict[int, int]:
        """Patches of a patient by magnification, from headers alone."""
        counts: Counter[int] = Counter()
        for slide in self._names(patient_id):
            counts.update(self._counts(slide))
        return dict(counts)

    def tokens(self, patient_id: str) -> int:
        """Patches of a patient over all magnifications, from headers alone: what a token budget counts."""
        return sum(self.lengths(patient_id).values())

    def __getitem__(self, patient_id: str) -> Bag:
        """The bag of a patient; DataError if a file is missing, damaged, or holds NaN or infinite values."""
        bag = self._cache.get(patient_id)
        if bag is None:
            bag = self._read(patient_id)
            self._cache.put(patient_id, bag, bag.nbytes)
        return bag

    def __len__(self) -> int:
        """How many patients."""
        return len(self._slides)

    def _names(self, patient_id: str) -> tuple[str, ...]:
        if patient_id not in self._slides:
            raise KeyError(f"{patient_id} is not one of the {len(self)} patients of these bags")
        if not self._slides[patient_id]:
            raise DataError(f"{self.reader.folder} has no usable features of patient {patient_id}.")
        return self._slides[patient_id]

    def _counts(self, slide: str) -> dict[int, int]:
        counts = self.reader.counts(slide)
        lacking = [m for m in self.magnifications if not counts.get(m)]
        if lacking:
            raise DataError(f"{self.reader.folder}: slide {slide} has no patches at {lacking[0]}x.")
        return {m: counts[m] for m in self.magnifications}

    def _read(self, patient_id: str) -> Bag:
        slides = self._names(patient_id)
        counts = [self._counts(slide) for slide in slides]
        features, coords = {}, {}
        for m in self.magnifications:
            # One matrix for all slides, filled in place: the bag is never in memory twice.
            matrix = np.empty((sum(c[m] for c in counts), self.reader.dim), np.float16)  # (n, d)
            corners, start = [], 0
            for slide, count in zip(slides, counts, strict=True):
                _, where = self.reader.read(slide, m, out=matrix[start : start + count[m]])
                corners.append(where)
                start += count[m]
            known = [c for c in corners if c is not None]
            joined = np.concatenate(known) if len(known) == len(corners) else None  # (n, 2)
            for array in (matrix, joined):
                if array is not None:
                    array.flags.writeable = False
            features[m], coords[m] = matrix, joined
        per_slide = {m: tuple(c[m] for c in counts) for m in self.magnifications}
        return Bag(patient_id, features, coords, slides, per_slide)
