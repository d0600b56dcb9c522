"""One file of our own store: a plain HDF5 file that begins with its own table of contents.

    user block              "milsurv-features 1", the length and SHA-256 of the JSON that follows, and the JSON: slide,
                            backbone, dim, patch_px, mpp, synthetic, code_version, and by magnification the number of
                            patches, the offset in the file and the SHA-256 of features and coordinates;
                            `geometry` and `source` where they are known
    20x/features            HDF5 dataset float16 (n, dim), contiguous, not compressed
    20x/coords              HDF5 dataset int32 (n, 2), level-0 x, y of the top-left corner; absent if unknown
    10x/...  5x/...
    attribute `milsurv`     the same JSON without offsets, for readers that know only HDF5

Any HDF5 program can read these files. milsurv itself reads them through the user block, which HDF5 leaves to
applications: it knows where the bytes are and what they hash to, so that a matrix is read straight into place at the
speed of a copy, and a damaged file is refused, where the HDF5 library crashes or hangs on some of them.
"""

import hashlib
import io
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError, writing
from ...files import safe_name, whole
from ...version import __version__
from .geometry import Geometry, geometry_from
from .half import to_half

NAME = b"milsurv-features "
MAGIC = NAME + b"1\n"
MOST = 1 << 20  # bytes of a head; a real one has about one thousand
AGAIN = "Extract or convert this slide again."
DTYPES = {"features": np.dtype("<f2"), "coords": np.dtype("<i4")}

Scale = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class StoredBlock:
    """Where a matrix lies in its file, its shape, and the SHA-256 of its bytes."""

    offset: int
    shape: tuple[int, int]
    sha256: str

    def nbytes(self, name: str) -> int:
        """Bytes of the matrix, "features" or "coords"."""
        return self.shape[0] * self.shape[1] * DTYPES[name].itemsize


@dataclass(frozen=True)
class StoreHead:
    """What one file says about itself; `blocks` by magnification and name ("features", "coords" where known),
    `geometry` by magnification, `source` the fingerprint of what it was made from, `extraction` what was
    found of the slide.
    """

    slide: str
    backbone: str
    dim: int
    patch_px: int
    mpp: float | None
    synthetic: bool
    blocks: dict[int, dict[str, StoredBlock]]
    geometry: dict[int, Geometry]
    source: str | None
    extraction: dict[str, object]


def write_slide(
    folder: str | Path,
    slide: str,
    features: Mapping[int, np.ndarray],
    coords: Mapping[int, np.ndarray | None],
    *,
    backbone: str,
    patch_px: int,
    mpp: float | None = None,
    synthetic: bool = False,
    geometry: Mapping[int, Geometry] | None = None,
    source: str | None = None,
    extraction: Mapping[str, object] | None = None,
) -> Path:
    """Write one slide's file and return its path: features (n, d) and level-0 coordinates (n, 2) by magnification.

    `patch_px` is the side of a patch in pixels at its magnification, `mpp` the slide's microns per pixel at level 0.
    `geometry` is what else is known of the patches by magnification, `source` the fingerprint of what it was made from,
    and `extraction` what was found of the slide on the way, as JSON values.
    DataError names slide, scale and row for NaN, infinite or too large values, and for shapes that do not fit.
    """
    path = Path(folder) / f"{safe_name(slide)}.h5"
    scales = {m: _scale(slide, m, features[m], coords.get(m)) for m in sorted(features)}
    widths = {matrix.shape[1] for matrix, _ in scales.values()}
    if len(widths) != 1:
        raise DataError(f"slide {slide}: widths differ between scales: {sorted(widths)}.")
    head = {
        "slide": slide,
        "backbone": backbone,
        "dim": widths.pop(),
        "patch_px": patch_px,
        "mpp": mpp,
        "synthetic": synthetic,
        "code_version": __version__,
    }
    if geometry:
        head["geometry"] = {m: g.known() for m, g in sorted(geometry.items()) if g.known()}
    if source:
        head["source"] = source
    if extraction:
        head["extraction"] = dict(extraction)
    with writing(path), whole(path) as partial, partial.open("wb") as file:
        file.writelines(_image(head, scales))
    return path


def _scale(slide: str, magnification: int, features: np.ndarray, coords: np.ndarray | None) -> Scale:
    where = f"slide {slide}, {magnification}x"
    features = np.asarray(features)
    if features.ndim != 2 or (coords is not None and np.shape(coords) != (len(features), 2)):
        shape = None if coords is None else np.shape(coords)
        raise DataError(f"{where}: features {features.shape} and coords {shape} must be (n, d) and (n, 2).")
    if coords is not None and len(coords) and np.abs(coords).max() > np.iinfo(np.int32).max:
        raise DataError(f"{where}: coordinates are beyond the range of int32.")
    half = to_half(features, where, np.empty(features.shape, DTYPES["features"]))
    return half, None if coords is None else np.ascontiguousarray(coords, DTYPES["coords"])


def _image(head: dict, scales: Mapping[int, Scale]) -> tuple[bytes, bytes]:
    """User block and HDF5 file as bytes, built in memory: HDF5 itself crashes the process when the disk is full."""
    import h5py

    arrays = {
        (m, name): array
        for m, pair in scales.items()
        for name, array in zip(DTYPES, pair, strict=True)
        if array is not None
    }
    blocks: dict[int, dict[str, dict]] = {m: {} for m in scales}
    for (m, name), array in arrays.items():
        blocks[m][name] = {"shape": array.shape, "sha256": hashlib.sha256(array.data).hexdigest()}
    plain = json.dumps({**head, "scales": blocks})
    room = 1024
    while room < len(MAGIC) + 80 + len(plain) + 40 * len(arrays):  # 40: an offset of 20 digits and its name
        room *= 2
    # libver: metadata with checksums, so that HDF5 programs notice most damage as well.
    # A name of its own: HDF5 takes two images of one name, open in two threads, for one file.
    name = uuid.uuid4().hex
    with h5py.File(name, "w", driver="core", backing_store=False, libver="v110", userblock_size=room) as file:
        file.attrs["milsurv"] = plain
        for (m, kind), array in arrays.items():
            dataset = file.create_dataset(f"{m}x/{kind}", data=array)
            blocks[m][kind]["offset"] = dataset.id.get_offset() if array.size else 0
        file.flush()
        image = file.id.get_file_image()
    return framed({**head, "scales": blocks}).ljust(room, b"\0"), image


def framed(head: dict) -> bytes:
    """A head as the bytes at the start of a file."""
    text = json.dumps(head).encode()
    return MAGIC + f"{len(text):08d} {hashlib.sha256(text).hexdigest()}\n".encode() + text


def opens(path: Path) -> bool:
    """Whether HDF5 finds all of a file there: one without patches can be cut behind all that its head names."""
    import h5py

    try:
        with h5py.File(path, "r"):
            return True
    except OSError:
        return False


def is_ours(path: Path) -> bool:
    """Whether a file begins like one of ours."""
    try:
        with path.open("rb") as file:
            return file.read(len(NAME)) == NAME
    except OSError:
        return False


def read_head(path: Path) -> StoreHead:
    """The head of one file. DataError if it is missing, truncated, damaged, or not of this layout and version."""
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC) + 74)
            if not start.startswith(NAME):
                raise DataError(f"{path} is not a feature file of milsurv. {AGAIN}")
            if not start.startswith(MAGIC):
                version = start[len(NAME) :].split(b"\n")[0].decode("ascii", "replace")
                raise DataError(f"{path} has format version {version[:20]}; this milsurv reads 1. Update milsurv.")
            length, _, digest = start[len(MAGIC) :].decode("ascii", "replace").strip().partition(" ")
            text = file.read(min(int(length), MOST)) if length.isascii() and length.isdigit() else b""
            size = file.seek(0, io.SEEK_END)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: there are no features for this slide.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
    if hashlib.sha256(text).hexdigest() != digest:
        raise DataError(f"{path} is truncated or damaged, the checksum of its head does not fit. {AGAIN}")
    try:
        head = _head(json.loads(text))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} has a head that milsurv did not write ({error}). {AGAIN}") from error
    for magnification, named in head.blocks.items():
        for name, block in named.items():
            if block.offset + block.shape[0] * block.shape[1] * DTYPES[name].itemsize > size:
                raise DataError(f"{path} is truncated: {magnification}x/{name} ends beyond the file. {AGAIN}")
    return head


def _head(header: dict) -> StoreHead:
    blocks = {
        int(m): {
            name: StoredBlock(int(b["offset"]), (int(b["shape"][0]), int(b["shape"][1])), str(b["sha256"]))
            for name, b in named.items()
        }
        for m, named in header["scales"].items()
    }
    dim = int(header["dim"])
    for named in blocks.values():
        n = named["features"].shape[0]
        shapes = {"features": (n, dim), "coords": (n, 2)}
        if any(b.shape != shapes[name] or min(b.offset, n, dim - 1) < 0 for name, b in named.items()):
            raise ValueError("impossible shapes")
    if not blocks:
        raise ValueError("no magnification")
    mpp = None if header["mpp"] is None else float(header["mpp"])
    patch_px = int(header["patch_px"])
    by_scale = {int(m): dict(g) for m, g in (header.get("geometry") or {}).items()}
    default = {"patch_px": patch_px, "mpp": mpp}
    geometry = {m: geometry_from({**default, "claimed": m, **by_scale.get(m, {})}) for m in blocks}
    source = None if header.get("source") is None else str(header["source"])
    return StoreHead(
        str(header["slide"]), str(header["backbone"]), dim, patch_px, mpp, bool(header["synthetic"]), blocks, geometry,
        source, dict(header.get("extraction") or {}),
    )  # fmt: skip


def fill(path: Path, block: StoredBlock, array: np.ndarray, verify: bool) -> None:
    """Read a matrix into `array`, contiguous and of its shape; with `verify`, compare it with its checksum."""
    if array.shape != block.shape or not array.flags.c_contiguous:
        raise ValueError(f"the array to fill must be contiguous and {block.shape}, not {array.shape}")
    if array.size:
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(block.offset)
                rest = array.data.cast("B")
                while len(rest) and (got := file.readinto(rest)):  # one call reads 2 GiB at most
                    rest = rest[got:]
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
        if len(rest):
            raise DataError(f"{path} is truncated. {AGAIN}")
    if verify and hashlib.sha256(array.data).hexdigest() != block.sha256:
        raise DataError(f"{path} is damaged, its checksum does not fit. {AGAIN}")
