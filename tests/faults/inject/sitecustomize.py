"""Faults in every process of a command, from its first line on: python imports this file before anything else.

The file that `MILSURV_FAULT` names holds a JSON object: at the `nth` `event` of all processes together, `kind` happens.
Events are counted in files of the folder `counts`, and only those below `root` count. The file is read at each event:
processes of a Ray cluster are older than the commands that they work for.

rename, mkdir, write   a file is renamed, a folder made, a file opened for writing
checkpoint, page       a file is renamed in a folder of checkpoints, of a leaderboard
database, statement    a database is opened, a statement changes one

kill   the process ends with SIGKILL before the event, a writer with its file open and empty
torn   the file that is renamed loses its second half, as after a loss of power, and the process ends with SIGKILL
full   the disk is full: the event fails with ENOSPC
slow   every event from the nth on takes a fifth of a second longer
"""

import builtins
import errno
import io
import json
import os
import signal
import sqlite3
import sqlite3.dbapi2
import time
from pathlib import Path

CHANGING = ("insert", "update", "delete", "create", "alter", "drop", "replace")
LONGER = 0.2
"""Seconds that an event of a slow disk takes."""

connect, mkdir, opened = sqlite3.connect, os.mkdir, io.open


def due(place: object, *events: str) -> str:
    """Count these events, of which one may be planned; what happens now, if anything."""
    try:
        with opened(os.environ["MILSURV_FAULT"], encoding="utf-8") as file:
            plan = json.load(file)
    except (KeyError, OSError, ValueError):
        return ""
    if not isinstance(place, str | os.PathLike) or not os.path.abspath(place).startswith(plan["root"]):  # noqa: PTH100
        return ""
    for event in events:
        handle = os.open(f"{plan['counts']}/{event}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, b".")
        number = os.lseek(handle, 0, os.SEEK_CUR)  # this process's own dot, whoever else writes
        os.close(handle)
        if event == plan["event"] and plan["kind"] == "slow" and number >= plan["nth"]:
            time.sleep(LONGER)
        elif event == plan["event"] and number == plan["nth"]:
            return plan["kind"]
    return ""


def end() -> None:
    """End as a machine does that loses its power."""
    os.kill(os.getpid(), signal.SIGKILL)


def full(place: object) -> OSError:
    """What a disk says that is full."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))


def renaming(function):
    """Rename, with the fault in it."""

    def call(source, target, *words, **more):
        where = os.path.abspath(target)  # noqa: PTH100
        kind = due(
            target, "rename", *["checkpoint"] * ("/checkpoints/" in where), *["page"] * ("/leaderboard/" in where)
        )
        if kind == "full":
            raise full(source)
        if kind == "torn" and Path(source).is_file():
            os.truncate(source, Path(source).stat().st_size // 2)
            function(source, target, *words, **more)
        if kind:
            end()
        return function(source, target, *words, **more)

    return call


def making(path, *words, **more):
    """Make a folder, with the fault in it."""
    kind = due(path, "mkdir")
    if kind == "full":
        raise full(path)
    return end() if kind else mkdir(path, *words, **more)


def opening(file, mode="r", *words, **more):
    """Open a file, with the fault in it."""
    kind = due(file, "write") if set(mode) & set("wxa+") else ""
    if kind == "full":
        raise full(file)
    found = opened(file, mode, *words, **more)
    return end() if kind else found


class Cursor(sqlite3.Cursor):
    """Counts the statements that change a database."""

    def execute(self, sql, *words):
        """Execute, with the fault in it."""
        self._count(sql)
        return super().execute(sql, *words)

    def executemany(self, sql, *words):
        """Execute, with the fault in it."""
        self._count(sql)
        return super().executemany(sql, *words)

    def _count(self, sql: str) -> None:
        kind = due(self.connection.place, "statement") if sql.lstrip().lower().startswith(CHANGING) else ""
        if kind == "full":
            raise sqlite3.OperationalError("database or disk is full")
        if kind:
            end()


class Connection(sqlite3.Connection):
    """Its cursors count."""

    place: object = None

    def cursor(self, factory=Cursor):
        """A cursor that counts."""
        return super().cursor(factory)


def connecting(database, *words, **more):
    """Open a database, with the fault in it."""
    if due(database, "database"):
        end()
    found = connect(database, *words, **({"factory": Connection} | more))
    if isinstance(found, Connection):
        found.place = database
    return found


os.replace, os.rename, os.mkdir = renaming(os.replace), renaming(os.rename), making
builtins.open = io.open = opening
sqlite3.connect = sqlite3.dbapi2.connect = connecting
