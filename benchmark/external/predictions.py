"""Other people's predictions as ordinary, marked rows, once they have been checked against labels and folds."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.folds.stratified import fingerprint_of
from ...datasets.labels.read import Counts, Labels
from ...datasets.labels.several_slides import Units
from ...datasets.patient import SYNTHETIC_PREFIX, Patient, site_of
from ...datasets.split import Folds, Split
from ...errors import DataError, some
from ...files import fingerprint
from ...survival.followup import Prediction
from ..baselines.fit import followup
from ..cohort_data import CohortData
from ..cross_validation.cross_validate import cross_validate
from ..experiment import Experiment
from ..results.finished import Finished
from ..results.fold_predictions import FoldOutcome, FoldPredictions, outcome_of
from .prediction_table import LISTED, ForeignTable, PredictionRow

WHY_NOT = "imported predictions are those of one epoch, and which one it was is not known here"
TOLERANCE = 0.05
"""Months (a day and a half) by which a time of the file may differ from the labels: tables round to two digits."""


@dataclass(frozen=True)
class Checked:
    """Predictions that agree with their labels and folds. `dropped` are test patients without a prediction."""

    table: ForeignTable
    labels: Labels
    folds: Folds
    dropped: tuple[str, ...]


def labels_of(table: ForeignTable, cohort: str) -> Labels:
    """Labels from the file itself. Errors: `DataError` where it carries no time or no event."""
    lacking = [word for word in ("time", "event") if any(getattr(row, word) is None for row in table.rows)]
    if lacking:
        raise DataError(
            f"{table.path} carries no {' and no '.join(lacking)}, so it can only be scored with labels: give --labels"
        )
    patients = tuple(
        Patient(row.patient, float(row.time or 0.0), bool(row.event), site_of(row.patient), ())
        for row in sorted(table.rows, key=lambda row: row.patient)
    )
    synthetic = [patient.id.startswith(SYNTHETIC_PREFIX) for patient in patients]
    if any(synthetic) and not all(synthetic):
        raise DataError(f"{table.path} mixes synthetic patients with others: keep them apart")
    counts = Counts(len(patients), 0, sum(patient.event for patient in patients), 0, 0)
    name = fingerprint([patient.id, repr(patient.time), patient.event] for patient in patients)
    return Labels(cohort, patients, (), name, str(table.path), any(synthetic), None, counts, {})


def folds_of(table: ForeignTable) -> Folds:
    """Folds from the file itself: a fold tests its rows, and was trained on the others.

    Errors: `DataError` unless folds are numbered 0, 1, 2, ... without a gap, and at least two.
    """
    numbers = sorted({row.fold for row in table.rows})
    if numbers != list(range(len(numbers))) or len(numbers) < 2:
        raise DataError(
            f"{table.path} has the folds {some(numbers, LISTED)}; expected at least two, numbered 0, 1, 2, ... Number "
            "them so, or give --splits"
        )
    everybody = sorted(row.patient for row in table.rows)
    fold = {row.patient: row.fold for row in table.rows}
    splits = tuple(
        Split(k, tuple(i for i in everybody if fold[i] != k), (), tuple(i for i in everybody if fold[i] == k))
        for k in numbers
    )
    return Folds(f"of the imported file ({len(numbers)})", splits, (), fingerprint_of(splits))


def check(table: ForeignTable, labels: Labels, folds: Folds, missing: str = "error") -> Checked:
    """Check predictions against labels and folds.

    Errors: `DataError` with the list of rows whose patient has no label, is not in the test set of that fold, or has
    another time or event than the labels; and, unless `missing` is `drop`, of test patients without a prediction. All
    faults are reported at once.
    """
    by_id = labels.by_id
    tested = {i: split.fold for split in folds.splits for i in split.test}
    predicted = {row.patient for row in table.rows}
    absent = tuple(sorted(set(tested) - predicted))
    faults = [
        _fault(
            f"rows are of patients without a label in {labels.source}",
            [str(row) for row in table.rows if row.patient not in by_id],
        ),
        _fault(
            "rows are outside their fold (not in its test set)",
            [
                f"{row}, tested in {f'fold {tested[row.patient]}' if row.patient in tested else 'no fold'}"
                for row in table.rows
                if row.patient in by_id and tested.get(row.patient) != row.fold
            ],
        ),
        _fault(
            "rows have another time than the labels",
            [f"{row}: {row.time:g} instead of {by_id[row.patient].time:g} months" for row in _late(table, by_id)],
        ),
        _fault(
            "rows have another event than the labels",
            [
                f"{row}: {'died' if row.event else 'censored'}"
                for row in table.rows
                if row.patient in by_id and row.event is not None and row.event != by_id[row.patient].event
            ],
        ),
    ]
    if missing != "drop":
        faults.append(_fault("patients of the test sets have no prediction", list(absent)))
    found = [fault for fault in faults if fault]
    if found:
        remedy = "Remove or correct these rows, or give the labels and folds they were made with; nothing was written"
        if absent and missing != "drop":
            remedy += ". --missing drop leaves patients without a prediction out, on a table of their own"
        raise DataError(f"{table.path}: {'. '.join(found)}. {remedy}")
    return Checked(table, labels, _kept(folds, set(absent)), absent)


def _late(table: ForeignTable, by_id: dict[str, Patient]) -> Iterable[PredictionRow]:
    for row in table.rows:
        known = by_id.get(row.patient)
        if known is not None and row.time is not None and abs(row.time - known.time) > TOLERANCE + 1e-9:
            yield row


def _fault(what: str, rows: list[str]) -> str:
    return f"{len(rows)} {what}: {some(rows, LISTED)}" if rows else ""


def _kept(folds: Folds, gone: set[str]) -> Folds:
    """The folds without these test patients. Training sets stay: who was trained on is not ours to change."""
    if not gone:
        return folds
    splits = tuple(replace(split, test=tuple(i for i in split.test if i not in gone)) for split in folds.splits)
    empty = [split.fold for split in splits if not split.test]
    if empty:
        raise DataError(f"fold {some(empty)} has no prediction at all: import all folds of a model together")
    return replace(folds, splits=splits, fingerprint=fingerprint_of(splits))


def import_checked(
    checked: Checked, model: str, out: Path, command: str, watcher: Any, reads: str | None = None
) -> Finished:
    """Score checked predictions and write them as an experiment. Its id is the hash of predictions, labels and folds.

    Harrell's C needs nothing but the file; metrics with censoring weights learn them from the training set of the fold,
    as for every row; the Brier score needs survival columns, the log-rank test risk groups. reads: what the model
    reads, in words. Errors: `CannotWrite`.
    """
    table, labels = checked.table, checked.labels
    by_patient, by_id = {row.patient: row for row in table.rows}, labels.by_id
    dropped = set(checked.dropped)
    scored = replace(labels, patients=tuple(patient for patient in labels.patients if patient.id not in dropped))
    content = [[row.patient, row.fold, repr(row.risk), [repr(s) for s in row.survival], row.high] for row in table.rows]
    experiment = Experiment(
        model=model,
        hyperparameters={},
        cohort=labels.cohort,
        cohort_version="",
        recipe=None,
        folds_name=checked.folds.name,
        n_folds=len(checked.folds.splits),
        seed=0,
        device="",
        labels_fingerprint=labels.fingerprint,
        folds_fingerprint=checked.folds.fingerprint,
        synthetic=labels.synthetic,
        predictions_fingerprint=fingerprint(content),
    )

    def fold_of(split: Split) -> FoldOutcome:
        rows = [by_patient[i] for i in split.test]
        grouped = all(row.high is not None for row in rows)
        predictions = FoldPredictions(
            fold=split.fold,
            patients=split.test,
            train_followup=followup([by_id[i] for i in (*split.train, *split.val)]),
            test_followup=followup([by_id[i] for i in split.test]),
            prediction=Prediction(
                risk=np.array([row.risk for row in rows]),
                survival=np.array([row.survival for row in rows]) if table.months else None,
                edges=np.array(table.months) if table.months else None,
                high=np.array([row.high for row in rows], dtype=bool) if grouped else None,
            ),
        )
        return outcome_of(predictions, ("selected",), WHY_NOT)

    # What such a row does not know of: how slides count, the endpoint, and the machine.
    facts = dict.fromkeys(("slides", "endpoint", "missing", "cohort_version", "device", "scikit_survival_version"))
    facts |= {
        "patients": scored.counts.patients,
        "events": scored.counts.events,
        "source": f"{table.path.name} (sha256 {hashlib.sha256(table.path.read_bytes()).hexdigest()[:16]})",
        "left_out": len(checked.dropped),
        "reads": reads,
    }
    units = Units("concat", labels, {patient.id: patient.id for patient in labels.patients}, ())
    data = CohortData(labels, checked.folds, units)
    rows = cross_validate(experiment, data, out, command, watcher, fit_fold=fold_of, facts=facts)
    return Finished(experiment, rows)
