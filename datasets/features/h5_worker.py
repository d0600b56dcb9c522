"""What the worker process does with other tools' HDF5 files: the library crashes or hangs on some damaged ones.

Rows follow their line of the answer as plain bytes. `h5_file.py` is the other end.
"""

import contextlib
import os
from typing import BinaryIO

import h5py
import numpy as np

from ...errors import DataError
from ..worker.program import say, send

PIECE = 4 << 20  # bytes of rows at a time
LARGE = 1 << 30  # of a compressed block that is read at once: in pieces, it would be unpacked for each of them
DEFLATE = 1100  # nothing that HDF5 compresses with shrinks more than so many times
NAMES = ("features", "feats", "coords")
OTHERS = {
    "features": ("embeddings", "embedding", "feature", "X"),  # X: AnnData
    "coords": ("coordinates", "obsm/spatial"),
}
"""What other tools call them; looked for where the names above are absent."""
ATTRIBUTES = frozenset(
    (
        *("patch_size", "patch_size_level0", "level0_magnification", "target_magnification", "overlap"),
        *("level0_width", "level0_height", "mpp", "level0_mpp", "encoder"),  # TRIDENT
        *("patch_level", "downsample", "custom_downsample", "level_dim"),  # CLAM
        *("extractor", "unit", "tile_size_um", "tile_size_px", "feat_type"),  # STAMP
    )
)


def answer(request: dict, out: BinaryIO) -> None:
    """Answer one request. DataError if the file is not what it must be; h5py raises anything on a damaged one."""
    try:
        if request["op"] == "look":
            say(out, look(request["path"]))
        else:
            send_rows(out, *(request[key] for key in ("path", "name", "start", "stop", "step")))
            say(out, {"rows": 0})
    except FileNotFoundError:
        raise DataError("does not exist") from None
    except DataError:
        raise
    except Exception:
        _OPEN.clear()
        raise


def plain(value: object) -> object:
    """An attribute as a JSON value; what is too large or has no JSON form becomes None."""
    if isinstance(value, np.generic | np.ndarray):
        if value.size > 16:
            return None
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) else None


def attributes(attrs: h5py.AttributeManager) -> dict[str, object]:
    """The attributes that matter, as far as they can be read."""
    found = {}
    for key in ATTRIBUTES.intersection(attrs):
        with contextlib.suppress(TypeError, OSError):  # of a type that only another program knows
            found[key] = plain(attrs[key])
    return found


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset whose bytes lie in this very file, all of them written."""
    parts = name.split("/")
    for end in range(1, len(parts) + 1):
        if not isinstance(file.get("/".join(parts[:end]), getlink=True), h5py.HardLink):
            raise DataError(f"{name} is a link to another place")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{name} is a group, not a matrix")
    if found.external or found.is_virtual:
        raise DataError(f"the numbers of {name} lie in another file")
    if found.shape is None:
        raise DataError(f"{name} is an empty placeholder, not a matrix")
    size = found.size * found.dtype.itemsize
    stored = found.id.get_storage_size()
    limit = os.stat(file.filename).st_size  # noqa: PTH116 - a file may be large; no Path is needed for one number
    plist = found.id.get_create_plist()
    chunks = found.chunks
    packed = chunks is not None and plist.get_nfilters() > 0
    if chunks is not None and packed:
        wanted = int(np.prod([-(-n // c) for n, c in zip(found.shape, chunks, strict=True)]))
        missing = found.id.get_num_chunks() < wanted
    else:
        missing = stored < size
    if missing:
        raise DataError(f"{name} was never written to its end: the extraction was interrupted")
    if size > (limit * DEFLATE if packed else limit):
        raise DataError(f"{name} claims more numbers than the file can hold")
    return found


_OPEN: dict[tuple, h5py.File] = {}


def opened(path: str) -> h5py.File:
    """The file, kept open until another one is asked for or it changes: most questions concern the same file."""
    found = os.stat(path)  # noqa: PTH116 - plain numbers of a plain path
    key = (path, found.st_size, found.st_mtime_ns, found.st_ino)
    if key not in _OPEN:
        close()
        _OPEN[key] = h5py.File(path, "r", locking=False)  # no one who writes it again must wait
    return _OPEN[key]


def close() -> None:
    """Close the file that is open."""
    while _OPEN:
        _OPEN.popitem()[1].close()


def look(path: str) -> dict:
    """Shapes, types and attributes of the datasets that matter, and the file's attributes."""
    file = opened(path)
    names = {name: name for name in NAMES if name in file}
    for name, others in OTHERS.items():
        if name not in names and not (name == "features" and "feats" in names):
            names |= {name: next(other for other in others if other in file)} if any(o in file for o in others) else {}
    others = [] if {"features", "feats"} & names.keys() else [str(name) for name in list(file)[:8]]
    found = {}
    for name, at in names.items():
        data = dataset(file, at)
        found[name] = {"shape": data.shape, "dtype": data.dtype.str, "attrs": attributes(data.attrs), "at": at}
    return {"datasets": found, "attrs": attributes(file.attrs), "others": others}


def send_rows(out: BinaryIO, path: str, name: str, start: int, stop: int, step: int) -> None:
    """Rows start:stop:step of a matrix; (1, n, d) counts as (n, d). Every piece follows a line with its rows."""
    data = dataset(opened(path), name)
    lead = (0,) if data.ndim == 3 else ()
    n = data.shape[len(lead)] if data.ndim > len(lead) else 0
    width = int(np.prod(data.shape[len(lead) + 1 :]))
    native = data.dtype.newbyteorder("<")
    rows = range(n)[start:stop:step]
    block = max(1, PIECE // max(1, width * native.itemsize))
    if data.chunks is not None and step == 1 and data.ndim > len(lead):
        tall = data.chunks[len(lead)]
        block = max(tall, block // tall * tall) if tall * width * native.itemsize <= LARGE else block
    for at in range(0, len(rows), block):
        part = rows[at : at + block]
        piece = np.empty((len(part), width), native)
        source = (*lead, slice(part.start, part[-1] + 1, step))
        data.read_direct(piece.reshape(len(part), *data.shape[len(lead) + 1 :]), source) if piece.size else None
        say(out, {"rows": len(part)})
        send(out, piece.data.cast("B"))
