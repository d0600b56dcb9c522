"""What is known of an experiment's patients apart from the entry: drawn again, given by the user, or implied.

A drawn cohort follows from the command that drew it. The command is read, never run: its words become a request, and
the request is prepared as `bench run` would, up to the id.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ...datasets.folds.stratified import fingerprint_of
from ...datasets.labels.read import Counts, Labels
from ...datasets.patient import Patient, site_of
from ...datasets.split import Split
from ...errors import DataError
from ...leaderboards.rows import Row
from ..baselines.control_runs import prepare_control, settled_by
from ..baselines.controls import CONTROLS
from ..experiment import canonical_of
from ..prepare import Request, UsageError, prepare

_LARGEST = 20_000
"""Patients that are drawn to check an entry; more would be a way to keep a machine busy."""
_PLACES = ("labels", "splits", "features", "data", "coords", "out")


class CannotRedraw(Exception):
    """The truth of a drawn cohort cannot be had from its command; the message says why."""


@dataclass(frozen=True)
class Truth:
    """Patients and outer folds. `source` is how they are known; `settled` is set where all of it was drawn again: what
    the experiment's numbers follow from, and its id is the hash of.
    """

    source: str
    labels: Labels
    splits: tuple[Split, ...]
    settled: Mapping[str, Any] | None = None


class Redrawing:
    """Draws cohorts into one folder, each once. `why` says by experiment why its truth cannot be had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.why: dict[str, str] = {}
        self._known: dict[Request, Truth] = {}

    def truth(self, row: Row) -> Truth:
        """The truth behind a drawn row. Errors: `CannotRedraw`."""
        request = replace(request_of(row.get("command") or ""), out=self.folder, device="cpu")
        if request.patients is not None and request.patients > _LARGEST:
            raise CannotRedraw(f"its command draws {request.patients} patients, more than are drawn to check an entry")
        key = replace(request, settings=None)
        key = replace(key, model=f"{key.model} {sorted((request.settings or {}).items())}")
        if key not in self._known:
            try:
                self._known[key] = _drawn_again(request, row.get("device") or "cpu")
            except (DataError, UsageError, ValueError, TypeError) as error:
                raise CannotRedraw(f"its command cannot be prepared ({error})") from error
        return self._known[key]


def _drawn_again(request: Request, device: str) -> Truth:
    if request.model in CONTROLS:
        choice, control = prepare_control(request)
        settled = settled_by(request, choice, control)
        return Truth("drawn again", control.labels, control.folds.splits, settled)
    experiment, material = prepare(request)
    settled = json.loads(canonical_of(asdict(replace(experiment, device=device))))
    return Truth("drawn again", material.labels, material.splits, settled)


def request_of(command: str) -> Request:
    """The request that a `bench run` command stands for. Errors: `CannotRedraw` for any other command, and for one
    that names files."""
    from ..cli.words import request_from

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise CannotRedraw(f"its command cannot be read ({error})") from error
    if words[:2] != ["bench", "run"]:
        raise CannotRedraw("its rows hold no `bench run` command")
    try:
        request = request_from(words[2:])
    except UsageError as error:
        raise CannotRedraw(f"its command cannot be read ({error})") from error
    default = Request("", "")
    if any(getattr(request, key) not in (getattr(default, key), "synthetic") for key in _PLACES):
        raise CannotRedraw("its command reads files that are not part of the entry")
    return request


def implied(table: pd.DataFrame, rows: Mapping[int, Row], cohort: str) -> Truth | None:
    """Patients and folds as the predictions themselves imply them, every fold trained on all patients it does not test.

    None unless they give the fingerprint of the folds that the rows carry: training parts are then known for certain.
    """
    mine = pd.DataFrame(table[table["reading"] == "selected"])
    first = mine.drop_duplicates("patient")
    patients = tuple(
        Patient(str(patient), float(time), bool(event), site_of(str(patient)), ())
        for patient, time, event in sorted(zip(first["patient"], first["time"], first["event"], strict=True))
    )
    everybody = [patient.id for patient in patients]
    splits = []
    for fold in sorted(rows):
        test = frozenset(mine["patient"][mine["fold"] == fold])
        splits.append(Split(fold, tuple(i for i in everybody if i not in test), (), tuple(sorted(test))))
    if fingerprint_of(splits) != next(iter(rows.values()))["folds_fingerprint"]:
        return None
    counts = Counts(len(patients), 0, sum(patient.event for patient in patients), 0, 0)
    labels = Labels(cohort, patients, (), "", "the predictions", False, None, counts, {})
    return Truth("its own predictions", labels, tuple(splits))
