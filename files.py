"""Files are written whole or not at all: a temporary name beside the target, then a rename."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, data: str | bytes) -> Path:
    """Write `data` (text as UTF-8) to `path`, making its folder.

    OSError names `path` and leaves an older file of that name as it was.
    """
    try:
        return _write(path, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _write(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = data.encode("utf-8") if isinstance(data, str) else data
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
        Path(temporary).chmod(0o644)  # mkstemp makes files only their owner may read
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
