"""Our own feature store: one HDF5 file a slide, contiguous float16, self-describing, written whole or not at all.

    <folder>/<slide>.h5     attributes: format, format_version, slide, backbone, dim, magnifications, patch_px, mpp,
                            synthetic, code_version
        20x/features        float16 (n, dim), contiguous; attribute sha256
        20x/coords          int32 (n, 2), level-0 x, y of the top-left corner (absent if unknown); attribute sha256
        10x/...  5x/...

Contiguous and uncompressed because that is read at the speed of a copy; float16 because it halves the bytes.
"""

import hashlib
import os
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
    """Write one slide's file and return its path: features (n, d) and level-0 coordinates (n, 2) by magnification.

    `patch_px` is the side of a patch in pixels at its magnification, `mpp` the slide's microns per pixel at level 0.
    DataError names slide, scale and row for NaN, infinite or too large values, and for shapes that do not fit.
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
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{slide[:180]}.{uuid.uuid4().hex[:8]}.partial"
    try:
        with h5py.File(partial, "w") as file:
            file.attrs.update(
                format=FORMAT,
                format_version=VERSION,
                slide=slide,
                backbone=backbone,
                dim=widths.pop(),
                magnifications=np.array(sorted(arrays), np.int32),
                patch_px=patch_px,
                mpp=float("nan") if mpp is None else float(mpp),
                synthetic=synthetic,
                code_version=__version__,
            )
            for magnification, pair in arrays.items():
                for name, array in zip(("features", "coords"), pair, strict=True):
                    if array is not None:
                        dataset = file.create_dataset(f"{magnification}x/{name}", data=array)
                        dataset.attrs["sha256"] = hashlib.sha256(array).hexdigest()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


@dataclass(frozen=True)
class Header:
    """What the head of one slide's file says: shapes and checksums by magnification."""

    backbone: str
    synthetic: bool
    mpp: float
    patch_px: int
    shapes: dict[int, tuple[int, int]]
    checksums: dict[int, tuple[str, str | None]]


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
            raise DataError(
                f"{path}: {magnification}x is {shape[1]} wide, other slides are {self.dim}. {AGAIN}"
            )
        features = np.empty(shape, np.float16) if out is None else out
        coords = None if sums[1] is None else np.empty((shape[0], 2), np.int32)
        try:
            with h5py.File(path, "r", locking=False) as file:
                for array, name in ((features, "features"), (coords, "coords")):
                    if array is not None and len(array):
                        file[f"{magnification}x/{name}"].read_direct(array)  # type: ignore[union-attr]
        except DAMAGE as error:
            raise DataError(f"{path}: {magnification}x cannot be read ({_brief(error)}). {AGAIN}") from error
        if (slide, magnification) not in self._verified:
            for array, expected in zip((features, coords), sums, strict=True):
                if array is not None and hashlib.sha256(array).hexdigest() != expected:
                    raise DataError(
                        f"{path}: {magnification}x is damaged, its checksum does not fit. {AGAIN}"
                    )
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
    header = None
    for slide in sorted(slides):
        try:
            header = read_header(_path(str(folder), slide))
            break
        except (
            DataError
        ):  # a damaged file is reported where it is used; one good file is enough to open the folder
            continue
    if header is None:
        raise DataError(f"{folder} holds no readable feature file. Extract or convert the slides again.")
    dim = next(iter(header.shapes.values()))[1]
    backbone = backbones.named(header.backbone, dim, str(folder))
    findings = []
    if partial:
        message = "unfinished files are ignored: a writer is at work or was interrupted"
        findings.append(
            Finding("partial_files", "warning", len(partial), message, tuple(sorted(partial)[:10]))
        )
    magnifications = tuple(sorted(header.shapes))
    return Store(str(folder), backbone, dim, magnifications, header.synthetic, slides, tuple(findings))


def read_header(path: Path) -> Header:
    """The head of one file. DataError if it is missing, truncated, or not of this layout and version."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            attrs = file.attrs
            if attrs.get("format") != FORMAT:
                raise DataError(f"{path} is not a feature file of milsurv. {AGAIN}")
            if int(attrs["format_version"]) != VERSION:
                raise DataError(
                    f"{path} has format version {attrs['format_version']}; this milsurv reads {VERSION}. Update milsurv."
                )
            shapes, checksums = {}, {}
            for magnification in (int(m) for m in attrs["magnifications"]):  # type: ignore[union-attr]
                features = _dataset(path, file, f"{magnification}x/features", np.float16)
                width, digest = int(attrs["dim"]), str(features.attrs["sha256"])
                if features.shape != (features.shape[0], width):
                    raise DataError(
                        f"{path}: {magnification}x has shape {features.shape}, not (n, {width}). {AGAIN}"
                    )
                shapes[magnification], checksums[magnification] = features.shape, (digest, None)
                if f"{magnification}x/coords" in file:
                    coords = _dataset(path, file, f"{magnification}x/coords", np.int32)
                    if coords.shape != (features.shape[0], 2):
                        raise DataError(f"{path}: {magnification}x has coordinates {coords.shape}. {AGAIN}")
                    checksums[magnification] = (digest, str(coords.attrs["sha256"]))
            if not shapes:
                raise DataError(f"{path} holds no magnification. {AGAIN}")
            synthetic, mpp, patch_px = bool(attrs["synthetic"]), float(attrs["mpp"]), int(attrs["patch_px"])  # type: ignore[arg-type]
            return Header(str(attrs["backbone"]), synthetic, mpp, patch_px, shapes, checksums)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: there are no features for this slide.") from None
    except DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated or damaged ({_brief(error)}). {AGAIN}") from error


def _dataset(path: Path, file: h5py.File, name: str, dtype: type) -> h5py.Dataset:
    """A dataset whose bytes lie in this very file, all of them: links elsewhere and impossible sizes are refused."""
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype != dtype or dataset.ndim != 2:
        raise DataError(f"{path}: {name} is not a {np.dtype(dtype)} matrix. {AGAIN}")
    if dataset.is_virtual or dataset.external or dataset.file.id != file.id:
        raise DataError(f"{path}: {name} points to another file; such files are refused.")
    size = dataset.shape[0] * dataset.shape[1] * dataset.dtype.itemsize
    if size != dataset.id.get_storage_size() or size > path.stat().st_size:
        raise DataError(f"{path}: {name} claims {size:,} bytes that the file does not hold. {AGAIN}")
    return dataset


def _is_ours(path: Path) -> bool:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return file.attrs.get("format") == FORMAT
    except DAMAGE:
        return False


def _path(folder: str, slide: str) -> Path:
    return Path(folder) / f"{safe(slide)}.h5"


def _brief(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
