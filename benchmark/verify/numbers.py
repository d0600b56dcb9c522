"""The numbers of the rows, scored again from the predictions: every count and metric that can be."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ...datasets.folds.stratified import cut_validation
from ...errors import DataError
from ...leaderboards.ranking.board import IMPORTED
from ...leaderboards.rows import Row
from ...leaderboards.schema import READINGS
from ...survival.concordance import c_index
from ...survival.followup import FollowUp, NotComputable, Prediction
from ...survival.metrics import METRICS, brier_null
from ...survival.time_bins import fit_bins
from ..experiment import seed_for
from .agreement import check_agreement
from .ids import told
from .report import Report
from .truth import Truth

_EXACT, _ROUNDED = 1e-6, 2e-5
"""How far a number may be from the rows': risks keep their order in an entry, survival is rounded to five decimals."""
_SHOWN = 5


def check_numbers(
    rows: Mapping[int, Row], table: pd.DataFrame, settled: Mapping[str, Any], truth: Truth | None, report: Report
) -> None:
    """Score one experiment again. `rows` are by fold; without a `truth` only what needs no training part."""
    if list(_faults_of_table(rows, table, report)):
        return
    recipe = settled.get("recipe")
    recipe = recipe if isinstance(recipe, Mapping) else {}
    for fold, row in sorted(rows.items()):
        train = None if truth is None else _training(row, truth, recipe, report)
        parts = {reading: _part(table, fold, reading) for reading in READINGS}
        for reading, part in parts.items():
            _check_reading(row, reading, part, train, recipe, report)
        selected = parts["selected"]
        test = _followup(selected)
        _hold(row, "n_test", len(test.time), report)
        _hold(row, "events_test", int(test.event.sum()), report)
        if train is not None:
            _check_null(row, train, test, report)
        if truth is not None and truth.labels.oracle is not None and row.get("slides") != "slide":
            _check_oracle(row, selected, truth.labels.oracle, report)
    if truth is None:
        first = next(iter(rows.values()))
        report.skip(
            f"{first['cohort']}, folds {first['folds_name']}: who trained which fold is not known, so metrics that "
            "weigh by censoring are not scored again; give --labels and --splits"
        )


def _faults_of_table(rows: Mapping[int, Row], table: pd.DataFrame, report: Report) -> Iterator[str]:
    """Whether predictions and rows are of the same folds, and every reading of the same patients."""
    first = next(iter(rows.values()))
    name = f"experiment {first['experiment']} ({first['model']} on {first['cohort']})"
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
    told_of = list(zip(lines, patients, table["time"], table["event"], strict=True))
    for _, patient, time, event in told_of:
        followed.setdefault(patient, Counter())[time, event] += 1
    for line, patient, time, event in told_of:
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
        report.fault(fault)
    if len(faults) > _SHOWN:
        report.fault(f"{name}: and {len(faults) - _SHOWN} more faults like these")
    yield from faults


def check_against(rows: Mapping[int, Row], table: pd.DataFrame, truth: Truth, report: Report) -> None:
    """Hold patients, times, events and folds of the predictions against the truth, line by line."""
    first = next(iter(rows.values()))
    name = f"experiment {first['experiment']} ({first['model']} on {first['cohort']})"
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
        if lost and first["patients"] == len(by_id):
            who = ", ".join(f"{patient} (fold {k})" for patient, k in lost[:_SHOWN])
            faults.append(f"{name}: {len(lost)} test patients have no prediction at `{reading}`: {who}")
    for fault in faults[:_SHOWN]:
        report.fault(fault)
    if len(faults) > _SHOWN:
        report.fault(f"{name}: and {len(faults) - _SHOWN} more faults like these")
    if not faults:
        report.held(f"lines held against labels and folds ({truth.source})", len(table))


def _training(row: Row, truth: Truth, recipe: Mapping[str, Any], report: Report) -> FollowUp | None:
    """The training part that the metrics of a fold learn censoring from: without the inner validation part."""
    if row.get("slides") == "slide":
        report.skip("where slides are scored by themselves, metrics that weigh by censoring are not scored again")
        return None
    split = next((split for split in truth.splits if split.fold == row["fold"]), None)
    if split is None:
        report.fault(f"{told(row)}: there is no such fold ({truth.source})")
        return None
    train, val = split.train, split.val
    try:
        if recipe.get("validation") and not val:
            seed = seed_for(row["seed"], row["fold"], "validation")
            train, val = cut_validation(split.train, truth.labels, float(recipe["validation"]), seed)
    except (DataError, ValueError) as error:
        report.fault(f"{told(row)}: its inner validation part cannot be cut: {error}")
        return None
    by_id = truth.labels.by_id
    if not recipe:
        train, val = (*train, *val), ()
    known = FollowUp(np.array([by_id[i].time for i in train]), np.array([by_id[i].event for i in train], dtype=bool))
    for key, value in (
        ("n_train", len(train)),
        ("n_val", len(val)),
        ("events_train", int(known.event.sum())),
        ("events_val", sum(by_id[i].event for i in val)),
        ("patients", len(by_id)),
        ("events", sum(patient.event for patient in by_id.values())),
    ):
        if row.get("slides") != "mean-risk" or not key.startswith(("n_", "events_")):
            _hold(row, key, value, report)
    return known


def _check_reading(
    row: Row, reading: str, part: pd.DataFrame, train: FollowUp | None, recipe: Mapping[str, Any], report: Report
) -> None:
    if part.empty:
        # What has no epochs is read once: a control's `last` is its `selected`.
        given = {name: row.get(f"{name}_{reading}") for name in METRICS}
        other = [name for name, value in given.items() if value not in (None, row.get(f"{name}_selected"))]
        if other:
            report.fault(f"{told(row)}: has {', '.join(other)} at `{reading}`, and no predictions at that reading")
        return
    test = _followup(part)
    alive = part[_numbered(part, "survival_")].to_numpy(dtype=float)
    edges = part[_numbered(part, "edge_")].to_numpy(dtype=float)[:1]
    whole = alive.shape[1] > 0 and alive.shape[1] == edges.shape[1] and not np.isnan(alive).any()
    groups = np.asarray(part["risk_group"])
    grouped = np.isin(groups, ("high", "low")).all()
    prediction = Prediction(
        np.asarray(part["risk"], dtype=float),
        alive if whole else None,
        edges[0] if whole else None,
        groups == "high" if grouped else None,
    )
    if whole and train is not None:
        _check_edges(row, edges[0], train, recipe, report)
    if row.get("family") != IMPORTED:
        check_agreement(row, part, alive if whole else None, report)
    for metric in METRICS.values():
        key = f"{metric.name}_{reading}"
        if key not in row or (train is None and "train_followup" in metric.needs):
            continue
        if why := metric.lacks(prediction, train):
            if row[key] is not None:
                report.skip(f"{metric.title}: {why}")
            continue
        try:
            value: float | None = metric(train, test, prediction)
        except NotComputable:
            value = None
        _hold(row, key, value, report, _ROUNDED if "survival" in metric.needs else _EXACT)


def _check_edges(row: Row, edges: np.ndarray, train: FollowUp, recipe: Mapping[str, Any], report: Report) -> None:
    """Bins are fitted on the training part; their edges say at which months survival is predicted."""
    if not recipe or "cohort-bins" in recipe.get("faults", ()) or row.get("slides") == "mean-risk":
        return
    found = np.asarray(fit_bins(train.time, train.event, int(recipe["bins"])).upper)
    if len(found) != len(edges) or np.abs(found - edges).max() > 1e-6:
        report.fault(f"{told(row)}: its bins end at {_list(edges)}, the training part gives {_list(found)} months")


def _check_null(row: Row, train: FollowUp, test: FollowUp, report: Report) -> None:
    try:
        value: float | None = brier_null(train, test)
    except NotComputable:
        value = None
    if "ibs_km" in row:
        _hold(row, "ibs_km", value, report)


def _check_oracle(row: Row, part: pd.DataFrame, oracle: Mapping[str, float], report: Report) -> None:
    if not set(part["patient"]) <= set(oracle):
        return
    risk = np.array([oracle[patient] for patient in part["patient"]])
    try:
        value: float | None = c_index(np.asarray(part["time"]), np.asarray(part["event"], dtype=bool), risk)
    except NotComputable:
        value = None
    if row.get("oracle_c_index") is not None:
        _hold(row, "oracle_c_index", value, report)


def _hold(row: Row, key: str, value: float | None, report: Report, tolerance: float = _EXACT) -> None:
    said = row.get(key)
    if said is None and value is None:
        return
    if said is None or value is None or not abs(said - value) <= tolerance:
        words = "no value" if value is None else f"{value:.6g}"
        report.fault(f"{told(row)}: {key} is {'null' if said is None else f'{said:.6g}'}, the predictions give {words}")
        return
    report.held("numbers scored again")


def _followup(part: pd.DataFrame) -> FollowUp:
    return FollowUp(np.asarray(part["time"], dtype=float), np.asarray(part["event"], dtype=bool))


def _places(table: pd.DataFrame) -> set[tuple[str, int]]:
    return {(str(who), int(fold)) for who, fold in zip(table["patient"], table["fold"], strict=True)}


def _part(table: pd.DataFrame, fold: int, reading: str) -> pd.DataFrame:
    return pd.DataFrame(table[(table["fold"] == fold) & (table["reading"] == reading)])


def _numbered(table: pd.DataFrame, prefix: str) -> list[str]:
    names = [str(c) for c in table.columns if str(c).startswith(prefix) and str(c).removeprefix(prefix).isdecimal()]
    return sorted(names, key=lambda name: int(name.removeprefix(prefix)))


def _list(edges: np.ndarray) -> str:
    return ", ".join(f"{edge:g}" for edge in edges)
