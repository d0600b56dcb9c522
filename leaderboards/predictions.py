"""Out-of-fold predictions as a table: what `experiments/<id>/predictions.csv` and entries hold."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import RowError
from ..files import read_regular
from ..survival.concordance import c_index
from ..survival.followup import NotComputable
from ..survival.risk_groups import GroupCurves, group_curves
from .result_row import READINGS, ResultRow
from .rows import Problem

AGREES = 1e-6
"""How far the C-index of a row may be from that of its predictions."""
LARGEST = 1 << 30
"""Bytes of one experiment's predictions."""
COLUMNS = ("patient", "fold", "reading", "time", "event", "risk", "risk_group")
"""What every line has. Where slides are scored, `patient` is a slide and a column `owner` says whose it is. Survival
probabilities, where they are known, are in `survival_1`, `survival_2`, … at the months `edge_1`, `edge_2`, …"""


def numbered_columns(table: pd.DataFrame, kind: str) -> list[str]:
    """The columns of one `kind` (`survival` or `edge`) in the order of their numbers."""
    names = [str(c) for c in table.columns if str(c).startswith(f"{kind}_") and str(c).rpartition("_")[2].isdecimal()]
    return sorted(names, key=lambda name: int(name.rpartition("_")[2]))


def risk_group_curves(table: pd.DataFrame) -> GroupCurves | None:
    """The Kaplan-Meier curves of the risk groups at `selected`; None where there are no two groups."""
    selected = pd.DataFrame(table[table["reading"] == "selected"])
    time, event, group, fold = (selected[name] for name in ("time", "event", "risk_group", "fold"))
    return group_curves(time, event, group, fold, patients_of(selected))


def patients_of(table: pd.DataFrame) -> int:
    """How many patients a table is of: slides have an owner, and repeats test a patient more than once."""
    return len(set(table["owner" if "owner" in table.columns else "patient"]))


def read_predictions(path: Path, name: str | None = None) -> pd.DataFrame:
    """The table of one predictions file; columns as in `COLUMNS`, then the survival at the bin edges.

    Raises RowError, naming file, column and remedy, where a column is missing or a value cannot be.
    """
    name = name or str(path)
    try:
        content = io.BytesIO(read_regular(path, LARGEST))
        table = pd.read_csv(content, dtype={"patient": str, "reading": str, "risk_group": str})
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise RowError(f"{name}: cannot be read as a table ({error}); run the experiment again") from error
    return check_predictions(table, name)


def check_predictions(table: pd.DataFrame, name: str, remedy: str = "run the experiment again") -> pd.DataFrame:
    """The table with numbers, events and groups in their kinds. Raises RowError as `read_predictions` does."""
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise RowError(f"{name}: column {', '.join(missing)} is missing; {remedy}")

    def expect(column: str, good: NDArray[np.bool_], expected: str) -> None:
        if not good.all():
            at = int(np.argmin(good))  # the file's first line is the header
            found = str(table[column].iloc[at])
            after = remedy[0].upper() + remedy[1:]
            raise RowError(f"{name}: line {at + 2}, {column} is {found!r}; expected {expected}. {after}")

    made: dict[str, NDArray[Any]] = {}
    expect("patient", np.asarray(table["patient"].notna()), "a patient")
    for column in ("time", "risk", "fold"):
        values, _ = _numbers(table[column])
        good = np.isfinite(values) & (values > 0 if column == "time" else True)
        good &= (values >= 0) & (values < 1e6) & (values == np.floor(values)) if column == "fold" else True
        words = {"time": "a number above 0", "fold": "a whole number from 0"}
        expect(column, good, words.get(column, "a number"))
        made[column] = values
    expect("reading", np.isin(np.asarray(table["reading"], dtype=str), READINGS), ", ".join(READINGS))
    if table["event"].dtype.kind in "bif":
        events = np.asarray(table["event"], dtype=float)
        died, alive = events == 1, events == 0
    else:
        words = np.asarray(table["event"].astype(str).str.strip().str.lower(), dtype=str)
        died, alive = np.isin(words, ("1", "1.0", "true")), np.isin(words, ("0", "0.0", "false"))
    expect("event", died | alive, "0 or 1")
    groups = np.asarray(table["risk_group"].fillna(""), dtype=str)
    expect("risk_group", np.isin(groups, ("high", "low", "")), "high, low or nothing")
    for column in (*numbered_columns(table, "survival"), *numbered_columns(table, "edge")):
        values, blank = _numbers(table[column])
        most = 1.0 if column.startswith("survival") else np.finfo(float).max
        expect(column, ((values >= 0) & (values <= most)) | blank, f"a number from 0 to {most:.3g}, or nothing")
        made[column] = values
    return table.assign(**made, event=died, risk_group=groups)


def _numbers(column: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The numbers of a column of a table, NaN where there is none; and where nothing stands."""
    if column.dtype.kind in "if":
        values = np.asarray(column, dtype=float)
        return values, np.isnan(values)
    values = np.asarray(pd.to_numeric(column, errors="coerce"), dtype=float)
    return values, np.asarray(column.isna() | (column.astype(str).str.strip() == ""))


def contradictions(rows: Iterable[ResultRow], table: pd.DataFrame) -> str:
    """Where the C-indices of an experiment's rows are not those of its predictions, in words; empty where all are."""
    for row in rows:
        for reading in READINGS:
            part = table[(table["fold"] == row.fold) & (table["reading"] == reading)]
            given = row.score(f"c_index_{reading}")
            if part.empty or not row.finished or given is None:
                continue
            try:
                found = c_index(part["time"], part["event"], part["risk"])
            except NotComputable:
                found = float("nan")
            if not abs(found - given) <= AGREES:
                what = f"c_index_{reading} of fold {row.fold} is {given:.4f}, its predictions give {found:.4f}"
                return f"{what}: the experiment is not ranked"
    return ""


def predictions_of(
    folders: Mapping[str, Path], experiments: Iterable[str]
) -> tuple[dict[str, pd.DataFrame], list[Problem]]:
    """Predictions by experiment id, and what could not be read. An experiment without a file has no entry, and a
    Problem."""
    found: dict[str, pd.DataFrame] = {}
    problems: list[Problem] = []
    for experiment in sorted(set(experiments) & set(folders)):
        path = folders[experiment] / "predictions.csv"
        name = f"{folders[experiment].name}/predictions.csv"
        if not path.is_file():
            problems.append(
                Problem(name, "is missing, so its Kaplan-Meier curves are not shown; run the experiment again")
            )
            continue
        try:
            found[experiment] = read_predictions(path, name)
        except RowError as error:
            problems.append(Problem(name, str(error).removeprefix(f"{name}: ")))
    return found, problems
