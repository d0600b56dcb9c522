"""Derived scales: features of coarser magnifications as means over the cells of the 20x grid.

Most public sets hold 20x alone, and models of several magnifications need the others. A 10x vector is the mean over the
2 x 2 patches of its cell, a 5x vector the mean over 4 x 4 (fewer where tissue ends). That is another input than an
encoder's view of the coarser patch, so it is only made when asked for, and it is called derived wherever it is shown.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...errors import DataError, UsageError
from ...files import fingerprint
from ...names import derived_name
from ..findings import Finding, finding
from .cells import cells_of, patch_sides
from .geometry import Facts
from .half import to_half
from .reader import Reader

FINE, COARSE = 20, (10, 5)
METHOD = 1
"""Raised when another computation gives other numbers."""


@dataclass
class _Slide:
    """Of one slide: what cell of each derived scale every 20x patch lies in, and the corners of the cells."""

    member: dict[int, np.ndarray]  # by magnification, (n,), from 0 on
    corners: dict[int, np.ndarray]  # by magnification, (cells, 2), int32


@dataclass(frozen=True)
class DerivedReader:
    """A reader with derived scales beside its own; see `milsurv.datasets.features.reader.Reader`.

    `derived` are the magnifications that are no encoder's.
    """

    of: Reader
    derived: tuple[int, ...]
    findings: tuple[Finding, ...]
    _known: dict[str, dict[int, int]] = field(default_factory=dict, repr=False, compare=False)
    _last: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def layout(self) -> str:
        """That of the files, and that scales are derived."""
        return f"{self.of.layout}, derived {_listed(self.derived)}"

    @property
    def folder(self) -> str:
        """Where the files lie."""
        return self.of.folder

    @property
    def backbone(self) -> str:
        """Whose vectors are averaged, and that they are: every place that names an encoder then says so."""
        return derived_name(self.of.backbone, self.derived)

    @property
    def dim(self) -> int:
        """Width of the features."""
        return self.of.dim

    @property
    def magnifications(self) -> tuple[int, ...]:
        """Those of the files and the derived ones."""
        return tuple(sorted({*self.of.magnifications, *self.derived}))

    @property
    def synthetic(self) -> bool:
        """Whether they are simulated."""
        return self.of.synthetic

    @property
    def slides(self) -> frozenset[str]:
        """The slides of the files."""
        return self.of.slides

    def facts(self, slide: str) -> dict[int, Facts]:
        """What is known of a slide, by magnification; the 20x coordinates are read."""
        facts = self.of.facts(slide)
        fine = facts.get(FINE)
        if fine is None:
            return facts
        counts = self._counts(slide, fine)
        side = fine.geometry.level0_px
        for m in self.derived:
            geometry = replace(
                fine.geometry, claimed=float(m), level0_px=side * FINE / m if side else None, overlap_px=None
            )
            facts = facts | {m: replace(fine, patches=counts[m], geometry=geometry, nbytes=0)}
        return facts

    def shapes(self, slide: str) -> dict[int, tuple[int, int]]:
        """(patches, width) by magnification."""
        return {m: (fact.patches, fact.dim) for m, fact in self.facts(slide).items()}

    def counts(self, slide: str) -> dict[int, int]:
        """Patches by magnification."""
        return {m: fact.patches for m, fact in self.facts(slide).items()}

    def read(
        self, slide: str, magnification: int, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float16 (n, d) and coordinates int32 (n, 2) or None; derived ones in the order of their cells."""
        if magnification not in self.derived:
            return self.of.read(slide, magnification, out)
        cells = self._cells(slide)
        member, corners = cells.member[magnification], cells.corners[magnification]
        matrix = self._fine(slide)
        half = np.empty((len(corners), self.dim), np.float16) if out is None else out
        if half.shape != (len(corners), self.dim):
            raise DataError(f"{self.folder}: slide {slide} changed while it was read. Extract this slide again.")
        if len(corners):
            order = np.argsort(member, kind="stable")
            first = np.searchsorted(member[order], np.arange(len(corners)))
            sums = np.add.reduceat(matrix[order].astype(np.float32), first, axis=0)  # (cells, d)
            means = sums / np.bincount(member, minlength=len(corners))[:, None]
            to_half(means.astype(np.float32), f"{self.folder}, slide {slide}, derived {magnification}x", half)
        return half, corners

    def coords(self, slide: str, magnification: int) -> np.ndarray | None:
        """The coordinates alone, int32 (n, 2), or None."""
        if magnification not in self.derived:
            return self.of.coords(slide, magnification)
        return self._cells(slide).corners[magnification]

    def sources(self, slide: str) -> list[Path]:
        """The files of a slide."""
        return self.of.sources(slide)

    def fingerprint(self, slides: Iterable[str]) -> str:
        """That of the files, and how and which scales are derived."""
        return fingerprint(["derived", METHOD, list(self.derived), self.of.fingerprint(slides)])

    def _counts(self, slide: str, fine: Facts) -> dict[int, int]:
        if slide not in self._known:
            empty = dict.fromkeys(self.derived, 0)
            self._known[slide] = {m: len(at) for m, at in self._cells(slide).corners.items()} if fine.patches else empty
        return self._known[slide]

    def _cells(self, slide: str) -> _Slide:
        corners = self.of.coords(slide, FINE)
        if corners is None:
            raise DataError(
                f"{self.folder}: slide {slide} has no patch coordinates at {FINE}x, so no scale can be derived from "
                "them. Give the folder that has them with --coords, or leave --derive-scales out."
            )
        fine = self.of.facts(slide)[FINE].geometry
        empty = np.empty((0, 2), np.int32)
        if not len(corners):
            return _Slide(dict.fromkeys(self.derived, np.empty(0, np.int64)), dict.fromkeys(self.derived, empty))
        sides = patch_sides({FINE: corners}, {FINE: fine})
        try:
            cells = cells_of({FINE: corners}, sides)[FINE].astype(np.int64)  # (n, 2)
        except ValueError as error:
            raise DataError(f"{self.folder}: slide {slide} {error}.") from error
        side = sides.get(FINE, 1.0)
        origin = (corners - cells * side).min(0)  # (2,): the grid's, at level 0
        found = _Slide({}, {})
        for m in self.derived:
            step = FINE // m
            where, member = np.unique(cells // step, axis=0, return_inverse=True)  # (cells, 2), (n,)
            found.member[m] = member.reshape(-1)
            found.corners[m] = np.rint(origin + where * step * side).astype(np.int32)
        return found

    def _fine(self, slide: str) -> np.ndarray:
        """The 20x features; those of the slide read last are kept, for its other scales."""
        with self._lock:
            if slide not in self._last:
                self._last.clear()
                self._last[slide] = self.of.read(slide, FINE)[0]
            return self._last[slide]


def derive(reader: Reader) -> DerivedReader:
    """The reader with those of 10x and 5x derived that it lacks.

    UsageError where it holds no 20x, lacks none, or holds one vector a slide.
    """
    if FINE not in reader.magnifications:
        raise UsageError(f"--derive-scales averages {FINE}x features, and {reader.folder} holds none")
    lacking = tuple(sorted(m for m in COARSE if m not in reader.magnifications))
    if not lacking:
        raise UsageError(f"{reader.folder} holds 5x and 10x itself: leave --derive-scales out")
    if reader.slides and next(iter(reader.facts(min(reader.slides)).values())).vector:
        raise UsageError(f"{reader.folder} holds one vector a slide: there is nothing to derive scales from")
    message = (
        f"{_listed(lacking)} are derived: means of the {FINE}x vectors in each cell, not an encoder's view of coarser "
        "patches; compared only with their like"
    )
    return DerivedReader(reader, lacking, (*reader.findings, finding("scales_derived", "warning", message, lacking)))


def _listed(scales: tuple[int, ...]) -> str:
    return " and ".join(f"{m}x" for m in scales)
