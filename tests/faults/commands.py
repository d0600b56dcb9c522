"""Commands that are killed or meet a full disk, and are typed again: what each must leave, whatever happened to it."""

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

BENCH = (sys.executable, "-m", "milsurv.benchmark.cli.main")
INJECT = Path(__file__).with_name("inject")
CHANGING = {"created", "seconds", "tuning_seconds", "hardware", "code_version"}
SIMULATED = ("--cohort", "blca", "--features", "synthetic", "--patients", "40", "--folds", "2", "--epochs", "2")
TRAINED = ("run", "--model", "abmil", *SIMULATED, "--checkpoint-every", "0s")
LOGGED = {"run, serial", "run, local", "run, ray", "ablate", "tune"}
COMMANDS: dict[str, tuple[str, ...]] = {
    "run, serial": TRAINED,
    "run, local": (*TRAINED, "--engine", "local", "--jobs", "2"),
    "run, ray": (*TRAINED, "--engine", "ray", "--jobs", "2"),
    "ablate": ("ablate", "--model", "abmil,site-only", *SIMULATED),
    "tune": ("run", "--model", "meanpool", *SIMULATED, "--tune", "2"),
    "submit": ("leaderboard", "submit", "{whole}", "--title", "One", "--who", "A group", "--when", "2026-01-05"),
    "convert": ("features", "convert", "{slides}"),
    "extract": ("extract", "--slides", "{images}", "--magnifications", "5"),
}
"""By name the words of `bench`, without `--out`. `{whole}`: results; `{slides}`: features; `{images}`: slides."""


@dataclass(frozen=True)
class Place:
    """Where commands run: inputs, and a folder for temporary files of their own."""

    folder: Path

    @property
    def temporary(self) -> Path:
        """What a killed process leaves here is found."""
        return self.folder / "tmp"

    def words(self, name: str, out: Path) -> list[str]:
        """The command of this name, which writes to `out`."""
        whole = self.folder / "whole"
        slides = next((whole / "synthetic").glob("*/features/*"), whole) if whole.exists() else whole
        named = {"whole": str(whole), "slides": str(slides), "images": str(self.folder / "images" / "slides")}
        target = ("--out", str(out)) if name != "convert" else (str(out),)
        return [*(word.format(**named) for word in COMMANDS[name]), *target]

    def start(self, name: str, out: Path, fault: str = "") -> subprocess.Popen:
        """Begin a command, with a fault in it, in a group of processes of its own."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        paths = [str(INJECT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        env = {**os.environ, "TMPDIR": str(self.temporary), "MILSURV_CACHE": str(self.folder / "cache" / "boards")}
        env |= {"PYTHONPATH": os.pathsep.join(paths), "MILSURV_FAULT": fault, "OMP_NUM_THREADS": "1"}
        log = (self.folder / f"{out.name}.log").open("ab")
        return subprocess.Popen(
            [*BENCH, *self.words(name, out)], stdout=log, stderr=log, env=env, start_new_session=True
        )

    def prepare(self, names: list[str]) -> None:
        """Make the inputs of these commands."""
        if {"submit", "convert"} & set(names):
            assert self.start("run, serial", self.folder / "whole").wait() == 0, self.log("whole")
        if "extract" in names:
            command = [
                *BENCH,
                "data",
                "render",
                "--out",
                str(self.folder / "images"),
                "--patients",
                "20",
                "--area",
                "0.2",
            ]
            subprocess.run(command, check=True, capture_output=True)

    def log(self, name: str) -> str:
        """What a command said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")


def kill(process: subprocess.Popen) -> None:
    """`kill -9` of a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def content(out: Path) -> dict[str, object]:
    """What a command leaves: every file but logs, pages and databases; of rows, what may not change."""
    found: dict[str, object] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_file() or name.split("/")[0] in ("mlflow-artifacts", "mlflow.db", "leaderboard", ".mlflow.lock"):
            continue
        if path.suffix == ".lock" or path.name in ("tuning.journal", "extract-report.csv", "tuning.csv"):
            continue
        if path.name == "result.json":
            found[name] = {key: value for key, value in json.loads(path.read_text()).items() if key not in CHANGING}
        elif path.name == "predictions.csv.gz":
            found[name] = gzip.decompress(path.read_bytes())
        elif path.name == "files.json":
            listed = json.loads(path.read_text())
            found[name] = {key: value for key, value in listed.items() if key != "tuning.csv"}
        else:
            found[name] = path.read_bytes()
    return found


def logged(out: Path) -> Mapping[str, int]:
    """How many runs of every kind and status the MLflow store of a folder holds."""
    kinds = "SELECT t.value, r.status, COUNT(*) FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid"
    with closing(sqlite3.connect(out / "mlflow.db")) as database:
        rows = database.execute(f"{kinds} WHERE t.key = 'milsurv.kind' GROUP BY t.value, r.status").fetchall()
    return {f"{kind} {status}": count for kind, status, count in rows if status == "FINISHED" or status == "RUNNING"}


def left_behind(place: Place, out: Path) -> list[str]:
    """Unfinished files, leases and temporary folders that nobody removed."""
    files = [path for path in out.rglob("*") if path.name.endswith(".partial") or ".lease-" in path.name]
    return [str(path) for path in (*files, *place.temporary.glob(".milsurv.*"))]
