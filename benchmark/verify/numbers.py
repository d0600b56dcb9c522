"""The numbers of the rows, scored again from the predictions: every count and metric that can be."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...datasets.folds.stratified import cut_validation
from ...datasets.patient import Patient
from ...errors import DataError
from ...leaderboards.predictions import numbered_columns
from ...leaderboards.ranking.board import IMPORTED
from ...leaderboards.result_row import READINGS, ResultRow, score_columns
from ...survival.concordance import c_index
from ...survival.followup import FollowUp, NotComputable, Prediction
from ...survival.metric import Metric
from ...survival.metrics import METRICS, brier_null, truncation_time
from ...survival.time_bins import fit_bins
from ..experiment import seed_for
from .agreement import check_agreement
from .ids import row_name
from .truth import VerifiedTruth
from .verification import Verification

_EXACT, _ROUNDED = 1e-6, 2e-5
"""How far a number may be from the rows': risks keep their order in an entry, survival is rounded to five decimals."""
_SHOWN = 5
_ALWAYS = frozenset({"c_index", "uno_c", "ibs", "d_calibration_p", "logrank_p"}) | {
    f"{kind}_{months}" for kind in ("auc", "ici") for months in (12, 36, 60)
}
"""Metrics that every version has computed: a row without one of them was changed."""


def check_numbers(
    rows: Mapping[int, ResultRow],
    table: pd.DataFrame,
    id_fields: Mapping[str, Any],
    truth: VerifiedTruth | None,
    result: Verification,
) -> None:
    """Score one experiment again. `rows` are by fold; without a `truth` only what needs no training set."""
    if list(_faults_of_table(rows, table, result)):
        return
    recipe = id_fields.get("recipe")
    recipe = recipe if isinstance(recipe, Mapping) else {}
    for fold, row in sorted(rows.items()):
        learned, train = (None, None) if truth is None else _training(row, truth, recipe, result)
        parts = {reading: _part(table, fold, reading) for reading in READINGS}
        for reading, part in parts.items():
            _check_reading(row, reading, part, learned, train, recipe, result)
        selected = parts["selected"]
        test = _followup(selected)
        _check_number(row, "n_test", len(test.time), result)
        _check_number(row, "events_test", int(test.event.sum()), result)
        if train is not None:
            _check_null(row, train, test, result)
        if truth is not None and truth.labels.oracle is not None and row.slides != "slide":
            _check_oracle(row, selected, truth.labels.oracle, result)
    if truth is None:
        first = next(iter(rows.values()))
        result.skip(
            f"{first.cohort}, folds {first.folds_name}: who trained which fold is not known, so metrics with "
            "censoring weights are not scored again; give --labels and --splits"
        )


def _faults_of_table(rows: Mapping[int, ResultRow], table: pd.DataFrame, result: Verification) -> Iterator[str]:
    """Whether predictions and rows are of the same folds, and every reading of the same patients."""
    first = next(iter(rows.values()))
    name = f"experiment {first.experiment} ({first.model} on {first.cohort})"
    found = sorted({int(fold) for fold in table["fold"]})
    faults = []
    if found != sorted(rows):
        faults.append(f"{name}: rows are of folds {sorted(rows)}, predictions of {found}")
    twice = np.asarray(table.duplicated(["fold", "reading", "patient"]))
    lines, patients = np.asarray(table["line"]), np.asarray(table["patient"])
    faults += [
        f"{name}: predictions line {line}: {patient} is predicted twice in a fold"
        for line, patient in zip(lines[twice], patients[twice], strict=True)
    ]
    followed: dict[str, Counter[tuple[float, bool]]] = {}
    listed = list(zip(lines, patients, table["time"], table["event"], strict=True))
    for _, patient, time, event in listed:
        followed.setdefault(patient, Counter())[time, event] += 1
    for line, patient, time, event in listed:
        (usual, died), _ = followed[patient].most_common(1)[0]
        if (time, event) != (usual, died):
            faults.append(
                f"{name}: predictions line {line}: {patient} has time {time:g} and event {int(event)}, elsewhere "
                f"{usual:g} and {int(died)}"
            )
    places = {reading: _places(mine) for reading, mine in table.groupby("reading")}
    for reading, mine in places.items():
        for patient, fold in sorted(mine ^ places.get("selected", set())):
            faults.append(f"{name}: {patient} of fold {fold} is predicted at `{reading}` or at `selected`, not at both")
    for fault in faults[:_SHOWN]:
        result.fault(fault)
    if len(faults) > _SHOWN:
        result.fault(f"{name}: and {len(faults) - _SHOWN} more faults like these")
    yield from faults


def check_patients(
    rows: Mapping[int, ResultRow], table: pd.DataFrame, truth: VerifiedTruth, result: Verification
) -> None:
    """Check patients, times, events and folds of the predictions against the truth, line by line."""
    first = next(iter(rows.values()))
    name = f"experiment {first.experiment} ({first.model} on {first.cohort})"
    by_id = truth.labels.by_id
    tested: dict[str, set[int]] = {}
    for split in truth.splits:
        for patient in split.test:
            tested.setdefault(patient, set()).add(split.fold)
    faults = []
    columns = ("line", "patient", "fold", "reading", "time", "event")
    for line, who, fold, reading, time, event in zip(*(table[c] for c in columns), strict=True):
        where = f"{name}: predictions line {line}: {who} at `{reading}`"
        known = by_id.get(who)
        if known is None:
            faults.append(f"{where} is no patient of the labels ({truth.source})")
            continue
        if abs(known.time - time) > 1e-9:
            faults.append(f"{where} has time {time:g}, the labels say {known.time:g} ({truth.source})")
        if known.event != event:
            words = ["censored", "died"]
            faults.append(f"{where} {words[int(event)]}, the labels say {words[known.event]} ({truth.source})")
        if int(fold) not in tested.get(who, set()):
            right = ", ".join(map(str, sorted(tested.get(who, set())))) or "none"
            faults.append(f"{where} is in fold {int(fold)}, the folds say {right} ({truth.source})")
    for reading, mine in table.groupby("reading"):
        there = _places(mine)
        lost = sorted((who, k) for who, folds in tested.items() for k in folds if (who, k) not in there)
        lost = [pair for pair in lost if pair[0] in by_id and by_id[pair[0]].time > 0]
        if lost and first.patients == len(by_id):
            who = ", ".join(f"{patient} (fold {k})" for patient, k in lost[:_SHOWN])
            faults.append(f"{name}: {len(lost)} test patients have no prediction at `{reading}`: {who}")
    for fault in faults[:_SHOWN]:
        result.fault(fault)
    if len(faults) > _SHOWN:
        result.fault(f"{name}: and {len(faults) - _SHOWN} more faults like these")
    if not faults:
        result.passed(f"lines checked against labels and folds ({truth.source})", len(table))


def _training(
    row: ResultRow, truth: VerifiedTruth, recipe: Mapping[str, Any], result: Verification
) -> tuple[FollowUp, FollowUp] | tuple[None, None]:
    """Follow-up of whom a fold's model learned from, and of whom its metrics learned about censoring: the training set,
    from which protocol 1 left out the validation split."""
    if row.slides == "slide":
        result.skip("where slides are scored by themselves, metrics with censoring weights are not scored again")
        return None, None
    split = next((split for split in truth.splits if split.fold == row.fold), None)
    if split is None:
        result.fault(f"{row_name(row)}: there is no such fold ({truth.source})")
        return None, None
    train, val = split.train, split.val
    try:
        if recipe.get("validation") and not val:
            seed = seed_for(row.seed, row.fold, "validation")
            train, val = cut_validation(split.train, truth.labels, float(recipe["validation"]), seed)
    except (DataError, ValueError) as error:
        result.fault(f"{row_name(row)}: its validation split cannot be made: {error}")
        return None, None
    by_id = truth.labels.by_id
    if not recipe:
        train, val = (*train, *val), ()
    learned = _followup_of(train, by_id)
    for key, value in (
        ("n_train", len(train)),
        ("n_val", len(val)),
        ("events_train", int(learned.event.sum())),
        ("events_val", sum(by_id[i].event for i in val)),
        ("patients", len(by_id)),
        ("events", sum(patient.event for patient in by_id.values())),
    ):
        if row.slides != "mean-risk" or not key.startswith(("n_", "events_")):
            _check_number(row, key, value, result)
    return learned, learned if row.protocol == 1 else _followup_of((*train, *val), by_id)


def _followup_of(patients: Sequence[str], by_id: Mapping[str, Patient]) -> FollowUp:
    known = [by_id[patient] for patient in patients]
    return FollowUp(np.array([patient.time for patient in known]), np.array([patient.event for patient in known]))


def _check_reading(
    row: ResultRow,
    reading: str,
    part: pd.DataFrame,
    learned: FollowUp | None,
    train: FollowUp | None,
    recipe: Mapping[str, Any],
    result: Verification,
) -> None:
    if part.empty:
        # What has no epochs is read once: a baseline's `last` is its `selected`.
        scores = {name: row.score(f"{name}_{reading}") for name in METRICS}
        other = [name for name, value in scores.items() if value not in (None, row.score(f"{name}_selected"))]
        if other:
            result.fault(f"{row_name(row)}: has {', '.join(other)} at `{reading}`, and no predictions at that reading")
        return
    test = _followup(part)
    alive, edges = _survival(row, reading, part, result)
    groups = np.asarray(part["risk_group"])
    grouped = np.isin(groups, ("high", "low"))
    if grouped.any() and not grouped.all():
        result.fault(f"{_reading_name(row, reading)}: {_named(part, ~grouped)} no risk group, others have one")
    prediction = Prediction(
        np.asarray(part["risk"], dtype=float), alive, edges, groups == "high" if grouped.all() else None
    )
    if edges is not None and learned is not None:
        _check_edges(row, edges, learned, recipe, result)
    if row.family != IMPORTED:
        check_agreement(row, part, alive, result)
    for metric in METRICS.values():
        _check_metric(row, metric, reading, train, test, prediction, result)


def _check_metric(
    row: ResultRow,
    metric: Metric,
    reading: str,
    train: FollowUp | None,
    test: FollowUp,
    prediction: Prediction,
    result: Verification,
) -> None:
    key = f"{metric.name}_{reading}"
    if key not in row.scores:
        if metric.name in _ALWAYS:
            result.fault(f"{row_name(row)}: has no {key}, neither a number nor null")
        else:
            result.skip(f"{metric.title}: whoever made these rows did not compute it")
        return
    of_entry = replace(metric, needs=tuple(need for need in metric.needs if need != "train_followup"))
    if why := of_entry.lacks(prediction, train):
        if row.score(key) is not None:
            result.fault(f"{row_name(row)}: {key} is {row.score(key):.6g}, yet {why}: the entry cannot support it")
        return
    if train is None and "train_followup" in metric.needs:
        return
    try:
        value: float | None = metric(train, test, prediction)
    except NotComputable:
        value = None
    tolerance = _ROUNDED if "survival" in metric.needs else _EXACT
    if train is not None and metric.bounds[1] == np.inf:  # a number of months: what is rounded adds up over them
        tolerance *= max(1.0, truncation_time(train))
    _check_number(row, key, value, result, tolerance)


def _survival(
    row: ResultRow, reading: str, part: pd.DataFrame, result: Verification
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | tuple[None, None]:
    """Survival (patients, bins) of one fold and the months (bins,) of its columns; None where the entry has none.

    To have some of it is a fault: what is blank in one line would be scored by nobody.
    """
    alive = part[numbered_columns(part, "survival")].to_numpy(dtype=float)
    months = part[numbered_columns(part, "edge")].to_numpy(dtype=float)[0]
    months = months[~np.isnan(months)]
    there = ~np.isnan(alive)
    if not there.any():
        return None, None
    expected = np.arange(alive.shape[1]) < len(months)
    wrong = (there != expected).any(axis=1)
    if alive.shape[1] < len(months) or wrong.any():
        wrong = wrong | (alive.shape[1] < len(months))
        result.fault(
            f"{_reading_name(row, reading)}: {_named(part, wrong)} survival in other columns than the "
            f"{len(months)} whose months the entry names: it is not whole"
        )
        return None, None
    return alive[:, : len(months)], months


def _reading_name(row: ResultRow, reading: str) -> str:
    return f"{row_name(row)} at `{reading}`"


def _named(part: pd.DataFrame, where: NDArray[np.bool_]) -> str:
    """The first of some lines, and how many there are: "predictions line 4 (P-1) and 8 more have"."""
    at, more = int(np.argmax(where)), int(where.sum()) - 1
    named = f"predictions line {part['line'].iloc[at]} ({part['patient'].iloc[at]})"
    return f"{named} and {more} more have" if more else f"{named} has"


def _check_edges(
    row: ResultRow, edges: np.ndarray, learned: FollowUp, recipe: Mapping[str, Any], result: Verification
) -> None:
    """Bins are fitted on whom the model learned from; their edges say at which months survival is predicted."""
    if not recipe or "cohort-bins" in recipe.get("faults", ()) or row.slides == "mean-risk":
        return
    found = np.asarray(fit_bins(learned.time, learned.event, int(recipe["bins"])).upper)
    if len(found) != len(edges) or np.abs(found - edges).max() > 1e-6:
        result.fault(f"{row_name(row)}: its bins end at {_list(edges)}, the training set gives {_list(found)} months")


def _check_null(row: ResultRow, train: FollowUp, test: FollowUp, result: Verification) -> None:
    try:
        value: float | None = brier_null(train, test)
    except NotComputable:
        value = None
    if row.ibs_km is not None or "ibs_km" in row.reasons:
        _check_number(row, "ibs_km", value, result)
    if row.truncation_months is not None:
        _check_number(row, "truncation_months", truncation_time(train), result)


def _check_oracle(row: ResultRow, part: pd.DataFrame, oracle: Mapping[str, float], result: Verification) -> None:
    if not set(part["patient"]) <= set(oracle):
        return
    risk = np.array([oracle[patient] for patient in part["patient"]])
    try:
        value: float | None = c_index(np.asarray(part["time"]), np.asarray(part["event"], dtype=bool), risk)
    except NotComputable:
        value = None
    if row.oracle_c_index is not None:
        _check_number(row, "oracle_c_index", value, result)


def _check_number(
    row: ResultRow, key: str, value: float | None, result: Verification, tolerance: float = _EXACT
) -> None:
    given = row.score(key) if key in score_columns() else getattr(row, key)
    if given is None and value is None:
        return
    if given is None or value is None or not abs(given - value) <= tolerance:
        words = "no value" if value is None else f"{value:.6g}"
        result.fault(
            f"{row_name(row)}: {key} is {'null' if given is None else f'{given:.6g}'}, the predictions give {words}"
        )
        return
    result.passed("numbers scored again")


def _followup(part: pd.DataFrame) -> FollowUp:
    return FollowUp(np.asarray(part["time"], dtype=float), np.asarray(part["event"], dtype=bool))


def _places(table: pd.DataFrame) -> set[tuple[str, int]]:
    return {(str(who), int(fold)) for who, fold in zip(table["patient"], table["fold"], strict=True)}


def _part(table: pd.DataFrame, fold: int, reading: str) -> pd.DataFrame:
    return pd.DataFrame(table[(table["fold"] == fold) & (table["reading"] == reading)])


def _list(edges: np.ndarray) -> str:
    return ", ".join(f"{edge:g}" for edge in edges)
