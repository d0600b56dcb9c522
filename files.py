"""Files: written whole or not at all, named so that no name leads out of its folder, and known by fingerprints."""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import DataError
from .processes import gone, this_process

UNFINISHED = ".*.partial"
"""Matches what a killed writer leaves behind; no reader takes it for a result."""
ABANDONED = 86_400.0
"""Seconds after which something unfinished is nobody's, where its process cannot be asked."""
_OWNER = re.compile(r"\.([0-9a-f]{8}-\d+-\d+)\.[0-9a-f]{8}\.partial$")


def write_whole(path: Path, data: str | bytes) -> Path:
    """Write `data` (text as UTF-8) to `path`, making its folder.

    OSError names `path` and leaves an older file of that name as it was.
    """
    with whole(path) as partial:
        partial.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; when the block ends without error, it is renamed to `path`.

    Whoever reads `path` meets the old file or the new one, never half of it, after a loss of power too. The folder is
    made. OSError names `path` and leaves an older file of that name as it was.
    """
    partial = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if not any(folder.match(UNFINISHED) for folder in path.parents):  # whole_folder syncs all at its end
            _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    except OSError as error:
        if error.filename in (None, str(partial), partial):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def whole_folder(path: Path, keep: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """Give a new folder beside `path` to fill; when the block ends without error, it takes the place of `path`.

    `keep` is asked before a folder that stands there is replaced: another process may have put the same there
    meanwhile, and it stays where `keep()` says so. What a killed process left of the same folder is removed.
    """
    remove_unfinished(path.parent, f".{glob.escape(path.name[:50])}.*.partial")
    partial = _beside(path)
    try:
        partial.mkdir(parents=True)
        yield partial
        for file in (*partial.rglob("*"), partial):
            _sync(file)
        if path.exists():
            if keep():
                return
            old = _beside(path)
            path.replace(old)
            partial.replace(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            try:
                partial.replace(path)
            except OSError:
                if not keep():
                    raise
        _sync(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_regular(path: Path, limit: int, links: bool = True) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    A pipe, a device or what is larger is refused before it is read, and a link where `links` is False: whoever sends a
    folder decides what lies in it. OSError names `path` and says why.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags if links else flags | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise OSError(error.errno, why, str(path)) from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, more than the limit of {limit:,}", str(path))
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(found.st_size)
    finally:
        os.close(handle)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for temporary files, which is removed when the block ends; by the next `scratch` if we are killed."""
    place = Path(tempfile.gettempdir())
    remove_unfinished(place, ".milsurv.*.partial")
    folder = _beside(place / "milsurv")
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_unfinished(folder: Path, pattern: str = UNFINISHED, below: bool = False) -> None:
    """Remove what killed writers left in `folder`, and in the folders below it.

    The name of an unfinished file says which process writes it. Where nobody can know whether that one lives, on
    another machine or before a restart of this one, it counts as dead once nothing was written for `ABANDONED` seconds.
    """
    with suppress(OSError):
        for path in list(folder.rglob(pattern) if below else folder.glob(pattern)):
            with suppress(OSError):
                if _is_abandoned(path):
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def _is_abandoned(path: Path) -> bool:
    dead = gone(match[1]) if (match := _OWNER.search(path.name)) else None
    if dead is not None:
        return dead
    inside = [path, *path.iterdir()] if path.is_dir() else [path]
    return time.time() - max(one.stat().st_mtime for one in inside) > ABANDONED


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be used, so that another can take its place: `mlflow.db` to `mlflow.db.unusable-1`."""
    number = 1
    while (other := path.with_name(f"{path.name}.unusable-{number}")).exists():
        number += 1
    return path.replace(other)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:50]}.{this_process()}.{uuid.uuid4().hex[:8]}.partial")


def _sync(path: Path) -> None:
    """Ask the disk to keep it: without this a loss of power can leave the new name on an empty file."""
    if path.is_dir():
        with suppress(OSError):  # not every file system takes this for folders
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    else:
        with path.open("r+b") as file:
            os.fsync(file.fileno())


def safe_name(name: str) -> str:
    """`name`, if it can be a file name; DataError for path separators, "..", control characters or an empty name."""
    if (
        not name
        or name in {".", ".."}
        or any(c in "/\\:" or ord(c) < 32 for c in name)
        or name.startswith("..")
        or len(name.encode("utf-8", "surrogatepass")) > 240
    ):
        raise DataError(f"{name!r} cannot be the name of a slide: it would lead out of the feature folder.")
    return name


def file_name(text: str) -> str:
    """Letters, digits, dots and dashes of `text`, at most 80 of them; never empty, hidden or a path."""
    plain = re.sub(r"[^a-z0-9.-]+", "-", text.lower()).strip("-.")
    return plain[:80].strip("-.") or f"x{_digits(text)}"


def file_names(texts: Iterable[str]) -> dict[str, str]:
    """A file name for every text; texts that would share one get a few digits of their hash."""
    listed = list(dict.fromkeys(texts))
    plain = {text: file_name(text) for text in listed}
    taken = list(plain.values())
    return {text: f"{name}-{_digits(text)}" if taken.count(name) > 1 else name for text, name in plain.items()}


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def fingerprint(records: Iterable[object]) -> str:
    """16 hex digits of the SHA-256 of the records (JSON values) as a set: their order does not matter.

    Two results with the same fingerprints rest on the same data.
    """
    lines = sorted(json.dumps(record, sort_keys=True, separators=(",", ":")) for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
