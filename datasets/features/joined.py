"""One cohort in several folders of features, as separate jobs leave it: their slides, and their scales, are joined."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DataError, some
from ...files import fingerprint
from ..findings import Finding
from .geometry import Facts
from .reader import Reader


@dataclass(frozen=True)
class JoinedReader:
    """Readers of one backbone as one; see `milsurv.datasets.features.reader.Reader`."""

    folder: str
    layout: str
    backbone: str
    dim: int
    magnifications: tuple[int, ...]
    slides: frozenset[str]
    synthetic: bool
    findings: tuple[Finding, ...]
    parts: tuple[Reader, ...] = field(repr=False)

    def facts(self, slide: str) -> dict[int, Facts]:
        """What headers say of a slide, by magnification."""
        return {m: fact for part in self._of(slide) for m, fact in part.facts(slide).items()}

    def shapes(self, slide: str) -> dict[int, tuple[int, int]]:
        """(patches, width) by magnification."""
        return {m: shape for part in self._of(slide) for m, shape in part.shapes(slide).items()}

    def counts(self, slide: str) -> dict[int, int]:
        """Patches by magnification."""
        return {m: n for part in self._of(slide) for m, n in part.counts(slide).items()}

    def read(
        self, slide: str, magnification: int, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float16 (n, d) and coordinates int32 (n, 2) or None."""
        return self._at(slide, magnification).read(slide, magnification, out)

    def coords(self, slide: str, magnification: int) -> np.ndarray | None:
        """The coordinates alone, int32 (n, 2), or None."""
        return self._at(slide, magnification).coords(slide, magnification)

    def sources(self, slide: str) -> list[Path]:
        """The files of a slide."""
        return sorted(path for part in self._of(slide) for path in part.sources(slide))

    def fingerprint(self, slides: Iterable[str]) -> str:
        """A hash of the content of these slides' files, by part; the order of the parts does not matter."""
        wanted = set(slides)
        return fingerprint(part.fingerprint(mine) for part in self.parts if (mine := wanted & part.slides))

    def _of(self, slide: str) -> list[Reader]:
        return [part for part in self.parts if slide in part.slides]

    def _at(self, slide: str, magnification: int) -> Reader:
        having = [part for part in self._of(slide) if magnification in part.counts(slide)]
        if not having:
            raise DataError(f"{self.folder} has no features of slide {slide} at {magnification}x.")
        return having[0]


def join(readers: Sequence[Reader]) -> Reader:
    """One reader of several. DataError where encoders or widths differ, or two hold one slide at one scale."""
    if len(readers) == 1:
        return readers[0]
    folders = some((reader.folder for reader in readers), 8)
    for what, values in (
        ("backbones", {reader.backbone for reader in readers}),
        ("widths", {reader.dim for reader in readers}),
        ("kinds of data, simulated and measured,", {reader.synthetic for reader in readers}),
    ):
        if len(values) > 1:
            raise DataError(f"{folders} hold several {what}: {some(sorted(map(str, values)))}. Give those of one.")
    for i, one in enumerate(readers):
        for other in readers[i + 1 :]:
            shared = sorted(one.slides & other.slides)
            if shared and set(one.magnifications) & set(other.magnifications):
                twice = [s for s in shared if one.counts(s).keys() & other.counts(s).keys()]
                if twice:
                    raise DataError(
                        f"{one.folder} and {other.folder} both hold slides at one scale: {some(twice)}. "
                        "Keep one of each."
                    )
    first = readers[0]
    return JoinedReader(
        folder=folders,
        layout=first.layout if len({reader.layout for reader in readers}) == 1 else "several",
        backbone=first.backbone,
        dim=first.dim,
        magnifications=tuple(sorted({m for reader in readers for m in reader.magnifications})),
        slides=frozenset(slide for reader in readers for slide in reader.slides),
        synthetic=first.synthetic,
        findings=tuple(note for reader in readers for note in reader.findings),
        parts=tuple(readers),
    )
