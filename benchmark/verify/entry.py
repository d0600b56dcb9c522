"""Verify an entry: nobody has to take its numbers on trust where its predictions, or the generator, can be asked."""

import re
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from ...datasets.folds.read import Folds
from ...datasets.labels.read import Labels
from ...leaderboards.entries.entry import Entry, read_entry
from ...leaderboards.experiments import attempts
from ...leaderboards.ranking.board import boards
from ...leaderboards.ranking.comparisons import judged
from ...leaderboards.ranking.derived import NOTHING_KEPT
from ...leaderboards.rows import ResultRow, RowError
from ..experiment import id_of
from .ids import check_ids, said
from .numbers import check_against, check_numbers
from .report import Report
from .truth import CannotRedraw, Redrawing, Truth, implied

_OURS = re.compile(r"^(stratified|site)")
"""Names of folds that milsurv deals itself: their training parts are everybody who is not tested."""


def verify(folder: Path, labels: Labels | None = None, folds: Folds | None = None, redraw: bool = True) -> Report:
    """Read an entry and hold everything in it that can be held.

    labels, folds: the cohort as the caller knows it, against which experiments on that cohort are checked. Drawn
    cohorts are drawn again from their commands, unless `redraw` is False.
    """
    report = Report()
    try:
        entry = read_entry(folder, report.faults)
    except RowError as error:
        report.fault(str(error))
        return report
    report.held("files with their checksums", len(entry.head.files) - len(report.faults))
    _check_whole(entry, report)
    given = None if labels is None else Truth("given", labels, folds.splits if folds else ())
    by_experiment: dict[str, dict[int, ResultRow]] = {}
    for row in entry.rows:
        by_experiment.setdefault(row.experiment, {})[row.fold] = row
    with tempfile.TemporaryDirectory() as place:
        redrawing = Redrawing(Path(place))
        truths = {
            name: _truth(rows, redrawing if redraw else None, given, report) for name, rows in by_experiment.items()
        }
    shared = {_data(by_experiment[name]): truth for name, truth in truths.items() if truth is not None}
    for name, rows in by_experiment.items():
        first, settled = next(iter(rows.values())), entry.experiments.get(name, {}).get("settled", {})
        check_ids(list(rows.values()), settled, report)
        truth = truths[name]
        _check_redrawn(first, settled, truth, report)
        truth = truth or shared.get(_data(rows))
        if redraw and first.synthetic and truth is None:
            report.fault(
                f"experiment {name} ({first.model} on {first.cohort}): its patients were drawn, and cannot be "
                f"drawn again: {redrawing.why.get(name, 'no reason is known')}; give --labels and --splits"
            )
        if name in entry.predictions:
            _check_predictions(rows, entry.predictions[name], settled, truth, report)
        else:
            report.skip(
                f"{first.cohort}: published without patients, so metrics are not scored again; run its commands"
            )
    if not report.faults:
        _check_evidence(entry, report)
    report.skip("that a model made these predictions: run the command of its row again")
    return report


def _check_whole(entry: Entry, report: Report) -> None:
    _, open_ = attempts(entry.rows)
    for item in open_:
        report.fault(f"experiment {item.experiment} ({item.model} on {item.cohort}): {'; '.join(item.reasons)}")
    stray = sorted(set(entry.experiments) - {row.experiment for row in entry.rows})
    if stray:
        report.fault(f"experiments without rows are described: {', '.join(stray)}")
    known: dict[tuple, tuple[str, tuple[int, int]]] = {}
    for row in entry.rows:
        key = (row.cohort, row.labels_fingerprint, row.folds_fingerprint, row.missing, row.model)
        size = (row.patients, row.events)
        if known.setdefault(key, (row.experiment, size))[1] != size:
            report.fault(
                f"experiments {known[key][0]} and {row.experiment} share labels and folds, and have other patients"
            )
    report.held("rows", len(entry.rows))


def _truth(rows: dict[int, ResultRow], redrawing: Redrawing | None, given: Truth | None, report: Report) -> Truth | None:
    first = next(iter(rows.values()))
    if given is not None and given.labels.cohort == first.cohort and given.labels.synthetic == first.synthetic:
        if given.splits:
            return given
        report.skip(f"{first.cohort}: folds are not checked; give --splits with --labels")
    if not first.synthetic or redrawing is None:
        return None
    try:
        return redrawing.truth(first)
    except CannotRedraw as error:
        redrawing.why[first.experiment] = str(error)
        return None


def _check_redrawn(row: ResultRow, settled: Any, truth: Truth | None, report: Report) -> None:
    """Hold fingerprints against the truth, and the whole experiment where all of it was drawn again."""
    if truth is None:
        return
    name = f"experiment {row.experiment} ({row.model} on {row.cohort})"
    if truth.settled is None:
        if truth.labels.fingerprint != row.labels_fingerprint:
            report.skip(
                f"{name}: the fingerprint of its labels is not that of the labels given (it may hash other slides); "
                "patients, times and events are held one by one"
            )
        return
    here = said(truth.settled)
    for key in ("labels_fingerprint", "folds_fingerprint"):
        if row[key] != here[key]:
            report.fault(f"{name}: {key} is {row[key]}, its cohort drawn again has {here[key]}")
    if id_of(truth.settled) == row.experiment:
        report.held("experiments derived again from their commands")
        return
    other = [key for key, value in truth.settled.items() if key in settled and settled[key] != value]
    if set(other) <= {"features", "protocol"}:
        report.skip(
            f"{name}: {' and '.join(other) or 'its id'} drawn here differ; another version or machine drew them"
        )
    else:
        report.fault(f"{name}: its command is of another experiment: {', '.join(other)} differ")


def _check_predictions(
    rows: dict[int, ResultRow], table: pd.DataFrame, settled: Any, truth: Truth | None, report: Report
) -> None:
    first = next(iter(rows.values()))
    if truth is not None and first.slides != "slide":
        check_against(rows, table, truth, report)
        known = truth
    else:
        known = implied(table, rows, first.cohort)
        if known is None and _OURS.match(first.folds_name) and first.slides != "slide":
            report.fault(
                f"experiment {first.experiment} ({first.model} on {first.cohort}): the patients of its folds "
                f"do not have the fingerprint {first.folds_fingerprint} that its rows carry"
            )
        if truth is None and not first.synthetic:
            report.skip(
                f"{first.cohort}: times and events are checked against each other only; give --labels and --splits"
            )
    check_numbers(rows, table, settled, known, report)


def _check_evidence(entry: Entry, report: Report) -> None:
    """Intervals and comparisons: reckoned again from predictions, or held against the rows where those are not here."""
    for board in judged(boards(entry.rows), entry.predictions, entry.derived or NOTHING_KEPT):
        for ranking in board.rankings:
            found = ranking.evidence
            if found is None:
                continue
            for reason in found.left_out:
                repeated = "scored more than once" in reason or "of other patients" in reason
                (report.skip if repeated else report.fault)(f"{board.title}: {reason}")
            report.held("intervals", sum(len(mine) for mine in found.intervals))
    derived = entry.derived or NOTHING_KEPT
    for (one, other), found in derived.differences.items():
        first, second = (derived.intervals.get(line, {}).get("selected") for line in (one, other))
        if first is None or second is None or abs(first.value - second.value - found.value) > 1e-6:
            report.fault(f"the difference of {', '.join(one)} and {', '.join(other)} is not that of their C-indices")


def _data(rows: dict[int, ResultRow]) -> tuple[Any, ...]:
    first = next(iter(rows.values()))
    return tuple(first.get(key) for key in ("cohort", "labels_fingerprint", "folds_fingerprint", "slides", "missing"))
