"""Processes: a name for this one that others can read, and whether the one of a name is gone."""

import hashlib
import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path


def this_process() -> str:
    """The name of this process: its machine (8 hex digits), its number and when it began, joined by dashes."""
    return _name(os.getpid())


def gone(name: str) -> bool | None:
    """Whether the process of a name has ended; None where it is of another machine, or of before a restart."""
    place, number, born = name.split("-")
    if place != _short(machine()):
        return None
    return ended(int(number), float(born))


def ended(number: int, born: float) -> bool:
    """Whether the process of this number, which began at `born` (seconds since 1970), has ended on this machine."""
    import psutil

    try:
        process = psutil.Process(number)
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - born) > 2
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


@cache
def machine() -> str:
    """An id of this machine since its start, and of its table of processes: containers have one each."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


@cache
def _name(number: int) -> str:
    import psutil

    return f"{_short(machine())}-{number}-{psutil.Process(number).create_time():.0f}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
