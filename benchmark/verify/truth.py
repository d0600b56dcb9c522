"""What is known of an experiment's patients without the entry: simulated again, given by the user, or implied.

A simulated cohort follows from the command that made it. The command is read, never run: its words become a request,
and the request is loaded as `bench run` would, up to the id.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ...datasets import cohorts
from ...datasets.folds.stratified import fingerprint_of
from ...datasets.labels.read import Counts, Labels
from ...datasets.patient import Patient, site_of
from ...datasets.split import Split
from ...errors import DataError, UnknownName, UsageError
from ...leaderboards.result_row import ResultRow
from ..experiment import canonical_of
from ..planning.load import Loader
from ..planning.request import SIMULATED, Request, parse_command
from ..planning.resolve import dials_of

_LARGEST, _IN_ALL = 20_000, 200_000
"""Patients that are simulated to check one experiment, and an entry; more would be a way to keep a machine busy."""
_PATCHES = 40
"""Patches of their slides, by default; a patient with twice as many counts as two."""
_HARMLESS = frozenset(
    [
        "model",
        "cohort",
        "backbone",
        "recipe",
        "settings",
        "endpoint",
        "covariates",
        "folds",
        "repeats",
        "split_by",
        "slides",
        "device",
        "missing",
        "strength",
        "unusable_times",
        "patients",
        "cohort_seed",
        "dial",
        "seed",
        "keep_weights",
        "retrain",
        "checkpoint_every",
        "tune",
        "tune_seconds",
        "inner",
        "tune_workers",
    ]
)
"""What a command may say. All else names files, and none that an entry does not hold is read to check it."""


class CannotSimulate(Exception):
    """The truth of a simulated cohort cannot be had from its command; the message says why."""


@dataclass(frozen=True)
class VerifiedTruth:
    """Patients and outer folds. `source` is how they are known; `id_fields`, which the experiment's id is the hash of,
    are there where all of it was simulated again.
    """

    source: str
    labels: Labels
    splits: tuple[Split, ...]
    id_fields: Mapping[str, Any] | None = None


class Simulator:
    """Simulates cohorts into one folder, each once. `why` says by experiment why its truth cannot be had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.why: dict[str, str] = {}
        self._known: dict[str, VerifiedTruth] = {}
        self._simulated = 0

    def truth(self, row: ResultRow, folds: int) -> VerifiedTruth:
        """The truth behind a row of a simulated cohort, whose experiment has so many `folds`. Errors: `CannotSimulate`.

        What a command asks for is held against limits before anything is made.
        """
        request = replace(request_of(row.command or ""), out=self.folder, device="cpu")
        patients = request.patients or cohorts.get(request.cohort).patients or 0
        try:
            patches = dials_of(request).get("patches", _PATCHES)
        except UsageError as error:
            raise CannotSimulate(f"its command cannot be prepared ({error})") from error
        size = round(patients * max(1, patches / _PATCHES))
        if size > _LARGEST:
            raise CannotSimulate(
                f"its command simulates {patients} patients{f' of {patches:g} patches' * (patches > _PATCHES)}, more "
                "than are simulated to check an entry"
            )
        if request.folds * request.repeats != folds:
            raise CannotSimulate(
                f"its command makes {request.folds * request.repeats} folds, and the entry has {folds} of it"
            )
        key = f"{request.command} # protocol {row.protocol}"
        if key not in self._known:
            self._simulated += size
            if self._simulated > _IN_ALL:
                raise CannotSimulate(f"{_IN_ALL:,} patients were simulated to check this entry; verify it in parts")
            try:
                self._known[key] = _simulated_again(request, row)
            except (DataError, UsageError, ValueError, TypeError) as error:
                raise CannotSimulate(f"its command cannot be prepared ({error})") from error
        return self._known[key]


def _simulated_again(request: Request, row: ResultRow) -> VerifiedTruth:
    experiment, data = Loader(build=False).load(request)
    experiment = replace(experiment, protocol=row.protocol or experiment.protocol)
    if experiment.recipe is not None:
        experiment = replace(experiment, device=row.device or "cpu")
    labels, splits = data.labels, data.folds.splits
    if data.units.level == "slide" and experiment.recipe is None:
        labels, splits = data.units.labels, tuple(data.units.split(split) for split in splits)
    return VerifiedTruth("simulated again", labels, splits, json.loads(canonical_of(experiment.id_fields())))


def request_of(command: str) -> Request:
    """The request that a `bench run` command stands for. Errors: `CannotSimulate` for any other command, and for one
    that names files."""
    try:
        request = parse_command(command)
    except UsageError as error:
        raise CannotSimulate(f"its command cannot be read ({error})") from error
    default = Request("", "", features_path=request.features_path)
    named = [one.name for one in fields(Request) if getattr(request, one.name) != getattr(default, one.name)]
    if set(named) - _HARMLESS or request.features_path not in (None, SIMULATED):
        raise CannotSimulate("its command reads files that are not part of the entry")
    try:
        return replace(request, cohort=cohorts.get(request.cohort).name)
    except UnknownName as error:
        raise CannotSimulate(f"its command names a cohort that is not registered ({error})") from error


def implied(table: pd.DataFrame, rows: Mapping[int, ResultRow], cohort: str) -> VerifiedTruth | None:
    """Patients and folds as the predictions themselves imply them, every fold trained on all patients it does not test.

    None unless they give the fingerprint of the folds that the rows carry: training sets are then known for certain.
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
    if fingerprint_of(splits) != next(iter(rows.values())).folds_fingerprint:
        return None
    counts = Counts(len(patients), 0, sum(patient.event for patient in patients), 0, 0)
    labels = Labels(cohort, patients, (), "", "the predictions", False, None, counts, {})
    return VerifiedTruth("its own predictions", labels, tuple(splits))
