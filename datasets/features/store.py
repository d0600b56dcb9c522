"""Our own feature store: a folder of one file a slide, see `store_file` for what is in a file."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...files import fingerprint, safe_name
from .. import backbones
from ..findings import Finding, finding
from .geometry import Facts
from .half import first_bad_row
from .store_file import AGAIN, DTYPES, StoreHead, fill, is_ours, read_head, write_slide

__all__ = ["LAYOUT", "Store", "open_store", "recognise", "write_slide"]

LAYOUT = "store"


@dataclass(frozen=True)
class Store:
    """Reader of a folder in our own layout; see `milsurv.datasets.features.reader.Reader`.

    The first read of every scale of a slide is compared with its checksum; later reads of the same file are not.
    """

    folder: str
    backbone: str
    dim: int
    magnifications: tuple[int, ...]
    synthetic: bool
    slides: frozenset[str]
    findings: tuple[Finding, ...] = ()
    layout: str = LAYOUT
    _heads: dict[str, StoreHead] = field(default_factory=dict, repr=False, compare=False)
    _verified: set[tuple[str, int]] = field(default_factory=set, repr=False, compare=False)

    def head(self, slide: str) -> StoreHead:
        """The head of a slide's file, read once."""
        if slide not in self._heads:
            self._heads[slide] = read_head(self._path(slide))
        return self._heads[slide]

    def facts(self, slide: str) -> dict[int, Facts]:
        """What the head says, by magnification; the bytes are those of the matrices."""
        head = self.head(slide)
        return {
            m: Facts(
                *named["features"].shape,
                "float16",
                sum(b.nbytes(n) for n, b in named.items()),
                head.geometry[m],
                "coords" in named,
                head.backbone,
                None if head.source else float(head.patch_px) or None,
            )
            for m, named in head.blocks.items()
        }

    def shapes(self, slide: str) -> dict[int, tuple[int, int]]:
        """(patches, width) by magnification."""
        return {m: named["features"].shape for m, named in self.head(slide).blocks.items()}

    def counts(self, slide: str) -> dict[int, int]:
        """Patches by magnification."""
        return {magnification: n for magnification, (n, _) in self.shapes(slide).items()}

    def read(
        self, slide: str, magnification: int, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float16 (n, d) and coordinates int32 (n, 2) or None."""
        path, head = self._path(slide), self.head(slide)
        named = head.blocks.get(magnification)
        if named is None:
            raise DataError(f"{path}: has no {magnification}x, only {sorted(head.blocks)}. {AGAIN}")
        if head.dim != self.dim:
            raise DataError(f"{path}: {magnification}x is {head.dim} wide, other slides are {self.dim}. {AGAIN}")
        new = (slide, magnification) not in self._verified
        features = np.empty(named["features"].shape, DTYPES["features"]) if out is None else out
        fill(path, named["features"], features, verify=new)
        coords = None
        if "coords" in named:
            coords = np.empty(named["coords"].shape, DTYPES["coords"])
            fill(path, named["coords"], coords, verify=new)
        if new and (row := first_bad_row(features)) is not None:
            raise DataError(f"{path}: {magnification}x, row {row} holds NaN or infinite values. {AGAIN}")
        self._verified.add((slide, magnification))
        return features, coords

    def coords(self, slide: str, magnification: int) -> np.ndarray | None:
        """Coordinates alone, int32 (n, 2), or None."""
        named = self.head(slide).blocks.get(magnification, {})
        if "coords" not in named:
            return None
        coords = np.empty(named["coords"].shape, DTYPES["coords"])
        fill(self._path(slide), named["coords"], coords, verify=(slide, magnification) not in self._verified)
        return coords

    def sources(self, slide: str) -> list[Path]:
        """The file of a slide."""
        return [self._path(slide)]

    def fingerprint(self, slides: Iterable[str]) -> str:
        """A hash of the stored checksums of these slides: cheap, and independent of where the files lie."""
        return fingerprint(
            [slide, magnification, name, block.sha256]
            for slide in set(slides)
            for magnification, named in self.head(slide).blocks.items()
            for name, block in named.items()
        )

    def _path(self, slide: str) -> Path:
        return Path(self.folder) / f"{safe_name(slide)}.h5"


def recognise(folder: Path) -> bool:
    """Whether `folder` holds files of this layout."""
    return any(is_ours(path) for path in folder.iterdir() if path.suffix == ".h5")


def open_store(folder: Path, name: str | None = None) -> Store:
    """Open a folder in our own layout. The files say whose features they hold; `name` is not needed."""
    files = sorted(path for path in folder.iterdir() if path.suffix == ".h5" and path.is_file())
    head, why = None, ""
    for path in files:
        try:
            head = read_head(path)
            break
        except DataError as error:  # reported where the slide is used; one good file is enough to open the folder
            why = why or str(error)
    if head is None:
        raise DataError(f"{folder} holds no readable feature file: {why}")
    findings = []
    if partial := [path.name for path in folder.iterdir() if path.name.endswith(".partial")]:
        message = "unfinished files are ignored: a writer is at work or was interrupted"
        findings.append(finding("partial_files", "warning", message, partial))
    return Store(
        folder=str(folder),
        backbone=backbones.named(head.backbone, head.dim, str(folder)),
        dim=head.dim,
        magnifications=tuple(sorted(head.blocks)),
        synthetic=head.synthetic,
        slides=frozenset(path.stem for path in files),
        findings=tuple(findings),
    )
