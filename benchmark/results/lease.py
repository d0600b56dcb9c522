"""Leases: who computes a fold, so that processes and machines with one results folder share the folds among them.

A lease is a small file beside the folds, `.fold-3.lease-1`, made by exclusive creation, which is atomic on NFS too. Its
holder renews it while it lives. Whoever finds it void takes the fold over by creating the next number, which only one
can. A lease saves work and guards nothing: should two compute a fold after all (a machine slept, and woke), they write
the same bytes, each file whole.
"""

import os
import platform
import re
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil

from ...processes import ended, machine

BEAT = 10.0
"""Seconds after which a holder renews its lease."""
STALE = 90.0
"""A lease that was not renewed for so many seconds is void."""

_NAME = re.compile(r"\.fold-(\d+)\.lease-(\d+)")


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    host, machine: the machine's name, and an id of its start and process table, within which `pid` means something.
    pid, born: the process, and when it started (seconds since 1970): ids of processes are used again.
    token: of this lease alone; run: of the command that handed the fold out.
    since: ISO 8601 in UTC.
    job: of the scheduler, such as Slurm's; empty where there is none.
    """

    host: str
    machine: str
    pid: int
    born: float
    token: str
    run: str
    since: str
    job: str = ""

    @property
    def title(self) -> str:
        """The process, as people look for it."""
        return f"process {self.pid} on {self.host}" + f", job {self.job}" * bool(self.job)

    @property
    def dead(self) -> bool:
        """True where the process is known to be gone; of another machine's processes nothing is known."""
        return self.machine == machine() and ended(self.pid, self.born)


@dataclass(frozen=True)
class Held:
    """A lease that is there: its file, when it was last renewed (nanoseconds), and its holder, None while it writes."""

    path: Path
    number: int
    renewed: int
    holder: Holder | None

    @property
    def token(self) -> str:
        """Of the lease; the file's name where its holder is not known."""
        return self.holder.token if self.holder else self.path.name

    @property
    def title(self) -> str:
        """Who holds it, for people."""
        return self.holder.title if self.holder else "another process"


class Watch:
    """Watches a lease that another process holds. Only this machine's clock counts: others may be wrong."""

    def __init__(self) -> None:
        self._seen: tuple[str, int] | None = None
        self._since = 0.0

    def void(self, held: Held) -> bool:
        """Whether the holder is dead, or has not renewed the lease since `STALE` seconds that this watch has seen."""
        now, seen = time.monotonic(), (held.token, held.renewed)
        if seen != self._seen:
            self._seen, self._since = seen, now
        return bool(held.holder and held.holder.dead) or now - self._since > STALE


@dataclass
class Lease:
    """A lease of this process. Leave it as a context; `lost` says that another process took it over meanwhile."""

    folder: Path
    fold: int
    held: Held
    lost: bool = False
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Lease":
        """Begin to renew it."""
        self._thread = threading.Thread(target=self._renew, name=f"lease of fold {self.fold}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        # Lowest first: while a lease is there, nobody begins anew.
        for held in sorted(_leases(self.folder, self.fold), key=lambda held: held.number):
            if held.number <= self.held.number:
                with suppress(OSError):
                    held.path.unlink()

    def _renew(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(OSError):  # a server that does not answer now may answer next time
                os.utime(self.held.path)
            newest = held(self.folder, self.fold)
            self.lost = newest is None or newest.number > self.held.number


def acquire(folder: Path, fold: int, run: str = "", void: str | None = None) -> Lease | Held:
    """The lease of a fold of the experiment in `folder`, or what is held by another process.

    void: the token of a lease that whoever asks knows to be void; one whose holder is dead is taken over in any case.
    Errors: OSError where the folder takes no file.
    """
    found = held(folder, fold)
    if found is not None and found.token != void and not (found.holder and found.holder.dead):
        return found
    number = 1 if found is None else found.number + 1
    holder = Holder(
        host=platform.node(),
        machine=machine(),
        pid=os.getpid(),
        born=psutil.Process().create_time(),
        token=uuid.uuid4().hex,
        run=run,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        job=_job(),
    )
    path = folder / f".fold-{fold}.lease-{number}"
    try:
        with path.open("xb") as file:
            file.write(msgspec.json.encode(holder))
    except FileExistsError:
        return held(folder, fold) or Held(path, number, 0, None)
    newest = held(folder, fold)
    if newest is not None and newest.path != path:  # it was there before, and the listing had been old
        with suppress(OSError):
            path.unlink()
        return newest
    return Lease(folder, fold, Held(path, number, 0, holder))


def held(folder: Path, fold: int) -> Held | None:
    """The lease of a fold, or None: nobody computes it."""
    return max(_leases(folder, fold), key=lambda held: held.number, default=None)


def all_held(folder: Path) -> dict[int, Held]:
    """The leases of all folds of an experiment, by fold."""
    found: dict[int, Held] = {}
    for one in _leases(folder):
        fold = int(_NAME.fullmatch(one.path.name)[1])  # type: ignore[index]
        if fold not in found or found[fold].number < one.number:
            found[fold] = one
    return found


def _leases(folder: Path, fold: int | None = None) -> list[Held]:
    found = []
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return []
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match is None or (fold is not None and int(match[1]) != fold):
            continue
        with suppress(FileNotFoundError), path.open("rb") as file:  # opened, so that NFS asks its server
            content, renewed = file.read(), os.fstat(file.fileno()).st_mtime_ns
            found.append(Held(path, int(match[2]), renewed, _holder(content)))
    return found


def _holder(content: bytes) -> Holder | None:
    try:
        return msgspec.json.decode(content, type=Holder)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _job() -> str:
    """The Slurm job that this process runs in, as `squeue` names it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
