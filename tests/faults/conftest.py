"""An entry to tamper with, made once."""

import gzip
import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

HEAD = {"title": "Two models", "who": "A group", "when": "2026-01-05", "milsurv": "0", "licence": "", "notes": ""}


def _seal(entry: Path) -> None:
    """Renew the checksums, as whoever tampers would."""
    head = json.loads((entry / "entry.json").read_text())
    head["files"] = {name: hashlib.sha256((entry / name).read_bytes()).hexdigest() for name in head["files"]}
    (entry / "entry.json").write_text(json.dumps(head))


def _lines(entry: Path) -> list[str]:
    return gzip.decompress((entry / "predictions.csv.gz").read_bytes()).decode().splitlines()


def _save(entry: Path, lines: list[str]) -> None:
    (entry / "predictions.csv.gz").write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    _seal(entry)


@pytest.fixture
def edit():
    """Ways to change an entry."""
    return SimpleNamespace(seal=_seal, lines=_lines, save=_save)


@pytest.fixture(scope="session")
def results(made_once) -> Path:
    """One small model on a simulated cohort."""
    from milsurv.benchmark.planning.request import Request
    from milsurv.benchmark.run import Quiet, run

    def make(folder: Path) -> None:
        request = Request(
            "meanpool", "blca", features_path="synthetic", patients=60, folds=3, settings={"epochs": "1"}, out=folder
        )
        run(request, Quiet(), "none")

    return made_once("faults-results", make)


@pytest.fixture(scope="session")
def sent(made_once, results) -> Path:
    from milsurv.benchmark.verify.submit import submit

    return made_once("faults-sent", lambda folder: submit([results], folder / "entry", HEAD)) / "entry"


@pytest.fixture
def entry(sent, tmp_path) -> Path:
    return Path(shutil.copytree(sent, tmp_path / "entry"))
