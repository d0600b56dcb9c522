"""Faults in every process of a command, from its first line on: python imports this file before anything else.

`MILSURV_FAULT` is `KIND EVENT N MARK`: at the N-th EVENT of a process (rename, mkdir or database) KIND happens, once in
all processes, which the file MARK records.

kill   the process ends with SIGKILL before the event
torn   the file that is renamed loses its second half, as after a loss of power, and the process ends with SIGKILL
full   the disk is full: the event fails with ENOSPC
slow   every event from the N-th on takes a fifth of a second longer
"""

import errno
import os
import signal
import sqlite3
import time
from pathlib import Path

KIND, EVENT, COUNT, MARK = (os.environ.get("MILSURV_FAULT") or "none none 0 none").split(" ", 3)
left = int(COUNT)


def due() -> bool:
    """Whether this is the event at which it happens."""
    global left
    left -= 1
    if KIND == "slow" and left <= 0:
        time.sleep(0.2)
        return False
    if left != 0:
        return False
    try:
        os.close(os.open(MARK, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def end() -> None:
    """End as a machine does that loses its power."""
    os.kill(os.getpid(), signal.SIGKILL)


def faulty(function):
    """The function, with the fault in it."""

    def call(*words, **more):
        if not due():
            return function(*words, **more)
        if KIND == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(words[0]))
        if KIND == "torn" and EVENT == "rename" and Path(words[0]).is_file():
            os.truncate(words[0], Path(words[0]).stat().st_size // 2)
            function(*words, **more)
        return end()

    return call


if EVENT == "rename":
    os.replace, os.rename = faulty(os.replace), faulty(os.rename)
elif EVENT == "mkdir":
    os.mkdir = faulty(os.mkdir)
elif EVENT == "database":
    sqlite3.connect = faulty(sqlite3.connect)
