"""What was reckoned before is not reckoned again: intervals, tests and curves are kept by all that they follow from.

Every `bench run` renders the whole board. Most of it is the same as last time, and its bootstrap and its curves are
what costs time. A value is kept under a fingerprint of its inputs, of the code of this room and of the libraries that
reckon it; it is plain JSON, which gives back every number to the last bit: a board from memory is the same, byte for
byte.
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
from typing import Any

from ...files import write_whole

DAYS = 30
"""How long something is kept that no board needed."""

_LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib")


@dataclass(frozen=True)
class Memory:
    """A folder of values by fingerprint; None remembers nothing."""

    folder: Path | None = None

    def recall(self, kind: str, inputs: object, make: Callable[[], Any]) -> Any:
        """The plain value (JSON) that `make` gives for these `inputs`, from memory where it is there.

        A folder that cannot be read or written only costs time: the value is made.
        """
        if self.folder is None:
            return make()
        text = json.dumps([_code(), kind, inputs], sort_keys=True)
        path = self.folder / f"{kind}-{hashlib.sha256(text.encode('utf-8')).hexdigest()[:40]}.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            os.utime(path)
        except (OSError, ValueError):
            found = make()
            with contextlib.suppress(OSError, ValueError):  # a full disk, or no number: not kept
                write_whole(path, json.dumps(found, allow_nan=False))
        return found

    def forget(self) -> None:
        """Remove what no board needed for `DAYS` days."""
        if self.folder is None or not self.folder.is_dir():
            return
        for path in self.folder.glob("*.json"):
            try:
                if time.time() - path.stat().st_mtime > DAYS * 86_400:
                    path.unlink()
            except OSError:  # another process was faster
                continue


def of_user() -> Memory:
    """The memory of this user: the folder in `MILSURV_CACHE`, or `milsurv` in the user's cache folder.

    An empty `MILSURV_CACHE` remembers nothing.
    """
    named = os.environ.get("MILSURV_CACHE")
    if named == "":
        return Memory()
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "milsurv"
    return Memory((Path(named) if named else home) / "boards")


@lru_cache(maxsize=1)
def _code() -> str:
    """A fingerprint of the code that computes boards, and of the libraries that it uses."""
    found = hashlib.sha256()
    room = Path(__file__).parents[1]
    for path in sorted([*room.rglob("*.py"), *(room.parent / "survival").rglob("*.py")]):
        found.update(path.read_bytes())
    return found.hexdigest() + "".join(f" {name} {version(name)}" for name in _LIBRARIES)
