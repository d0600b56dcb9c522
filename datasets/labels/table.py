"""A label table as rows, each checked by itself, before anybody decides what a patient is."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, some
from ..findings import Finding
from .columns import LabelColumns, recognise
from .csv_file import LOST, TableCells, read_cells
from .time_units import PER_MONTH, basis_of

BLANK = frozenset({"", "na", "n/a", "nan", "none", "null", "<na>", "--", "not reported"})
_SVS = re.compile(r"\.svs$", re.IGNORECASE)
_DEAD = {"dead", "died", "deceased", "true", "yes", "event"}
_ALIVE = {"alive", "living", "censored", "false", "no"}


@dataclass(frozen=True)
class Row:
    """One row: a slide of a case ("" where the table has no slides). `months` is NaN where it is missing.

    `line` is where the row starts in the file; `recorded` is False where the table has no such endpoint for the
    case.
    """

    line: int
    case_id: str
    slide_id: str
    months: float
    event: bool
    recorded: bool = True
    age: float | None = None
    is_female: float | None = None
    oncotree_code: str | None = None
    stage: str | None = None
    grade: str | None = None
    histology: str | None = None
    site: str | None = None
    project: str | None = None
    redacted: bool = False


@dataclass(frozen=True)
class Table:
    """The rows that can be used by themselves, the faults of the others (severity error), and what was noticed.

    `basis` says how the months of the table came from days.
    """

    path: Path
    columns: LabelColumns
    rows: list[Row]
    faults: list[Finding]
    notes: list[Finding]
    basis: str


def read_label_table(path: Path, endpoint: str = "os", columns: Mapping[str, str] | None = None) -> Table:
    """The rows of a label table (csv or tsv, or zipped as `read_table_bytes` allows); slide ids lose their .svs.

    Only the columns needed are kept: public tables carry thousands of columns of gene expression. Raises
    DataError for a table that cannot be read or lacks columns; what is wrong with single rows is in `faults`.
    """
    return parse_rows(read_cells(path), endpoint, columns)


def parse_rows(cells: TableCells, endpoint: str = "os", columns: Mapping[str, str] | None = None) -> Table:
    """The rows of a table that is already text. DataError as `read_label_table`."""
    path, header = cells.path, cells.header
    where = recognise(path, header, endpoint, columns)
    if not cells.lines:
        raise DataError(f"{path} has a header but no rows.")
    names = {*where.needed, *(name for group in where.covariates.values() for name in group), where.companion}
    at = {name: header.index(name) for name in names if name in header}
    reach = max(at[name] for name in where.needed)
    table = [
        (line, {name: _text(row[i]) for name, i in at.items() if i < len(row)})
        for line, row in cells.lines
        if len(row) > reach
    ]
    faults = _Faults(path)
    faults.add("row_cut_short", [line for line, row in cells.lines if len(row) <= reach], "the row is cut short")
    identifiers = [name for name in (where.patient, where.slide) if name]
    blank = [line for line, row in table if not all(row[name] for name in identifiers)]
    faults.add("ids_blank", blank, f"{' or '.join(identifiers)} is blank")
    torn = [line for line, row in table if any(LOST in (row[name] or "") for name in identifiers)]
    faults.add("ids_not_utf8", torn, f"{' or '.join(identifiers)} holds bytes that are no UTF-8")
    _check_numbers(table, where, faults)
    rows = [_row(line, row, where) for line, row in table if line not in faults.lines]
    months = [(row[where.time] or "", row.get(where.companion or "")) for _, row in table]
    days = [companion or "" for _, companion in months] if where.companion else None
    basis = basis_of([text for text, _ in months], days) if where.unit == "months" else f"{where.unit} as written"
    return Table(path, where, rows, faults.findings, list(cells.notes), basis)


def _check_numbers(table: Sequence[tuple[int, dict[str, str | None]]], where: LabelColumns, faults: "_Faults") -> None:
    wrong = {line: row[where.time] for line, row in table if row[where.time] and _number(row[where.time]) is None}
    values = some(sorted(set(map(str, wrong.values()))))
    faults.add("time_not_a_number", list(wrong), f"{where.time} is no number ({values})")
    words = where.kind == "named"
    wrong = {
        line: row[where.outcome]
        for line, row in table
        if row[where.outcome] and _flag(row[where.outcome], words) is None and _number(row[where.outcome]) is None
    }
    values = some(sorted(set(map(str, wrong.values()))))
    faults.add("censoring_not_a_number", list(wrong), f"{where.outcome} is no number ({values})")
    odd = {
        line: row[where.outcome]
        for line, row in table
        if line not in wrong
        and _flag(row[where.outcome], words) is None
        and not (where.gaps and not row[where.outcome])
    }
    values = some(sorted({value or "blank" for value in odd.values()}))
    meaning = "1 (died) or 0 (censored)" if where.died else "0 (died) or 1 (censored)"
    faults.add("censoring_values", list(odd), f"{where.outcome} must be {meaning} but is {values}")


class _Faults:
    """Faults of single rows as they are found, and the lines that have one."""

    def __init__(self, path: Path) -> None:
        self.path, self.findings, self.lines = path, [], set()

    def add(self, code: str, lines: list[int], why: str) -> None:
        if lines:
            self.lines.update(lines)
            message = f"{self.path}, {'line' if len(lines) == 1 else 'lines'} {some(lines)}: {why}. Correct the table."
            examples = tuple(f"line {line}" for line in sorted(lines)[:10])
            self.findings.append(Finding(code, "error", len(lines), message, examples))


def _row(line: int, cells: dict[str, str | None], where: LabelColumns) -> Row:
    time, outcome = _number(cells[where.time]), _flag(cells[where.outcome], where.kind == "named")
    known = {name: _first(cells, group) for name, group in where.covariates.items()}
    sex = known.get("sex")
    return Row(
        line=line,
        case_id=cells[where.patient] or "",
        slide_id=_SVS.sub("", cells[where.slide] or "") if where.slide else "",
        months=math.nan if time is None or math.isinf(time) else time / PER_MONTH[where.unit],
        event=outcome is not None and outcome == where.died,
        recorded=not where.gaps or (time is not None and outcome is not None),
        age=_number(known.get("age")),
        is_female=_number(known.get("is_female")) if sex is None else _female(sex),
        oncotree_code=known.get("oncotree_code"),
        stage=known.get("stage"),
        grade=known.get("grade"),
        histology=known.get("histology"),
        site=known.get("site"),
        project=known.get("project"),
        redacted=known.get("redaction") is not None,
    )


def _first(cells: dict[str, str | None], names: Sequence[str]) -> str | None:
    return next((text for name in names if (text := cells.get(name)) is not None), None)


def _female(text: str) -> float | None:
    number = _number(text)
    if number is not None:
        return number
    return {"f": 1.0, "w": 1.0, "m": 0.0}.get(text[:1].lower())


def _flag(text: str | None, words: bool) -> bool | None:
    """What a 0/1 column says; a table with named columns may also say it in words ("Dead", "1:DECEASED")."""
    number = _number(text)
    if number in (0, 1):
        return bool(number)
    if not words or not text:
        return None
    word = text.lower().rpartition(":")[2].strip()
    return True if word in _DEAD else False if word in _ALIVE else None


def _text(cell: str) -> str | None:
    text = cell.strip()
    return None if text.lower() in BLANK or (text.startswith("[") and text.endswith("]")) else text


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
