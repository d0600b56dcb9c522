"""The MLflow store: a database in the output folder, or the server that a user names.

A database is built under another name and put in its place complete: a process that is killed while MLflow creates its
tables leaves nothing behind that stops the next one.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from filelock import FileLock, Timeout

from ....files import remove_unfinished, scratch, set_aside, write_whole
from ....leaderboards.cache.store import user_cache
from .options import Tracking

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NAME = "milsurv"
"""MLflow experiments are called `milsurv/<cohort>`; earlier versions had one, called `milsurv`."""
PATIENCE = 30.0
"""Seconds to wait for another process that writes to the store."""


class StoreAway(Exception):
    """The store did not answer a moment ago, and is not asked again yet."""


def local_store(out: Path) -> str:
    """The address of the store that lies in the output folder and needs no server."""
    path = str((out / "mlflow.db").resolve())
    if not set(path) & set("?#%"):
        return f"sqlite:///{path}"
    # SQLAlchemy decodes the path. Of `sqlite:///` MLflow makes the undecoded folder: naming a driver stops that.
    return f"sqlite+pysqlite:///{quote(path)}"


def database_of(uri: str) -> Path | None:
    """The file of a SQLite store; None for every other store."""
    scheme, _, path = uri.partition(":///")
    return Path(unquote(path.partition("?")[0])) if scheme.partition("+")[0] == "sqlite" else None


def open_store(tracking: Tracking | str | None, out: Path) -> "Store | None":
    """The store that a user means: `Tracking`, or its address alone."""
    wanted = tracking if isinstance(tracking, Tracking) else Tracking(tracking)
    return None if wanted.address == "none" else Store(wanted.address or local_store(out), out, wanted)


def experiment_name(cohort: str, synthetic: bool) -> str:
    """The MLflow experiment of a cohort; simulated data have one of their own."""
    return f"{NAME}/{cohort}" + " (synthetic)" * synthetic


def quiet_mlflow() -> None:
    """Settings that mlflow reads at import: patience of seconds and not minutes, and no chatter."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints what it raises, with a traceback


class Store:
    """One MLflow store, as the process that logs sees it.

    Parameters
    ----------
    uri
        Address of the store.
    out
        The output folder; its lock keeps two processes from logging the same fold twice.
    wanted
        What else is recorded than results.
    """

    def __init__(self, uri: str, out: Path, wanted: Tracking | None = None) -> None:
        self.uri, self.out, self.wanted = uri, out, wanted or Tracking()
        self.set_aside: Path | None = None
        """Where a database lies now that could not be used."""
        self._client: MlflowClient | None = None
        self._pause, self._not_before = 0.0, 0.0

    @contextmanager
    def writing(self) -> "Iterator[MlflowClient]":
        """A client, while no other process that shares the output folder writes.

        After a failure the store is left alone for a while, longer each time: a server that is gone must not hold up
        a grid of a thousand experiments.

        Raises
        ------
        StoreAway
            It failed a moment ago.
        TimeoutError
            Another process has been writing for `PATIENCE` seconds.
        Exception
            Whatever MLflow, its database or its server raises.
        """
        if time.monotonic() < self._not_before:
            raise StoreAway(f"it did not answer {self._pause:.0f} s ago")
        self.out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.out / ".mlflow.lock")
        try:
            with lock.acquire(timeout=PATIENCE):
                yield self._open()
        except Timeout:
            self._rest()
            raise TimeoutError(f"another process has held {lock.lock_file} for {PATIENCE:.0f} s") from None
        except Exception:
            self._rest()
            raise
        self._pause = 0.0

    def _rest(self) -> None:
        self._pause = min(300.0, max(2.0, 2 * self._pause))
        self._not_before = time.monotonic() + self._pause

    def _open(self) -> "MlflowClient":
        if self._client is None:
            quiet_mlflow()
            from mlflow.tracking import MlflowClient

            if self.uri == local_store(self.out):
                remove_unfinished(self.out)
                self.set_aside = make_usable(self.out / "mlflow.db")
            self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    def experiment(self, client: "MlflowClient", name: str, tags: dict[str, str]) -> str:
        """The id of the MLflow experiment of this name, made where it is not there."""
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = (self.out / "mlflow-artifacts").resolve().as_uri() if database_of(self.uri) else None
        return str(client.create_experiment(name, artifact_location=place, tags=tags))


def make_usable(database: Path) -> Path | None:
    """Put an empty store where there is none, or where creating one was cut short.

    Returns where the unusable one lies now. One that holds runs is never replaced.
    """
    aside = None
    if database.is_file() and database.stat().st_size:
        if holds_tables(database):
            return None
        aside = set_aside(database)
    write_whole(database, _empty(database.parent))
    return aside


def holds_tables(database: Path) -> bool:
    """Whether MLflow finished creating this database; one that holds runs is never doubted."""
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            tables = {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "runs" in tables and opened.execute("SELECT 1 FROM runs LIMIT 1").fetchone():
                return True
            # MLflow creates its first tables, runs its migrations, and then makes the experiment `Default`.
            return "experiments" in tables and bool(opened.execute("SELECT 1 FROM experiments LIMIT 1").fetchone())
    except sqlite3.OperationalError:
        return True  # locked, or not readable: MLflow says what is wrong
    except sqlite3.DatabaseError:
        return False


def _empty(folder: Path) -> bytes:
    """A database with MLflow's tables and no run. Creating one takes seconds: it is cached by version of MLflow."""
    cache = user_cache().folder
    cached = None if cache is None else cache.parent / f"mlflow-{version('mlflow')}.db"
    data = None
    if cached is not None:
        with suppress(OSError, sqlite3.DatabaseError):
            data = _checked(cached.read_bytes())
    if data is None:
        data = _created()
        if cached is not None:
            with suppress(OSError):
                write_whole(cached, data)
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(data)
        # Artifacts of `Default`, where nothing of ours is, would go to whatever folder the database was created in.
        place = (folder / "mlflow-artifacts" / "0").resolve().as_uri()
        database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", (place,))
        database.commit()
        return database.serialize()


def _checked(data: bytes) -> bytes:
    """The database, if it is one that MLflow made. Errors: `sqlite3.DatabaseError` for anything else."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(data)
        if database.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
            raise sqlite3.DatabaseError("damaged")
        database.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0")
    return data


def _created() -> bytes:
    from mlflow.tracking import MlflowClient

    with scratch() as folder:
        path = folder / "mlflow.db"
        MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
        with closing(sqlite3.connect(path)) as database:
            return database.serialize()
