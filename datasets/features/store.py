"""Our own feature store: one HDF5 file a slide, contiguous float16, self-describing, written whole or not at
all.

    <folder>/<slide>.h5     attribute `milsurv`, JSON: format, format_version, slide, backbone, dim, patch_px, mpp,
                            synthetic, code_version, scales: {"20": {patches, features_sha256, coords_sha256}, ...}
        20x/features        float16 (n, dim), contiguous
        20x/coords          int32 (n, 2), level-0 x, y of the top-left corner; absent if unknown
        10x/...  5x/...

Contiguous and uncompressed because that is read at the speed of a copy; float16 because it halves the bytes.
"""

import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from ... import __version__
from .. import backbones
from ..errors import DataError
from ..findings import Finding
from ..fingerprint import fingerprint
from .half import first_bad_row, to_half
from .names import safe

LAYOUT = "store"
FORMAT = "milsurv-features"
HEAD = "milsurv"  # the one attribute: reading sixteen takes h5py longer than reading a small bag
VERSION = 1
AGAIN = "Extract or convert this slide again."

# Everything h5py raises on damaged files; anything else would be a fault of ours.
DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


def write_slide(
    folder: Path,
    slide: str,
    features: Mapping[int, np.ndarray],
    coords: Mapping[int, np.ndarray | None],
    *,
    backbone: str,
    patch_px: int,
    mpp: float | None = None,
    synthetic: bool = False,
) -> Path:
    """Write one slide's file and return its path: features (n, d) and level-0 coordinates (n, 2) by
    magnification.

    `patch_px` is the side of a patch in pixels at its magnification, `mpp` the slide's microns per pixel at
    level 0. DataError names slide, scale and row for NaN, infinite or too large values, and for shapes that
    do not fit.
    """
    path = folder / f"{safe(slide)}.h5"
    arrays = {}
    for magnification, matrix in sorted(features.items()):
        where = f"slide {slide}, {magnification}x"
        matrix, corners = np.asarray(matrix), coords.get(magnification)
        if matrix.ndim != 2 or (corners is not None and np.shape(corners) != (len(matrix), 2)):
            shape = None if corners is None else np.shape(corners)
            raise DataError(f"{where}: features {matrix.shape} and coords {shape} must be (n, d) and (n, 2).")
        if corners is not None and len(corners) and np.abs(corners).max() > np.iinfo(np.int32).max:
            raise DataError(f"{where}: coordinates are beyond the range of int32.")
        arrays[magnification] = (
            to_half(matrix, where),
            None if corners is None else np.ascontiguousarray(corners, np.int32),
        )
    widths = {matrix.shape[1] for matrix, _ in arrays.values()}
    if len(widths) != 1:
        raise DataError(f"slide {slide}: widths differ between scales: {sorted(widths)}.")
    partial = folder / f".{slide[:180]}.{uuid.uuid4().hex[:8]}.partial"
    head = {
        "format": FORMAT,
        "format_version": VERSION,
        "slide": slide,
        "backbone": backbone,
        "dim": widths.pop(),
        "patch_px": patch_px,
        "mpp": mpp,
        "synthetic": synthetic,
        "code_version": __version__,
        "scales": {
            m: {"patches": len(pair[0]), "features_sha256": _sha256(pair[0]), "coords_sha256": _sha256(pair[1])}
            for m, pair in arrays.items()
        },
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(_image(head, arrays))
        partial.replace(path)
    except OSError as error:
        why = error.strerror or error
        raise DataError(f"{path} cannot be written ({why}): free space or choose another folder.") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return path


def _image(head: dict, arrays: Mapping[int, tuple[np.ndarray, np.ndarray | None]]) -> bytes:
    """The file as bytes, built in memory: HDF5 itself crashes the process when the disk is full."""
    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        file.attrs[HEAD] = json.dumps(head)
        for magnification, pair in arrays.items():
            for name, array in zip(("features", "coords"), pair, strict=True):
                if array is not None:
                    file.create_dataset(f"{magnification}x/{name}", data=array)
        file.flush()
        return file.id.get_file_image()


@dataclass(frozen=True)
class Header:
    """What the head of one slide's file says: shapes and checksums by magnification."""

    backbone: str
    synthetic: bool
    mpp: float | None
    patch_px: int
    shapes: dict[int, tuple[int, int]]
    checksums: dict[int, tuple[str, str | None]]


@dataclass(frozen=True)
class Store:
    """Reader of a folder in our own layout; see `milsurv.datasets.features.reader.Reader`.

    The first read of every scale of a slide is compared with its checksum; later reads of the same file are
    not.
    """

    folder: str
    backbone: str
    dim: int
    magnifications: tuple[int, ...]
    synthetic: bool
    slides: frozenset[str]
    findings: tuple[Finding, ...] = ()
    layout: str = LAYOUT
    _headers: dict[str, Header] = field(default_factory=dict, repr=False, compare=False)
    _verified: set[tuple[str, int]] = field(default_factory=set, repr=False, compare=False)

    def header(self, slide: str) -> Header:
        """The head of a slide's file, read once."""
        if slide not in self._headers:
            self._headers[slide] = read_header(_path(self.folder, slide))
        return self._headers[slide]

    def shapes(self, slide: str) -> dict[int, tuple[int, int]]:
        """(patches, width) by magnification."""
        return self.header(slide).shapes

    def counts(self, slide: str) -> dict[int, int]:
        """Patches by magnification."""
        return {magnification: n for magnification, (n, _) in self.shapes(slide).items()}

    def read(
        self, slide: str, magnification: int, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float16 (n, d) and coordinates int32 (n, 2) or None."""
        path, header = _path(self.folder, slide), self.header(slide)
        if magnification not in header.shapes:
            raise DataError(f"{path}: has no {magnification}x, only {sorted(header.shapes)}. {AGAIN}")
        shape, sums = header.shapes[magnification], header.checksums[magnification]
        if shape[1] != self.dim:
            raise DataError(f"{path}: {magnification}x is {shape[1]} wide, other slides are {self.dim}. {AGAIN}")
        features = np.empty(shape, np.float16) if out is None else out
        coords = None if sums[1] is None else np.empty((shape[0], 2), np.int32)
        try:
            with h5py.File(path, "r", locking=False) as file:
                for array, name in ((features, "features"), (coords, "coords")):
                    if array is not None:
                        _fill(path, file, f"{magnification}x/{name}", array)
        except DAMAGE as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: {magnification}x cannot be read ({_brief(error)}). {AGAIN}") from error
        if (slide, magnification) not in self._verified:
            for array, expected in zip((features, coords), sums, strict=True):
                if array is not None and _sha256(array) != expected:
                    raise DataError(f"{path}: {magnification}x is damaged, its checksum does not fit. {AGAIN}")
            if (row := first_bad_row(features)) is not None:
                raise DataError(f"{path}: {magnification}x, row {row} holds NaN or infinite values. {AGAIN}")
            self._verified.add((slide, magnification))
        return features, coords

    def fingerprint(self, slides: Iterable[str]) -> str:
        """A hash of the stored checksums of these slides: cheap, and independent of where the files lie."""
        return fingerprint(
            [slide, magnification, *sums]
            for slide in set(slides)
            for magnification, sums in self.header(slide).checksums.items()
        )


def recognise(folder: Path) -> bool:
    """Whether `folder` holds files of this layout (looks at the first few .h5 files)."""
    files = sorted(p for p in folder.iterdir() if p.suffix == ".h5" and p.is_file())[:5]
    return any(_is_ours(path) for path in files)


def open_store(folder: Path, name: str | None = None) -> Store:
    """Open a folder in our own layout. `name` is what the user calls the backbone; the file says what it is."""
    slides = frozenset(path.stem for path in folder.iterdir() if path.suffix == ".h5" and path.is_file())
    partial = [path.name for path in folder.iterdir() if path.name.endswith(".partial")]
    header, why = None, ""
    for slide in sorted(slides):
        try:
            header = read_header(_path(str(folder), slide))
            break
        except DataError as error:  # reported where the slide is used; one good file is enough to open the folder
            why = why or str(error)
    if header is None:
        raise DataError(f"{folder} holds no readable feature file: {why}")
    dim = next(iter(header.shapes.values()))[1]
    backbone = backbones.named(header.backbone, dim, str(folder))
    findings = []
    if partial:
        message = "unfinished files are ignored: a writer is at work or was interrupted"
        findings.append(Finding("partial_files", "warning", len(partial), message, tuple(sorted(partial)[:10])))
    magnifications = tuple(sorted(header.shapes))
    return Store(str(folder), backbone, dim, magnifications, header.synthetic, slides, tuple(findings))


def read_header(path: Path) -> Header:
    """The head of one file. DataError if it is missing, truncated, or not of this layout and version."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            text = file.attrs.get(HEAD)
        if text is None:
            raise DataError(f"{path} is not a feature file of milsurv. {AGAIN}")
        head = json.loads(text)  # type: ignore[arg-type]
        if head["format"] != FORMAT or head["format_version"] != VERSION:
            found = f"{head['format']} {head['format_version']}"
            raise DataError(f"{path} has format {found}; this milsurv reads {FORMAT} {VERSION}. Update milsurv.")
        dim, scales = int(head["dim"]), {int(m): scale for m, scale in head["scales"].items()}
        shapes = {m: (int(scale["patches"]), dim) for m, scale in scales.items()}
        if not shapes or dim < 1 or min(n for n, _ in shapes.values()) < 0:
            raise DataError(f"{path} holds no magnification. {AGAIN}")
        if sum(2 * n * d for n, d in shapes.values()) > path.stat().st_size:
            raise DataError(f"{path} is truncated: its head names more patches than the file holds. {AGAIN}")
        sums = {m: (str(s["features_sha256"]), s["coords_sha256"]) for m, s in scales.items()}
        return Header(str(head["backbone"]), bool(head["synthetic"]), head["mpp"], head["patch_px"], shapes, sums)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: there are no features for this slide.") from None
    except DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated or damaged ({_brief(error)}). {AGAIN}") from error


def _fill(path: Path, file: h5py.File, name: str, array: np.ndarray) -> None:
    """Read a dataset into `array`, if it is what the head says and its bytes lie in this very file, all of them."""
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype != array.dtype or dataset.shape != array.shape:
        raise DataError(f"{path}: {name} is not the {array.dtype} matrix {array.shape} of its head. {AGAIN}")
    if dataset.is_virtual or dataset.external or dataset.file.filename != file.filename:
        raise DataError(f"{path}: {name} points to another file; such files are refused.")
    if dataset.id.get_storage_size() != array.nbytes:
        raise DataError(f"{path}: {name} is not stored plainly and whole. {AGAIN}")
    if len(array):
        dataset.read_direct(array)


def _sha256(array: np.ndarray | None) -> str | None:
    return None if array is None else hashlib.sha256(array.data).hexdigest()


def _is_ours(path: Path) -> bool:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return HEAD in file.attrs
    except DAMAGE:
        return False


def _path(folder: str, slide: str) -> Path:
    return Path(folder) / f"{safe(slide)}.h5"


def _brief(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
