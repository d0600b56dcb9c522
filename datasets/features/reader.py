"""Reader: the one small interface behind which every layout of feature files is read."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from ..findings import Finding
from .geometry import Facts

Progress = Callable[[int, int], None]  # (done, total)


class Reader(Protocol):
    """Features of slides, at several magnifications, from one backbone. A new layout is one more
    implementation.

    `slides` are file names without extension; `findings` is what was noticed while opening. All methods raise
    DataError naming the slide and the file when it is missing, truncated, damaged or not what its layout
    promises.
    """

    @property
    def layout(self) -> str:
        """Name of the layout: "store", "reference", ..."""
        ...

    @property
    def folder(self) -> str:
        """Where the files lie."""
        ...

    @property
    def backbone(self) -> str:
        """Name of the backbone that made the features."""
        ...

    @property
    def dim(self) -> int:
        """Width of the features, read from the files."""
        ...

    @property
    def magnifications(self) -> tuple[int, ...]:
        """Magnifications present, ascending; a slide may lack one of them."""
        ...

    @property
    def synthetic(self) -> bool:
        """True if the files say that they were simulated, not extracted from slides."""
        ...

    @property
    def slides(self) -> frozenset[str]:
        """Names of the slides that have a file at any magnification."""
        ...

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was noticed while opening the folder."""
        ...

    def facts(self, slide: str) -> dict[int, Facts]:
        """What headers say of a slide, by magnification; scales without a file are absent."""
        ...

    def shapes(self, slide: str) -> dict[int, tuple[int, int]]:
        """(patches, width) by magnification from the header alone; scales without a file are absent."""
        ...

    def counts(self, slide: str) -> dict[int, int]:
        """Patches by magnification from the header alone."""
        ...

    def read(
        self, slide: str, magnification: int, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float16 (n, d) and level-0 top-left x, y int32 (n, 2), or None where the layout keeps
        none.

        `out`, float16 (n, d) and contiguous, is filled and returned instead of a new array.
        """
        ...

    def coords(self, slide: str, magnification: int) -> np.ndarray | None:
        """The coordinates alone, int32 (n, 2), or None where the layout keeps none."""
        ...

    def sources(self, slide: str) -> list[Path]:
        """The files of a slide."""
        ...

    def fingerprint(self, slides: Iterable[str]) -> str:
        """A hash of the content of these slides' files, independent of their order and of where they lie."""
        ...
