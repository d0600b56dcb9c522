"""Arrays that numpy saved: `<slide>.npy` (N, D), and `<slide>.npz` with features and perhaps coordinates.

Nothing is unpickled: numpy refuses to, unless it is told otherwise. Owkin's `features.npy` keeps the level and the
place of each tile in its first three columns: they are taken off where the rest has the width of a known encoder and
the three are whole numbers.
"""

from pathlib import Path

import numpy as np

from ....errors import DataError
from ... import backbones
from . import matrix
from .matrix import AGAIN, MatrixHead

SUFFIXES = (".npy", ".npz")
_OWKIN = "columns 1 to 3 are places"


def look(path: Path) -> MatrixHead:
    """Shape, type and words of a file; .npy is mapped, of .npz the headers are read."""
    if path.suffix == ".npz":
        with opened(path) as archive:
            arrays, said = {}, {}
            for name in archive.files:
                shape, dtype = _header(path, archive, name)
                if dtype.kind == "O":
                    raise DataError(_objects(path))
                if shape == ():
                    said[name] = archive[name].item()
                else:
                    arrays[name] = (shape, dtype.kind, str(dtype))
        return matrix.head(path, arrays, said)
    array = _mapped(path)
    at = {"features": ""}
    if _with_places(array):
        return MatrixHead((array.shape[0], array.shape[1] - 3), str(array.dtype), True, at={"coords": _OWKIN})
    return matrix.head(path, {"features": (array.shape, array.dtype.kind, str(array.dtype))}, {}) if array.size else (
        MatrixHead(matrix.flat(array.shape), str(array.dtype), at=at)
    )  # fmt: skip


def rows(path: Path, head: MatrixHead) -> np.ndarray:
    """The features."""
    if path.suffix == ".npz":
        with opened(path) as archive:
            return member(path, archive, head.at["features"]).reshape(head.shape)
    array = _mapped(path)
    return array[:, 3:] if head.located else array.reshape(head.shape)


def corners(path: Path, head: MatrixHead) -> np.ndarray:
    """The coordinates; in Owkin's files they count tiles."""
    if path.suffix == ".npz":
        with opened(path) as archive:
            return member(path, archive, head.at["coords"])
    return np.asarray(_mapped(path)[:, 1:3]).astype(np.int64)


def _mapped(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r")
    except Exception as error:  # a damaged header raises anything
        raise _unreadable(path, error) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path} holds no array. {AGAIN}")
    return array


def opened(path: Path) -> "np.lib.npyio.NpzFile":
    """An .npz archive. DataError if it is none."""
    try:
        found = np.load(path)
    except Exception as error:  # a damaged zip raises anything
        raise _unreadable(path, error) from error
    if not isinstance(found, np.lib.npyio.NpzFile):
        raise DataError(f"{path} is no .npz archive. {AGAIN}")
    return found


def _header(path: Path, archive: "np.lib.npyio.NpzFile", name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of a member, without its numbers."""
    from numpy.lib import format as npy

    try:
        with archive.zip.open(f"{name}.npy") as file:  # type: ignore[union-attr]
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(file)
            return shape, dtype
    except Exception as error:
        raise _unreadable(path, error) from error


def member(path: Path, archive: "np.lib.npyio.NpzFile", name: str) -> np.ndarray:
    """An array of an archive. DataError if it is damaged or holds objects."""
    try:
        return archive[name]
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    brief = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    if any(word in brief for word in ("pickle", "Object arrays", "Python objects")):
        return DataError(_objects(path))
    return DataError(f"{path} is truncated or damaged ({brief}). {AGAIN}")


def _objects(path: Path) -> str:
    return (
        f"{path} holds Python objects, not an array of numbers: reading it could run code. "
        "Save the features again with numpy.save(path, features.astype('float32'))."
    )


def _with_places(array: np.ndarray) -> bool:
    widths = {backbone.dim for backbone in backbones.BACKBONES.values()}
    if array.ndim != 2 or not len(array) or array.shape[1] - 3 not in widths or array.shape[1] in widths:
        return False
    first = np.asarray(array[:, :3], np.float64)
    return bool((first == np.rint(first)).all() and (first >= 0).all() and (first[:, 0] == first[0, 0]).all())
