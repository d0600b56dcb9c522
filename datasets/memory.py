"""How much memory bags may take: a share of what is free, here and now, in this process's control group."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARE = 0.5
"""Of the memory that is free, what bags may take; models, their gradients and other programs need the rest."""
PROCESSES = "MILSURV_PROCESSES"
"""The environment variable that says how many processes of one command divide the memory of a machine."""
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    f"{letter}IB": 1 << 10 * power for power, letter in enumerate("KMGT", 1)
}
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def bytes_for_bags() -> int:
    """What the bags of this process may take, in bytes."""
    return int(SHARE * free_bytes()) // _processes()


@contextmanager
def divided(count: int) -> Iterator[None]:
    """While the block runs, processes that are started take a share as if there were `count` times as many of them."""
    before = os.environ.get(PROCESSES)
    os.environ[PROCESSES] = str(count * _processes())
    try:
        yield
    finally:
        os.environ.pop(PROCESSES) if before is None else os.environ.update({PROCESSES: before})


def _processes() -> int:
    text = os.environ.get(PROCESSES, "1")
    return int(text) if text.isdigit() and int(text) else 1


def free_bytes(groups: Path = _CONTROL_GROUPS) -> int:
    """Memory that is free for this process: of the machine, or what its control group leaves, whichever is less."""
    import psutil  # for --help, which shows the default, this takes too long

    free = [psutil.virtual_memory().available]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            most, taken = (int((groups / name).read_text()) for name in (limit, used))
        except (OSError, ValueError):  # there is no such group, or its limit is `max`
            continue
        free.append(max(0, most - taken))
    return min(free)


def parse_bytes(text: str) -> int:
    """A size such as `32GiB`, `500MB` or `0`, in bytes. Errors: ValueError.

    >>> parse_bytes("1.5 KiB")
    1536
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip(), re.IGNORECASE | re.ASCII)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(f"{text!r} is no size such as 32GiB, 500MB or 0")
    return int(float(match[1]) * _UNITS[match[2].upper()])
