"""The engine `slurm`: job arrays, whose tasks compute the cells on machines that see the same files.

The jobs need nobody: while they wait and run, the command that submitted them may be ended. Typed again, it finds them
by what is noted in OUT/slurm/, and collects. The only importer of submitit.
"""

import json
import math
import os
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ...errors import DataError, RowError, UsageError
from ...files import write_whole
from ...leaderboards.rows import read_row
from ..results.lease import Held
from ..training.interruption import STOP
from .cell import Cell, Done, Event, Failed, Lost, Remarked, Taken, Tell, Unwritable
from .worker import Worker, remarks

TASKS = 1000
"""A job array has at most so many tasks, which is what Slurm allows where nothing else is configured; tasks of larger
grids compute several cells, one after another."""
MINUTES = 240
"""What a task may take where `--slurm time=…` says nothing else; one that needs longer is queued again, and goes on."""
WARNING = 90
"""Seconds before the end of its time at which a task is warned."""
_SILENCE = 15.0  # seconds after its end that the files of a task may take to be seen here


@dataclass(frozen=True)
class Word:
    """What a task says last about a cell; `kind` is `done`, `taken`, `failed` or `unwritable`. remarks: for users."""

    kind: str
    error: str = ""
    details: str = ""
    remarks: tuple[str, ...] = ()


class Slurm:
    """Submits job arrays; `folder` is where they and their logs are noted.

    jobs: tasks at once; None for no cap. cpus, gpus: of each task. settings: further options of sbatch.
    """

    tells = False

    def __init__(self, folder: Path, jobs: int | None, cpus: float, gpus: float, settings: Mapping[str, str]) -> None:
        try:
            import submitit
        except ImportError as error:
            raise UsageError("--engine slurm needs submitit: pip install 'milsurv[slurm]'") from error
        try:
            subprocess.run(["sbatch", "--version"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise UsageError("--engine slurm: there is no sbatch here; type the command on a login node") from error
        self._folder, self._settings = folder, dict(settings)
        self._executor = submitit.SlurmExecutor(folder=folder / "logs" / "%j")
        minutes = minutes_of(self._settings.pop("time", str(MINUTES)))
        more: dict[str, object] = {"requeue": True, **self._settings}
        if gpus:
            more.setdefault("gres", f"gpu:{math.ceil(gpus)}")
        self._executor.update_parameters(
            job_name="milsurv",
            time=minutes,
            cpus_per_task=math.ceil(cpus),
            array_parallelism=jobs or TASKS,
            signal_delay_s=WARNING,
            additional_parameters=more,
        )
        self._cells: list[Cell] = []
        self._jobs: dict[tuple[str, int], str] = {}  # the task of every cell that is submitted
        self._waiting: dict[tuple[str, int], Cell] = {}
        self._gone: dict[tuple[str, int], float] = {}
        self._earlier = _alive(self._folder)

    def submit(self, cell: Cell) -> None:
        """Take a cell; one that an earlier command submitted is not submitted again."""
        if cell.void is None and (task := self._earlier.pop(cell.key, None)) is not None:
            self._jobs[cell.key], self._waiting[cell.key] = task, cell
        else:
            self._cells.append(cell)

    def turn(self, seconds: float, tell: Tell) -> None:
        """Submit what was handed in, and tell what the tasks have noted."""
        if self._cells:
            self._submit()
        before = len(self._waiting)
        for cell in list(self._waiting.values()):
            word = _read(self._word(cell))
            if word is not None:
                del self._waiting[cell.key]
                for text in word.remarks:
                    tell(Remarked(cell, text))
                tell(self._event(cell, word))
        queued = _queue({self._jobs[key].partition("_")[0] for key in self._waiting})
        now = time.monotonic()
        for key, cell in list(self._waiting.items()):
            if self._jobs[key] in queued:
                self._gone.pop(key, None)
            elif now - self._gone.setdefault(key, now) > _SILENCE:
                del self._waiting[key], self._gone[key]
                tell(Lost(cell, f"job {self._jobs[key]} ended without a word; see {self._folder / 'logs'}"))
        if len(self._waiting) == before:
            time.sleep(seconds)

    def close(self) -> None:
        """Leave: what is submitted goes on."""

    def _submit(self) -> None:
        self._cells, cells = [], self._cells
        size = math.ceil(len(cells) / TASKS)
        groups = [cells[start : start + size] for start in range(0, len(cells), size)]
        for cell in cells:
            self._word(cell).unlink(missing_ok=True)
        try:
            jobs = self._executor.map_array(Tasks(self._folder), groups)
        except Exception as error:  # submitit wraps what sbatch says
            brief = " ".join(str(error).split())
            raise UsageError(f"sbatch did not take the jobs: {brief[-300:]}. See --slurm KEY=VALUE") from error
        noted: dict[str, list] = {}
        for job, group in zip(jobs, groups, strict=True):
            noted[job.job_id] = [list(cell.key) for cell in group]
            for cell in group:
                self._jobs[cell.key], self._waiting[cell.key] = job.job_id, cell
        write_whole(self._folder / f"jobs-{uuid.uuid4().hex[:10]}.json", json.dumps(noted))

    def _word(self, cell: Cell) -> Path:
        return _said(self._folder, cell.key)

    def _event(self, cell: Cell, word: Word) -> Event:
        if word.kind == "done":
            try:
                path = Path(word.details)
                return Done(cell, read_row(path))
            except RowError as error:
                return Lost(cell, str(error))
        if word.kind == "taken":
            return Taken(cell, Held(Path(word.details), 0, 0, None))
        if word.kind == "unwritable":
            return Unwritable(cell, word.error)
        return Failed(cell, word.error, word.details)


@dataclass(frozen=True)
class Tasks:
    """What a task of a job array runs: its cells, one after another."""

    folder: Path

    def __call__(self, cells: Sequence[Cell]) -> None:
        """Compute cells, and note of each what became of it. A task whose time ends is queued again."""
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        worker = Worker()
        with STOP.listening():
            try:
                for cell in cells:
                    os.chdir(cell.home)
                    said: list[str] = []
                    with remarks(said.append):
                        word = self._compute(worker, cell)
                    write_whole(_said(self.folder, cell.key), msgspec.json.encode(replace(word, remarks=tuple(said))))
            except KeyboardInterrupt:
                if STOP.reason in ("SIGUSR1", "SIGUSR2"):
                    _requeue()
                sys.exit(1)

    def _compute(self, worker: Worker, cell: Cell) -> Word:
        try:
            event = worker.compute(cell, lambda event: None)
        except Exception as error:  # a fault of ours: the other end names it, and the other cells go on
            return Word("failed", f"{type(error).__name__}: {error}", traceback.format_exc())
        match event:
            case Done(_, row):
                return Word("done", details=str(worker.loaded(cell).folder.fold(row.fold).absolute() / "result.json"))
            case Taken(_, held):
                return Word("taken", details=str(held.path))
            case Unwritable(_, error):
                return Word("unwritable", error)
            case Failed(_, error, details):
                return Word("failed", error, details)
        raise AssertionError(event)


def minutes_of(text: str) -> int:
    """A time as sbatch takes it: minutes, hours:minutes:seconds, or days-hours. Errors: `UsageError`."""
    days, dash, rest = text.rpartition("-")
    parts = rest.split(":")
    try:
        numbers = [int(part) for part in parts]
        if dash:
            hours, minutes, seconds = (*numbers, 0, 0)[:3]
            return int(days) * 1440 + hours * 60 + minutes + (seconds > 0)
        if len(numbers) == 3:
            return numbers[0] * 60 + numbers[1] + (numbers[2] > 0)
        return numbers[0] + (len(numbers) == 2 and numbers[1] > 0)
    except ValueError as error:
        raise UsageError(f"--slurm time={text}: expected minutes, or hours:minutes:seconds") from error


def jobs_of(folder: Path) -> dict[tuple[str, int], str]:
    """The task of every cell that was ever submitted from a results folder, by experiment and fold."""
    found: dict[tuple[str, int], str] = {}
    for path in sorted(folder.glob("jobs-*.json"), key=lambda path: path.stat().st_mtime):
        try:
            noted = msgspec.json.decode(path.read_bytes(), type=dict[str, list[tuple[str, int]]])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is damaged ({error}): delete it, and cancel its jobs with scancel") from error
        found |= {key: job for job, keys in noted.items() for key in keys}
    return found


def queue_of(folder: Path) -> dict[tuple[str, int], tuple[str, str]]:
    """(task, state) of the submitted cells that Slurm has not finished; empty where Slurm does not answer."""
    jobs = jobs_of(folder)
    queued = _queue({job.partition("_")[0] for job in jobs.values()})
    return {key: (job, queued[job]) for key, job in jobs.items() if job in queued}


def _alive(folder: Path) -> dict[tuple[str, int], str]:
    return {key: job for key, (job, _) in queue_of(folder).items() if not _said(folder, key).exists()}


def _said(folder: Path, key: tuple[str, int]) -> Path:
    return folder / "said" / f"{key[0]}-{key[1]}.json"


def _queue(jobs: set[str]) -> dict[str, str]:
    """The state of every task of these jobs that is not over: `PENDING`, `RUNNING`, …"""
    if not jobs:
        return {}
    words = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T", "--jobs", ",".join(sorted(jobs))]
    try:
        text = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY")
    found = (line.split() for line in text.splitlines())
    return {words[0]: words[1] for words in found if len(words) == 2 and words[1] not in over}


def _read(path: Path) -> Word | None:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Word)
    return None


def _requeue() -> None:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    subprocess.run(["scontrol", "requeue", job], check=False)
