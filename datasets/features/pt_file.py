"""Tensors that other tools saved with torch: an (N, D) tensor a .pt file, alone or in a dict; data, never code.

Files are read with `weights_only=True`: a pickle that would run code is refused. A plain contiguous tensor, which is
what the tools write, is read piece by piece with its checksum, so that a float32 matrix is never held beside its
float16 copy; anything else goes through torch.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError
from .formats import matrix
from .geometry import Geometry
from .half import to_half

if TYPE_CHECKING:
    import torch

AGAIN = "Extract this slide again."
PIECE = 8 << 20  # bytes of rows at a time
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, LookupError, UnicodeError, zlib.error)


@dataclass(frozen=True)
class PtParts:
    """What a file holds: the (N, D) tensor, and what a dict says beside it: coordinates (n, 2), encoder and geometry.
    `vector`: it was saved as (D,).
    """

    features: torch.Tensor
    vector: bool = False
    corners: np.ndarray | None = None
    encoder: str | None = None
    geometry: Geometry = field(default_factory=Geometry)


def load(path: Path, vector: bool = False) -> torch.Tensor:
    """The (N, D) tensor of a file, memory-mapped where the format allows; (1, N, D) is taken as (N, D).

    With `vector`, (D,) is taken as (1, D).
    """
    return parts(path, vector).features


def parts(path: Path, vector: bool = False) -> PtParts:
    """Everything of a file that is used; see `load`."""
    import torch

    content, corners, encoder, geometry = _content(path), None, None, Geometry()
    if isinstance(content, dict):
        arrays = {key: (tuple(v.shape), _kind(v)) for key, v in content.items() if _array(v) and matrix.size_of(v) != 1}
        at = matrix.pick(path, arrays)
        where = at.get("coords")
        said = {key: v for key, v in content.items() if key not in arrays}
        encoder, geometry = matrix.stated(said)
        corners = None if where is None else matrix.pairs(path, np.asarray(content[where]))
        content = content[at["features"]]
        content = torch.from_numpy(content) if isinstance(content, np.ndarray) else content
    if not isinstance(content, torch.Tensor):
        raise DataError(f"{path} holds a {type(content).__name__}, not an (N, D) tensor of features.")
    alone = content.ndim == 1 and len(content) > 0
    if content.ndim == 1 and (vector or not alone):
        content = content.reshape(1, -1) if len(content) else content.reshape(0, 0)  # (0,): no tissue
    if content.ndim == 3 and len(content) == 1:
        content = content[0]
    if content.ndim != 2 or not content.is_floating_point() or content.layout != torch.strided:
        raise DataError(f"{path} holds a tensor {tuple(content.shape)} of {content.dtype}, not (N, D) floats.")
    return PtParts(content.detach(), alone, corners, encoder, geometry)


def _content(path: Path) -> object:
    """What a file holds, as plain data."""
    import pickle

    import torch

    if not path.is_file():
        raise DataError(f"{path} does not exist: there are no features for this slide and scale.")
    try:
        mapped = zipfile.is_zipfile(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} is not a plain tensor: reading it could run code, or it is damaged. Save it again with "
            "torch.save(torch.as_tensor(features), path)."
        ) from error
    except Exception as error:  # a damaged file can raise anything here, and the file is all that this depends on
        brief = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"{path} is truncated or damaged ({brief}). {AGAIN}") from error
    return content


def _array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _kind(array: object) -> str:
    name = str(array.dtype).removeprefix("torch.")  # type: ignore[attr-defined]
    return "f" if "float" in name else "i" if "int" in name else "b"


def fill(path: Path, where: str, out: np.ndarray | None, dim: int, verify: bool, vector: bool = False) -> np.ndarray:
    """The matrix as float16 (n, dim), into `out` where given; `where` names slide, scale and file for messages.

    With `verify`, the zip's checksums are compared. DataError for damage, another width, and values that
    float16 does not hold.
    """
    tensor = load(path, vector)
    if tensor.shape[1] != dim and len(tensor):
        raise DataError(f"{path}: is {tensor.shape[1]} wide, other slides are {dim}. {AGAIN}")
    half = np.empty((len(tensor), dim), np.float16) if out is None else out
    if half.shape != (len(tensor), dim):
        raise DataError(f"{path} changed while it was read. {AGAIN}")
    if not len(tensor):
        return half
    member = _plain_member(path, tensor)
    if member is None:
        if verify:
            _verify(path)
        for start in range(0, len(half), step := _step(tensor)):
            stop = start + step
            to_half(_numpy(tensor[start:stop]), where, half[start:stop], start)
        return half
    dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))
    room = np.empty((_step(tensor), dim), dtype)
    try:
        with zipfile.ZipFile(path) as archive:
            if verify:
                _verify_others(path, archive, member)
            with archive.open(member) as file:  # compares the checksum when it comes to the end
                for start in range(0, len(half), len(room)):
                    piece = room[: min(len(room), len(half) - start)]
                    view = piece.data.cast("B")
                    while len(view) and (got := file.readinto(view)):  # type: ignore[attr-defined]
                        view = view[got:]
                    if len(view):
                        raise DataError(f"{path} is truncated. {AGAIN}")
                    if start + len(room) >= len(half):
                        file.read(1)
                    to_half(piece, where, half[start : start + len(piece)], start)
    except DataError:
        raise
    except (*DAMAGED, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}). {AGAIN}") from error
    return half


def checksums(path: Path) -> object:
    """What identifies a file's content: the CRC-32 and size of every zip member, or the SHA-256 of a plain file."""
    try:
        with zipfile.ZipFile(path) as archive:
            # The first part of a member's name is that of the file when it was saved; it is no content.
            return sorted([m.filename.partition("/")[2], m.CRC, m.file_size] for m in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeError):
        pass
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}).") from error
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain_member(path: Path, tensor: torch.Tensor) -> str | None:
    """The zip member that holds the tensor's numbers and nothing else, in their order, or None."""
    size = tensor.numel() * tensor.element_size()
    whole = tensor.is_contiguous() and not tensor.storage_offset() and tensor.untyped_storage().nbytes() == size
    if not whole or str(tensor.dtype) not in {"torch.float16", "torch.float32", "torch.float64"}:
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            numbers = [m for m in members if "/data/" in m.filename]
            order = [m for m in members if m.filename.endswith("/byteorder")]
            if any(archive.read(m) != b"little" for m in order[:1]):
                return None
    except (*DAMAGED, zipfile.BadZipFile):
        return None  # torch reads it; the checksums say what is wrong
    stored = [m for m in numbers if m.file_size == size and m.compress_type == zipfile.ZIP_STORED]
    return stored[0].filename if len(numbers) == len(stored) == 1 else None


def _verify(path: Path) -> None:
    """Compare a zip file's content with its checksums, which a memory map does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except zipfile.BadZipFile as error:
        if zipfile.is_zipfile(path):
            raise DataError(f"{path} is damaged ({error}). {AGAIN}") from error
        return  # the format before torch 1.6 is no zip and has no checksum
    except DAMAGED as error:
        raise DataError(f"{path} is damaged ({error}). {AGAIN}") from error
    if broken:
        raise DataError(f"{path} is damaged, the checksum of {broken} does not fit. {AGAIN}")


def _verify_others(path: Path, archive: zipfile.ZipFile, but: str) -> None:
    """Compare the checksums of all members but one, which is compared while it is read."""
    for member in archive.infolist():
        if member.filename != but:
            with archive.open(member) as file:
                while file.read(PIECE):
                    pass


def _step(tensor: torch.Tensor) -> int:
    return max(1, PIECE // max(1, tensor.shape[1] * tensor.element_size()))


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    import torch

    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
