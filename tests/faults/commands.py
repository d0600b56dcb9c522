"""Commands that are killed or meet a full disk, and are typed again: what each must leave, whatever happened to it."""

import csv
import gzip
import json
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

INJECT = Path(__file__).with_name("inject")
CHANGING = {"created", "seconds", "tuning_seconds", "hardware", "code_version"}
SIMULATED = ("--cohort", "blca", "--features", "synthetic", "--patients", "40", "--folds", "2", "--epochs", "2")
TRAINED = ("run", "--model", "abmil", *SIMULATED, "--checkpoint-every", "0s")
ANEW = "run (new database)"
"""It has no cache, in which an empty MLflow database lies."""
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": TRAINED,
    "run --jobs 2": (*TRAINED, "--engine", "local", "--jobs", "2"),
    "run on Ray": (*TRAINED, "--engine", "ray", "--jobs", "2", "--address", "{ray}"),
    "ablate": ("ablate", "--model", "abmil,site-only", *SIMULATED),
    "run --tune": ("run", "--model", "meanpool", *SIMULATED, "--tune", "2"),
    ANEW: ("run", "--model", "random", *SIMULATED[:-2]),
    "extract": ("extract", "--slides", "{images}", "--magnifications", "5"),
    "features convert": ("features", "convert", "{slides}"),
    "leaderboard submit": (
        *("leaderboard", "submit", "{whole}", "--title", "One", "--who", "A group", "--when", "2026-01-05"),
    ),
}
"""By name the words of `bench`, without `--out`. `{whole}`: results; `{slides}`: features; `{images}`: slides; `{ray}`:
the address of a Ray cluster."""
LOGGED = {name for name in COMMANDS if name.startswith(("run", "ablate"))}
IMPORTED = (
    "milsurv.benchmark.cli.main", "milsurv.benchmark.run", "milsurv.leaderboards.publish", "torch", "sksurv.metrics",
    "mlflow.store.tracking.sqlalchemy_store", "alembic.command", "scipy.stats", "matplotlib.backends.backend_svg",
)  # fmt: skip
"""Imported once for all commands, which saves most of the seconds of a small one."""
HEAD = """
import sys, ray
here = ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20)
print(here.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


def bench(words: list[str], log: str, changes: dict[str, str]) -> None:
    """Be a command: a process group of its own, and a file for what it says."""
    os.setsid()
    with Path(log).open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(changes)
    os.chdir(Path(log).parent)
    from milsurv.benchmark.cli.main import main

    sys.argv = ["bench", *words]
    main()


@dataclass(frozen=True)
class Place:
    """Where commands run: their inputs, a folder for each, and the fault that the next one meets."""

    folder: Path

    @property
    def fault(self) -> Path:
        """What `inject/sitecustomize.py` reads."""
        return self.folder / "fault.json"

    @property
    def environment(self) -> dict[str, str]:
        """Of the commands, and of what they start."""
        paths = [str(INJECT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        return {
            "PYTHONPATH": os.pathsep.join(paths),
            "MILSURV_FAULT": str(self.fault),
            "MILSURV_CACHE": str(self.folder / "cache" / "boards"),
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def home(self, run: str) -> Path:
        """All that a run of a command writes lies here."""
        return self.folder / "runs" / run

    def words(self, name: str, run: str) -> list[str]:
        """The command of this name, as this run types it."""
        whole, out = self.home("whole") / "out", str(self.home(run) / "out")
        slides = next((whole / "synthetic").glob("*/features/*"), whole) if whole.exists() else whole
        address = self.folder / "ray-address"
        named = {"whole": whole, "slides": slides, "images": self.folder / "images" / "demo" / "slides"}
        named["ray"] = address.read_text() if address.exists() else "auto"
        words = [word.format(**named) for word in COMMANDS[name]]
        return [*words, out] if name == "features convert" else [*words, "--out", out]

    def start(self, name: str, run: str, kind: str = "", event: str = "", nth: int = 0) -> BaseProcess:
        """Begin a command, with a fault in it."""
        counts, temporary = self.folder / "counts" / run, self.home(run) / "tmp"
        shutil.rmtree(counts, ignore_errors=True)
        for folder in (counts, temporary):
            folder.mkdir(parents=True, exist_ok=True)
        plan = {"kind": kind, "event": event, "nth": nth, "root": f"{self.home(run)}/", "counts": str(counts)}
        self.fault.write_text(json.dumps(plan))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*IMPORTED])
        changes = self.environment | {"TMPDIR": str(temporary)}
        if name == ANEW:
            changes["MILSURV_CACHE"] = ""
        words = self.words(name, run)
        process = context.Process(target=bench, args=(words, str(self.folder / f"{run}.log"), changes))
        with _environment(self.environment):  # the process from which all are forked is started by the first
            process.start()
        return process

    def events(self, run: str) -> Counter[str]:
        """How many events of every kind the last command of this run had."""
        return Counter({path.name: path.stat().st_size for path in (self.folder / "counts" / run).iterdir()})

    def prepare(self, names: list[str]) -> None:
        """Make the inputs of these commands, and fill the caches that they share."""
        assert ended(self.start("run", "whole"), 1200) == 0, self.log("whole")
        if "extract" in names:
            render = ("data", "render", "--out", str(self.folder / "images"), "--patients", "20", "--area", "0.2")
            command = [sys.executable, "-m", "milsurv.benchmark.cli.main", *render]
            subprocess.run(command, check=True, capture_output=True)

    def log(self, run: str) -> str:
        """What the commands of a run said."""
        path = self.folder / f"{run}.log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def ray_cluster(place: Place) -> Iterator[None]:
    """A Ray cluster, for as long as the block runs: its workers meet the faults of `place`, too."""
    with subprocess.Popen(
        [sys.executable, "-c", HEAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | place.environment,
    ) as head:  # fmt: skip
        assert head.stdout is not None
        (place.folder / "ray-address").write_text(head.stdout.readline().strip())
        try:
            yield
        finally:
            head.communicate()


def ended(process: BaseProcess, seconds: float) -> int | None:
    """The exit status of a process, None where it is not over after so many seconds; it is killed then."""
    process.join(seconds)
    if process.exitcode is None:
        kill(process)
        return None
    return process.exitcode


def kill(process: BaseProcess) -> None:
    """`kill -9` of a process and all that it started."""
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def content(home: Path) -> dict[str, object]:
    """What a command leaves: every file but logs and databases; of rows and boards, what may not change."""
    found: dict[str, object] = {}
    out = home / "out"
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_file() or name.split("/")[0] in ("mlflow-artifacts", "mlflow.db", ".mlflow.lock"):
            continue
        if path.suffix == ".lock" or path.name in ("tuning.journal", "extract-report.csv", "tuning.csv"):
            continue
        if path.name == "result.json":
            found[name] = {key: value for key, value in json.loads(path.read_text()).items() if key not in CHANGING}
        elif path.name == "leaderboard.csv":
            with path.open(encoding="utf-8", newline="") as file:
                found[name] = [{k: v for k, v in row.items() if k not in CHANGING} for row in csv.DictReader(file)]
        elif name.startswith("leaderboard/"):  # it shows seconds
            found[name] = path.stat().st_size > 0
        elif path.name == "predictions.csv.gz":
            found[name] = gzip.decompress(path.read_bytes())
        elif path.name == "files.json":
            listed = json.loads(path.read_text())
            found[name] = {key: value for key, value in listed.items() if key != "tuning.csv"}
        else:
            found[name] = path.read_bytes()
    return found


def logged(home: Path) -> Mapping[str, object]:
    """The runs of an MLflow store: of every kind and status how many, with how many metrics, parameters and tags."""
    if not (home / "out" / "mlflow.db").exists():
        return {}
    query = """
        SELECT t.value, r.status, r.lifecycle_stage, COUNT(*),
               SUM((SELECT COUNT(*) FROM latest_metrics m WHERE m.run_uuid = r.run_uuid)),
               SUM((SELECT COUNT(*) FROM params p WHERE p.run_uuid = r.run_uuid)),
               SUM((SELECT COUNT(*) FROM tags g WHERE g.run_uuid = r.run_uuid))
        FROM runs r LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'milsurv.kind'
        GROUP BY t.value, r.status, r.lifecycle_stage"""
    with closing(sqlite3.connect(home / "out" / "mlflow.db")) as database:
        rows = database.execute(query).fetchall()
    return {f"{kind} {status} {stage}": counts for kind, status, stage, *counts in rows}


def names(home: Path) -> Counter[str]:
    """All files and folders that a command leaves; ids that are drawn are one name."""
    every = (path.relative_to(home).as_posix() for path in home.rglob("*"))
    return Counter(re.sub(r"\b[0-9a-f]{32}\b", "ID", name) for name in every)


def alive(home: Path) -> list[str]:
    """Processes that still work for a command."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if process.pid != os.getpid() and any(str(home) in word for word in process.info["cmdline"] or ()):
            found.append(f"process {process.pid}")
    return found


def wrong(place: Place, run: str, expected: Path) -> list[str]:
    """What a run that met a fault and was typed again left otherwise than one that nothing disturbed.

    A database that lost its second half may lie beside the new one, which the command says.
    """
    home = place.home(run)
    if "the MLflow database could not be used" in place.log(run):
        (home / "out" / "mlflow.db.unusable-1").unlink()
    there, should = names(home), names(expected)
    found = ["Traceback"] * ("Traceback" in place.log(run))
    found += ["other bytes"] * (content(home) != content(expected))
    found += [f"MLflow holds {logged(home)}"] * (logged(home) != logged(expected))
    found += [f"left {name}" for name in (there - should)] + [f"lacks {name}" for name in (should - there)]
    return found + [f"left {one}" for one in alive(home)]
