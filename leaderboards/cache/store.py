"""A cache on disk: intervals, tests and curves are stored under all that they follow from, and not computed twice.

Every `bench run` renders the whole board. Most of it is the same as last time, and its bootstrap and its curves are
what costs time. A value is stored under a fingerprint of its inputs, of the code of this room and of the libraries that
compute it. It is plain JSON, which gives back every number to the last bit and runs nothing when it is read: joblib and
diskcache store pickles, and a pickle from a shared folder is a program.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import msgspec

from ...files import read_regular, remove_unfinished, write_whole

DAYS = 30
"""How long something is stored that no board needed."""

LARGEST = 256 << 20
"""Bytes of one value."""

_LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib")
T = TypeVar("T")


class _Stored(msgspec.Struct):
    """A file: the value, and its checksum, which tells it from other JSON of the same form."""

    sha256: str
    value: msgspec.Raw


@dataclass(frozen=True)
class Cache:
    """A folder of values by fingerprint; None stores nothing."""

    folder: Path | None = None

    def get(self, kind: type[T], name: str, inputs: Callable[[], object], compute: Callable[[], T]) -> T:
        """The value that `compute` gives for these `inputs`, from the cache where it is there.

        Parameters
        ----------
        kind
            Type of the value: plain values, or dataclasses of them. What is stored is validated by it.
        name
            What kind of value it is, in a word.
        inputs
            Gives the plain values that it follows from; called only where there is a cache.
        compute
            Called where it is not stored. A folder that cannot be read or written only costs time.
        """
        if self.folder is None:
            return compute()
        text = json.dumps([_code(), name, inputs()], sort_keys=True)
        path = self.folder / f"{name}-{hashlib.sha256(text.encode('utf-8')).hexdigest()[:40]}.json"
        try:
            stored = msgspec.json.decode(read_regular(path, LARGEST), type=_Stored)
            if stored.sha256 != hashlib.sha256(stored.value).hexdigest():
                raise msgspec.ValidationError("is not what was stored")
            found = msgspec.json.decode(stored.value, type=kind)
            os.utime(path)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found = compute()
            with contextlib.suppress(OSError, ValueError):  # a full disk, or no number: not stored
                value = json.dumps(msgspec.to_builtins(found), allow_nan=False).encode()
                checksum = hashlib.sha256(value).hexdigest()
                write_whole(path, msgspec.json.encode(_Stored(checksum, msgspec.Raw(value))))
        return found

    def remove_old(self) -> None:
        """Remove what no board needed for `DAYS` days."""
        if self.folder is None or not self.folder.is_dir():
            return
        remove_unfinished(self.folder)
        for path in self.folder.glob("*.json"):
            try:
                if time.time() - path.stat().st_mtime > DAYS * 86_400:
                    path.unlink()
            except OSError:  # another process was faster
                continue


NO_CACHE = Cache()
"""Stores nothing: everything is computed."""


def user_cache() -> Cache:
    """The cache of this user: the folder in `MILSURV_CACHE`, or `milsurv` in the user's cache folder.

    An empty `MILSURV_CACHE` stores nothing.
    """
    named = os.environ.get("MILSURV_CACHE")
    if named == "":
        return NO_CACHE
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "milsurv"
    return Cache((Path(named) if named else home) / "boards")


@lru_cache(maxsize=1)
def _code() -> str:
    """A fingerprint of the code that computes boards, and of the libraries that it uses."""
    found = hashlib.sha256()
    room = Path(__file__).parents[1]
    for path in sorted([*room.rglob("*.py"), *(room.parent / "survival").rglob("*.py")]):
        found.update(path.read_bytes())
    return found.hexdigest() + "".join(f" {name} {version(name)}" for name in _LIBRARIES)
