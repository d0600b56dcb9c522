"""Verify an entry: its numbers need no trust where its predictions, or its simulated cohort, give them again."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ...datasets.folds.read import Folds
from ...datasets.labels.read import Labels
from ...errors import RowError
from ...files import scratch
from ...leaderboards.entries.entry import Entry, read_entry
from ...leaderboards.experiments import gather_experiments
from ...leaderboards.ranking.board import boards
from ...leaderboards.ranking.comparisons import with_evidence
from ...leaderboards.ranking.published_evidence import NO_EVIDENCE
from ...leaderboards.result_row import ResultRow
from ..experiment import PROTOCOL, id_of
from .ids import as_row_fields, check_ids
from .numbers import check_numbers, check_patients
from .truth import CannotSimulate, Simulator, VerifiedTruth, implied
from .verification import Verification

_OURS = re.compile(r"^(stratified|site)")
"""Names of folds that milsurv makes itself: their training set is everybody who is not tested."""


def verify(
    folder: Path, labels: Labels | None = None, folds: Folds | None = None, simulate: bool = True
) -> Verification:
    """Read an entry and check everything in it that can be checked.

    labels, folds: the cohort as the caller knows it, against which experiments on that cohort are checked. Simulated
    cohorts are simulated again from their commands, unless `simulate` is False.
    """
    result = Verification()
    try:
        entry = read_entry(folder, result.faults)
    except RowError as error:
        result.fault(str(error))
        return result
    result.passed("files with their checksums", len(entry.head.files) - len(result.faults))
    _check_whole(entry, result)
    given = None if labels is None else VerifiedTruth("given", labels, folds.splits if folds else ())
    by_experiment: dict[str, dict[int, ResultRow]] = {}
    for row in entry.rows:
        by_experiment.setdefault(row.experiment, {})[row.fold] = row
    with scratch() as place:
        simulator = Simulator(place)
        truths = {
            name: _truth(rows, simulator if simulate else None, given, result) for name, rows in by_experiment.items()
        }
    shared = {_data(by_experiment[name]): truth for name, truth in truths.items() if truth is not None}
    for name, rows in by_experiment.items():
        first, id_fields = next(iter(rows.values())), _id_fields(entry, name)
        check_ids(list(rows.values()), id_fields, result)
        truth = truths[name]
        _check_simulated(first, id_fields, truth, result)
        truth = truth or shared.get(_data(rows))
        if simulate and first.synthetic and truth is None:
            result.fault(
                f"experiment {name} ({first.model} on {first.cohort}): its patients are simulated, and cannot be "
                f"simulated again: {simulator.why.get(name, 'no reason is known')}; give --labels and --splits"
            )
        if name in entry.predictions:
            _check_predictions(rows, entry.predictions[name], id_fields, truth, result)
        else:
            result.skip(
                f"{first.cohort}: published without patients, so metrics are not scored again; run its commands"
            )
    if not result.faults:
        _check_evidence(entry, result)
    result.skip("that a model made these predictions: run the command of its row again")
    return result


def _id_fields(entry: Entry, name: str) -> dict[str, Any]:
    record = entry.experiments.get(name)
    return {} if record is None else record.id_fields


def _check_whole(entry: Entry, result: Verification) -> None:
    for item in gather_experiments(entry.rows)[1]:
        row = item.row
        result.fault(f"experiment {row.experiment} ({row.model} on {row.cohort}): {'; '.join(item.reasons)}")
    stray = sorted(set(entry.experiments) - {row.experiment for row in entry.rows})
    if stray:
        result.fault(f"experiments without rows are described: {', '.join(stray)}")
    known: dict[tuple, tuple[str, object]] = {}
    for row in entry.rows:
        key = (row.cohort, row.labels_fingerprint, row.folds_fingerprint, row.missing, row.model)
        size = (row.patients, row.events)
        if known.setdefault(key, (row.experiment, size))[1] != size:
            result.fault(
                f"experiments {known[key][0]} and {row.experiment} share labels and folds, and have other patients"
            )
    result.passed("rows", len(entry.rows))


def _truth(
    rows: dict[int, ResultRow], simulator: Simulator | None, given: VerifiedTruth | None, result: Verification
) -> VerifiedTruth | None:
    first = next(iter(rows.values()))
    if given is not None and given.labels.cohort == first.cohort and given.labels.synthetic == first.synthetic:
        if given.splits:
            return given
        result.skip(f"{first.cohort}: folds are not checked; give --splits with --labels")
    if not first.synthetic or simulator is None:
        return None
    try:
        return simulator.truth(first, len(rows))
    except CannotSimulate as error:
        simulator.why[first.experiment] = str(error)
        return None


def _check_simulated(
    row: ResultRow, id_fields: Mapping[str, Any], truth: VerifiedTruth | None, result: Verification
) -> None:
    """Check fingerprints against the truth, and the whole experiment where all of it was simulated again."""
    if truth is None:
        return
    name = f"experiment {row.experiment} ({row.model} on {row.cohort})"
    if truth.id_fields is None:
        if truth.labels.fingerprint != row.labels_fingerprint:
            result.skip(
                f"{name}: the fingerprint of its labels is not that of the labels given (it may hash other slides); "
                "patients, times and events are checked one by one"
            )
        return
    here = as_row_fields(truth.id_fields)
    for key in ("labels_fingerprint", "folds_fingerprint"):
        if getattr(row, key) != here[key]:
            result.fault(f"{name}: {key} is {getattr(row, key)}, its cohort simulated again has {here[key]}")
    if id_of(truth.id_fields) == row.experiment:
        result.passed("experiments derived again from their commands")
        return
    other = [key for key, value in truth.id_fields.items() if key in id_fields and id_fields[key] != value]
    if set(other) <= {"features", "protocol"}:
        result.skip(f"{name}: {' and '.join(other) or 'its id'} differ when simulated here; they were made elsewhere")
    elif other == ["recipe"] and row.protocol != PROTOCOL:
        result.skip(f"{name}: protocol {row.protocol} had another recipe of that name; its id is checked by itself")
    else:
        result.fault(f"{name}: its command is of another experiment: {', '.join(other)} differ")


def _check_predictions(
    rows: dict[int, ResultRow],
    table: pd.DataFrame,
    id_fields: Mapping[str, Any],
    truth: VerifiedTruth | None,
    result: Verification,
) -> None:
    first = next(iter(rows.values()))
    if truth is not None and first.slides != "slide":
        check_patients(rows, table, truth, result)
        known = truth
    else:
        known = implied(table, rows, first.cohort)
        if known is None and _OURS.match(first.folds_name) and first.slides != "slide":
            result.fault(
                f"experiment {first.experiment} ({first.model} on {first.cohort}): the patients of its folds "
                f"do not have the fingerprint {first.folds_fingerprint} that its rows carry"
            )
        if truth is None and not first.synthetic:
            result.skip(
                f"{first.cohort}: times and events are checked against each other only; give --labels and --splits"
            )
    check_numbers(rows, table, id_fields, known, result)


def _check_evidence(entry: Entry, result: Verification) -> None:
    """Intervals and comparisons: computed again from predictions, or checked against the rows without them."""
    for board in with_evidence(boards(entry.rows), entry.predictions, entry.published or NO_EVIDENCE):
        for ranking in board.rankings:
            found = ranking.evidence
            if found is None:
                continue
            for reason in found.left_out:
                repeated = "scored more than once" in reason or "of other patients" in reason
                (result.skip if repeated else result.fault)(f"{board.title}: {reason}")
            result.passed("intervals", sum(len(mine) for mine in found.intervals))
    published = entry.published or NO_EVIDENCE
    for (one, other), found in published.differences.items():
        first, second = (published.intervals.get(line, {}).get("selected") for line in (one, other))
        if first is None or second is None or abs(first.value - second.value - found.value) > 1e-6:
            result.fault(f"the difference of {', '.join(one)} and {', '.join(other)} is not that of their C-indices")


def _data(rows: dict[int, ResultRow]) -> tuple[Any, ...]:
    first = next(iter(rows.values()))
    return tuple(
        getattr(first, key) for key in ("cohort", "labels_fingerprint", "folds_fingerprint", "slides", "missing")
    )
