"""Bags: all slides of a patient as one bag of patches at several magnifications, read once and kept if memory lasts."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..errors import DataError, some
from .features.cells import cells_of, patch_sides
from .features.coverage import survey
from .features.reader import Reader
from .findings import Finding, finding
from .memory import bytes_for_bags
from .patient import Patient
from .slide_names import match_names


@dataclass(frozen=True)
class Bag:
    """A patient's patches by magnification: features float16 (n, d), level-0 coordinates int32 (n, 2) or
    None.

    Rows of several slides follow each other in the order of `slides`; `slide_lengths` says how many each
    slide has. Coordinates are those of each slide: the slides of a patient share no plane. Arrays are
    read-only, because all folds share them.

    `cells`, where asked for, are the whole cells of each scale on one grid per slide, int32 (n, 2): see
    `milsurv.datasets.features.cells`.
    """

    patient: str
    features: dict[int, np.ndarray]
    coords: dict[int, np.ndarray | None]
    slides: tuple[str, ...]
    slide_lengths: dict[int, tuple[int, ...]]
    cells: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = [*self.features.values(), *(c for c in self.coords.values() if c is not None), *self.cells.values()]
        return sum(array.nbytes for array in arrays)


_DAMAGED = "slides hold numbers that cannot be used (NaN, infinite, damaged)"


class Bags:
    """The bags of some patients at some magnifications.

    `check()` looks at every header and refuses faults before any training. With `missing="drop"`, slides
    without a file, without one of the scales, with an empty one or with numbers that cannot be used (all are
    read for that) are left out and listed by `check()`, and `absent` then names the patients of whom nothing is
    left: take them out of the folds. With `places`, bags have cells, and slides without coordinates are refused.

    The bags that are read first are kept in memory, up to `cache_bytes` (`memory.bytes_for_bags` when None); the others
    are read again each time. Training reads all bags in turn, in an order that changes: keeping the latest ones instead
    would keep hardly any of a cohort that is larger than the memory until its turn comes again.
    """

    def __init__(
        self,
        reader: Reader,
        patients: Iterable[Patient],
        magnifications: Iterable[int],
        cache_bytes: int | None = None,
        missing: Literal["error", "drop"] = "error",
        places: bool = False,
    ) -> None:
        """Match slides with files by name; nothing is read yet."""
        self.reader = reader
        self.magnifications = tuple(sorted(set(magnifications)))
        self.missing = missing
        self.places = places
        self.absent: tuple[str, ...] = ()
        self._kept: dict[str, Bag] = {}
        self._room = bytes_for_bags() if cache_bytes is None else cache_bytes
        self._lock = threading.Lock()  # of what is kept
        self._slides: dict[str, tuple[str, ...]] = {}  # as the files are called
        known = list(patients)
        self._matched = match_names((slide for patient in known for slide in patient.slides), reader.slides)
        for patient in known:
            self._slides[patient.id] = tuple(self._matched.names.get(slide, slide) for slide in patient.slides)

    def check(
        self, progress: Callable[[int, int], None] | None = None, headers_only: bool = False
    ) -> tuple[Finding, ...]:
        """Look at the header of every slide and return what was noticed; one DataError lists all faults
        found.

        Faults: files that are missing or damaged, slides that lack a scale or have an empty one, widths that
        differ between slides or scales. `progress(done, total)` is called once a slide. With `headers_only`, numbers
        are not read where they would be.
        """
        slides = [slide for names in self._slides.values() for slide in names]
        found = survey(self.reader, slides, self.magnifications, progress)
        found.refuse(self.reader.folder, self.missing == "drop", self.reader.slides)
        findings = [*self.reader.findings, *found.findings(self.reader.folder)]
        for patient, names in self._slides.items():
            self._slides[patient] = tuple(s for s in names if s not in found.unusable)
        if self.missing == "drop" and not headers_only and (damaged := self.damaged()):
            findings.append(finding("features_damaged", "warning", f"{_DAMAGED}; left out", damaged.values()))
            for patient, names in self._slides.items():
                self._slides[patient] = tuple(s for s in names if s not in damaged)
        if self.places:
            self._check_places()
        self.absent = tuple(sorted(patient for patient, names in self._slides.items() if not names))
        if self.absent:
            message = "patients have no slide with usable features; left out"
            findings.append(finding("patients_without_features", "warning", message, self.absent))
        findings += self._matched.findings()
        if extra := self.reader.slides - set(slides):
            message = "slides with features belong to no patient of the labels; not used"
            findings.append(finding("features_without_label", "info", message, extra))
        return tuple(findings)

    def damaged(self, progress: Callable[[int, int], None] | None = None) -> dict[str, str]:
        """Slides whose numbers cannot be used, with the reason, found by reading all of them.

        `progress(done, total)` is called once a slide.
        """
        bad = {}
        for done, slide in enumerate(self.slides, 1):
            try:
                for magnification in self.magnifications:
                    self.reader.read(slide, magnification)
            except DataError as error:
                bad[slide] = str(error)
            if progress:
                progress(done, len(self.slides))
        return bad

    def _check_places(self) -> None:
        facts = {slide: self.reader.facts(slide) for slide in self.slides}
        bare = [slide for slide, by_scale in facts.items() if not all(by_scale[m].located for m in self.magnifications)]
        if bare:
            raise DataError(
                f"{self.reader.folder}: {len(bare)} of {len(facts)} slides have no patch coordinates ({some(bare)}), "
                "and this model needs to know where patches lie. Give the folder that has them with --coords, extract "
                "the features again with coordinates, or choose a model that needs none (`bench list models`)."
            )

    def patch_px(self) -> dict[str, float]:
        """The side of the patches in pixels by magnification, where the file of the first slide says it."""
        facts = self.reader.facts(self.slides[0])
        return {str(m): px for m in self.magnifications if m in facts and (px := facts[m].geometry.patch_px)}

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
        if (bag := self._kept.get(patient_id)) is not None:
            return bag
        bag = self._read(patient_id)
        with self._lock:
            if patient_id not in self._kept and bag.nbytes <= self._room:
                self._kept[patient_id] = bag
                self._room -= bag.nbytes
        return bag

    def forget(self) -> None:
        """Free the memory of the bags that are kept; they are read again when asked for."""
        with self._lock:
            self._room += sum(bag.nbytes for bag in self._kept.values())
            self._kept.clear()

    def streamed(self) -> tuple[Finding, ...]:
        """A finding where not all bags can be kept in memory, from headers alone: how much is read in every epoch."""
        total = sum(self.tokens(patient) for patient, slides in self._slides.items() if slides) * self.reader.dim * 2
        if total <= self._room:
            return ()
        message = (
            f"{total / 2**30:.1f} GiB of features, of which {self._room / 2**30:.1f} GiB stay in memory: the rest is "
            "read again in every epoch. --cache 32GiB keeps more where there is memory, --patches N computes less, and "
            "`bench features convert` writes a store that is read fastest"
        )
        return (finding("features_streamed", "info", message, ()),)

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
        cells = self._cells(slides, coords, per_slide) if self.places else {}
        return Bag(patient_id, features, coords, slides, per_slide, cells)

    def _cells(
        self, slides: tuple[str, ...], coords: dict[int, np.ndarray | None], per_slide: dict[int, tuple[int, ...]]
    ) -> dict[int, np.ndarray]:
        """Cells by magnification, slide by slide: every slide has a grid of its own."""
        cut = {m: np.split(c, np.cumsum(per_slide[m])[:-1]) for m, c in coords.items() if c is not None}
        found = []
        for k, slide in enumerate(slides):
            corners = {m: parts[k] for m, parts in cut.items()}
            geometry = {m: fact.geometry for m, fact in self.reader.facts(slide).items()}
            try:
                found.append(cells_of(corners, patch_sides(corners, geometry)))
            except ValueError as error:
                raise DataError(f"{self.reader.folder}: slide {slide} {error}.") from error
        joined = {m: np.concatenate([one[m] for one in found]) for m in self.magnifications}
        for array in joined.values():
            array.flags.writeable = False
        return joined
