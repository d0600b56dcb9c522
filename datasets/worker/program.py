"""The program of a worker process: it answers requests with a function of one module until standard input ends.

    python -P -m milsurv.datasets.worker.program milsurv.datasets.slides.worker

One JSON request a line comes in; JSON lines go out, some followed by plain bytes. A file that cannot be read is
answered with {"refused": reason} or, where a library fails on it, {"damaged": its message, "kind": its exception}. The
program blocks while nobody takes what it has read, so that memory stays bounded. `process.py` is the other end.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
from typing import BinaryIO

from ...errors import DataError


def main(module: str) -> None:
    """Answer requests with `answer(request, out)` of `module`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other end to act upon
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints to standard output must not get between the answers
    limit()
    answer = importlib.import_module(module).answer
    for line in sys.stdin.buffer:
        try:
            answer(json.loads(line), out)
        except DataError as error:
            say(out, {"refused": str(error)})
        except BrokenPipeError:
            return  # nobody is there any more
        except Exception as error:  # a damaged file can raise anything here; the other end names the file
            brief = str(error).strip().splitlines() or [""]
            say(out, {"damaged": brief[0][:200], "kind": type(error).__name__})


def say(out: BinaryIO, line: dict) -> None:
    """Send one JSON line."""
    send(out, memoryview(json.dumps(line).encode() + b"\n"))


def send(out: BinaryIO, view: memoryview) -> None:
    """Send bytes, all of them."""
    while len(view):
        view = view[out.write(view) :]


def limit() -> None:
    """No core files, and 8 GiB of address space at most, where the system knows limits."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))


if __name__ == "__main__":
    main(sys.argv[1])
