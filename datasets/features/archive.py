"""Archives of features (.tar, .tar.gz, .tgz, .zip): read once, as a stream, into a folder of the user's cache.

A packed stream can only be read from its beginning, and features are read in every epoch. So the feature files of an
archive are laid out once, in a folder named after the archive and its size and time of change; nothing else of it is
written. An archive that was changed gets another folder. `MILSURV_CACHE` says where.
"""

import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock

from ...errors import DataError, writing
from ...files import fingerprint, whole_folder
from .formats.formats import SUFFIXES

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
PIECE = 4 << 20
RESERVE = 1 << 30
"""Bytes that must stay free on the disk beside what is unpacked."""


def is_archive(path: Path) -> bool:
    """Whether a file is an archive by its name."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def unpacked(path: Path, say: Callable[[str], None] | None = None) -> Path:
    """The folder with the feature files of an archive; they are laid out if they are not there yet.

    `say` is told before that starts. DataError if the archive is damaged, or the disk has no room for it.
    """
    stat = path.stat()
    name = path.name
    for ending in sorted(ENDINGS, key=len, reverse=True):
        name = name[: -len(ending)] if name.lower().endswith(ending) else name
    key = fingerprint([path.name, stat.st_size, stat.st_mtime_ns])[:12]
    place = cache_folder() / f"{name}-{key}" / name
    if place.is_dir():
        return place
    home = place.parent.parent
    with writing(home, "name another folder with MILSURV_CACHE"):
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / f".{place.parent.name}.lock"):
            if place.is_dir():
                return place
            free = shutil.disk_usage(home).free
            if free < stat.st_size + RESERVE:
                raise DataError(
                    f"{path} unpacks to at least {_size(stat.st_size)}, and {home} has {_size(free)} free. Name "
                    "another folder with MILSURV_CACHE, or write it as float16: bench features convert ARCHIVE STORE."
                )
            if say is not None:
                say(f"unpacking {path} ({_size(stat.st_size)}) once into {place}")
            with whole_folder(place) as partial:
                _lay_out(path, partial)
    return place


def cache_folder() -> Path:
    """Where archives are unpacked: `features` in `MILSURV_CACHE`, or in `milsurv` of the user's cache folder."""
    named = os.environ.get("MILSURV_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "milsurv"
    return (Path(named) if named else home) / "features"


def _lay_out(path: Path, folder: Path) -> None:
    """Write the feature files of an archive below `folder`, each in its place in the archive."""
    count = 0
    try:
        for name, file in _members(path):
            target = folder / _inside(path, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(file, out, PIECE)
            count += 1
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path} is truncated or damaged ({error}). Fetch it again.") from error
    if not count:
        raise DataError(f"{path} holds no feature files ({', '.join(SUFFIXES)}).")


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The names and contents of feature files, in the order of the archive, each read before the next is asked for."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir() and _wanted(member.filename):
                    with archive.open(member) as file:
                        yield member.filename, file
        return
    with tarfile.open(path, mode="r|*") as stream:
        for entry in stream:
            if entry.isreg() and _wanted(entry.name) and (content := stream.extractfile(entry)) is not None:
                yield entry.name, content


def _wanted(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.endswith(SUFFIXES) or any(part.endswith(".zarr") for part in parts[:-1])


def _inside(path: Path, name: str) -> Path:
    """A member's place below the folder. DataError for a name that leads out of it."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise DataError(f"{path} holds a file called {name}, which leads out of its folder; it is not unpacked.")
    return Path(*parts)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
