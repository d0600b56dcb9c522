"""Tables of predictions that others made, read as data: one row a patient, each cell checked by itself."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...datasets.patient import patient_of
from ...datasets.slide_names import patient_key
from ...datasets.tables.cells import read_cells
from ...datasets.tables.numbers import decimals_of, number
from ...errors import DataError, some

MAX_BYTES = 256 << 20
LISTED = 20
"""How many rows a message lists by name before it only counts them."""

_PATIENT = ("patient", "case_id")
_TIME = ("time", "survival_months")
_EVENT = ("event", "censored", "censorship")
_SURVIVAL = re.compile(r"^survival_at_(\d+(?:\.\d+)?)$")
_TRUE, _FALSE = ("1", "1.0", "true"), ("0", "0.0", "false")


@dataclass(frozen=True)
class PredictionRow:
    """One row: `line` of the file, `patient`, test `fold`, `risk` (higher = earlier death); where the file says so
    `time` in months, `event` True = died, `survival` at the months of the table, and `high` risk or not.
    """

    line: int
    patient: str
    fold: int
    risk: float
    time: float | None
    event: bool | None
    survival: tuple[float, ...]
    high: bool | None

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.patient} (fold {self.fold}, line {self.line})"


@dataclass(frozen=True)
class ForeignTable:
    """The rows of one model on one cohort; `months` are those of the survival columns, ascending."""

    path: Path
    rows: tuple[PredictionRow, ...]
    months: tuple[float, ...]


def named_as(table: ForeignTable, patients: Iterable[str]) -> ForeignTable:
    """The table with its patients spelt as in the labels: case, the form of characters and `1000.0` do not matter."""
    known = set(patients)
    by_key = {patient_key(patient): patient for patient in known}

    def spelt(patient: str) -> str:
        return patient if patient in known else by_key.get(patient_key(patient), patient)

    return replace(table, rows=tuple(replace(row, patient=spelt(row.patient)) for row in table.rows))


def read_foreign(path: Path, model: str, cohort: str) -> ForeignTable:
    """The rows of `model` on `cohort` in a csv or csv.gz file.

    Columns: patient (or case_id; a slide barcode is cut to its patient), fold, risk. Optional: time (or
    survival_months) in months; event (1 = died), or censored (1 = censored); survival_at_<months>; risk_group (high or
    low). Where the file has columns model, cohort or reading, only the rows of that model, cohort (in any case) and of
    the reading `selected` are taken.

    Errors: `DataError` naming lines, for a file that is no such table, cells that cannot be, times that are not above
    zero and patients that stand there twice.
    """
    header, lines = _cells(path)
    at = {name: header.index(name) for name in header}
    patient = _column(path, header, _PATIENT)
    columns = {name: _column(path, header, (name,)) for name in ("fold", "risk")}
    time, event = _one_of(path, header, _TIME), _one_of(path, header, _EVENT)
    months = {float(found[1]): name for name in header if (found := _SURVIVAL.match(name))}
    lines = _of(path, lines, at, {"model": model, "cohort": cohort, "reading": "selected"})

    faults: list[str] = []

    def numbers(column: str | None, good: Callable[[float], bool], expected: str) -> list[float | None]:
        texts = [None if column is None else cells[at[column]].strip() for _, cells in lines]
        read = decimals_of(texts)
        values = [number(text, read.sign) for text in texts]
        if column is not None and read.doubt:
            faults.append(f"{column}: {read.doubt}")
        elif column is not None:
            wrong = [
                f"line {line}: {cells[at[column]] or 'blank'}"
                for (line, cells), value in zip(lines, values, strict=True)
                if value is None or not good(value)
            ]
            if wrong:
                faults.append(f"{column} is not {expected} in {len(wrong)} rows ({some(wrong, LISTED)})")
        return values

    blank = [str(line) for line, cells in lines if not cells[at[patient]].strip()]
    if blank:
        faults.append(f"{patient} is blank in lines {some(blank, LISTED)}")
    folds = numbers(columns["fold"], lambda value: value >= 0 and value == int(value), "a whole number from 0 on")
    risks = numbers(columns["risk"], math.isfinite, "a finite number")
    times = numbers(time, math.isfinite, "a finite number")
    shares = [numbers(name, lambda value: 0 <= value <= 1, "a probability") for _, name in sorted(months.items())]
    events = _words(lines, at, event, (_TRUE, _FALSE), "0 or 1", faults)
    groups = _words(
        lines, at, "risk_group" if "risk_group" in at else None, (("high",), ("low",)), "high or low", faults
    )
    if faults:
        raise DataError(f"{path}: {'; '.join(faults)}. Correct the table")
    rows = tuple(
        PredictionRow(
            line,
            patient_of(cells[at[patient]].strip()),
            int(folds[i] or 0),
            float(risks[i] or 0.0),
            times[i],
            None if events[i] is None else events[i] == (event == "event"),
            tuple(float(share[i] or 0.0) for share in shares),
            groups[i],
        )
        for i, (line, cells) in enumerate(lines)
    )
    _refuse_phantoms(path, rows)
    return ForeignTable(path, rows, tuple(sorted(months)))


def _refuse_phantoms(path: Path, rows: Sequence[PredictionRow]) -> None:
    """Refuse rows without a positive time and patients that stand there twice, with the list."""
    faults = []
    gone = [str(row) for row in rows if row.time is not None and row.time <= 0]
    if gone:
        faults.append(
            f"{len(gone)} rows have a time that is not above 0: {some(gone, LISTED)}. Nobody is followed for no time; "
            "such rows are what is left of skipped patients, and with an event they win or lose every pair"
        )
    seen: dict[str, PredictionRow] = {}
    twice = [f"{row} and line {seen[row.patient].line}" for row in rows if seen.setdefault(row.patient, row) is not row]
    if twice:
        faults.append(f"{len(twice)} patients stand there twice: {some(twice, LISTED)}. A patient is tested once")
    if faults:
        raise DataError(f"{path}: {'. '.join(faults)}. Remove these rows and import again; nothing was written")


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header (lower case) and (line, cells) of every row that is not blank, each as long as the header."""
    cells = read_cells(path, MAX_BYTES)
    header = [name.lower() for name in cells.header]
    lines = cells.lines
    if len(set(header)) < len(header):
        raise DataError(f"{path} has a column twice: {some(sorted({n for n in header if header.count(n) > 1}))}")
    ragged = [str(line) for line, row in lines if len(row) < len(header)]
    cells.sound()
    if ragged:
        raise DataError(f"{path}: lines {some(ragged, LISTED)} have not the {len(header)} cells of the header")
    if not lines:
        raise DataError(f"{path} holds no rows")
    return header, lines


def _column(path: Path, header: Sequence[str], names: Sequence[str]) -> str:
    found = _one_of(path, header, names)
    if found is None:
        raise DataError(
            f"{path} lacks the column {' or '.join(names)}. Needed: patient, fold, risk; found {some(header, 12)}"
        )
    return found


def _one_of(path: Path, header: Sequence[str], names: Sequence[str]) -> str | None:
    found = [name for name in names if name in header]
    if len(found) > 1:
        raise DataError(f"{path} has the columns {' and '.join(found)}, which say the same: keep one of them")
    return found[0] if found else None


def _of(
    path: Path, lines: list[tuple[int, list[str]]], at: Mapping[str, int], wanted: Mapping[str, str]
) -> list[tuple[int, list[str]]]:
    """The rows whose model, cohort and reading are the wanted ones, where the file has such columns."""
    for column, name in wanted.items():
        if column not in at:
            continue
        place = at[column]
        there = list(dict.fromkeys(cells[place].strip() for _, cells in lines))
        exact = [(line, cells) for line, cells in lines if cells[place].strip() == name]
        lines = exact or [(line, cells) for line, cells in lines if cells[place].strip().lower() == name.lower()]
        if not lines:
            raise DataError(f"{path} holds no rows whose {column} is {name!r}; it has {some(there, LISTED)}")
    return lines


def _words(
    lines: Sequence[tuple[int, list[str]]],
    at: Mapping[str, int],
    column: str | None,
    words: tuple[Sequence[str], Sequence[str]],
    expected: str,
    faults: list[str],
) -> list[bool | None]:
    if column is None:
        return [None] * len(lines)
    cells = [(line, row[at[column]].strip().lower()) for line, row in lines]
    wrong = [f"line {line}: {cell or 'blank'}" for line, cell in cells if cell not in (*words[0], *words[1])]
    if wrong:
        faults.append(f"{column} is not {expected} in {len(wrong)} rows ({some(wrong, LISTED)})")
    return [cell in words[0] for _, cell in cells]
