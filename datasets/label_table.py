"""A label table as rows, each checked by itself, before anybody decides what a patient is."""

import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

from .archive import read_table_bytes
from .errors import DataError, some

REQUIRED = ("case_id", "slide_id", "survival_months", "censorship")
OPTIONAL = ("age", "is_female", "oncotree_code")
BLANK = frozenset({"", "na", "n/a", "nan", "none", "null", "<na>"})
_SVS = re.compile(r"\.svs$", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One row: a slide of a case. `months` is NaN where it is missing; `line` is where the row starts in the file."""

    line: int
    case_id: str
    slide_id: str
    months: float
    event: bool
    age: float | None = None
    is_female: float | None = None
    oncotree_code: str | None = None


def read_label_table(path: Path) -> list[Row]:
    """The rows of a label table (csv, or zipped as `read_table_bytes` allows); slide ids lose their .svs.

    Only the columns needed are kept: public tables carry thousands of columns of gene expression. Raises
    DataError for a table that cannot be read or lacks columns, and, naming lines, for blank identifiers,
    times or censoring that are no numbers, and censoring other than 0 and 1.
    """
    header, lines = _cells(path)
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}. Expected {', '.join(REQUIRED)} "
            f"(and optionally {', '.join(OPTIONAL)}); found {some(header, 12)}."
        )
    if not lines:
        raise DataError(f"{path} has a header but no rows.")
    at = {name: header.index(name) for name in REQUIRED + OPTIONAL if name in header}
    table = [(line, {name: _text(cells[i]) for name, i in at.items() if i < len(cells)}) for line, cells in lines]
    short = [line for line, cells in lines if len(cells) <= max(at[name] for name in REQUIRED)]
    _refuse(path, short, "the row is cut short")
    blank = [line for line, cells in table if not cells["case_id"] or not cells["slide_id"]]
    _refuse(path, blank, "case_id or slide_id is blank")
    for column in ("survival_months", "censorship"):
        wrong = {line: cells[column] for line, cells in table if cells[column] and _number(cells[column]) is None}
        _refuse(path, list(wrong), f"{column} is no number ({some(sorted(set(map(str, wrong.values()))))})")
    odd = {line: cells["censorship"] for line, cells in table if _number(cells["censorship"]) not in (0, 1)}
    values = some(sorted({value or "blank" for value in odd.values()}))
    _refuse(path, list(odd), f"censorship must be 0 (died) or 1 (censored) but is {values}")
    return [_row(line, cells) for line, cells in table]


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and (line, cells) of every row that is not blank."""
    content = read_table_bytes(path)
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        lines, line = [], reader.line_num + 1
        for cells in reader:
            if any(cells):
                lines.append((line, cells))
            line = reader.line_num + 1
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a comma-separated table in UTF-8 ({error}).") from error
    return header, lines


def _row(line: int, cells: dict[str, str | None]) -> Row:
    months = _number(cells["survival_months"])
    return Row(
        line=line,
        case_id=cells["case_id"] or "",
        slide_id=_SVS.sub("", cells["slide_id"] or ""),
        months=math.nan if months is None or math.isinf(months) else months,
        event=_number(cells["censorship"]) == 0,
        age=_number(cells.get("age")),
        is_female=_number(cells.get("is_female")),
        oncotree_code=cells.get("oncotree_code"),
    )


def _text(cell: str) -> str | None:
    text = cell.strip()
    return None if text.lower() in BLANK else text


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _refuse(path: Path, lines: list[int], why: str) -> None:
    if lines:
        raise DataError(f"{path}, {'line' if len(lines) == 1 else 'lines'} {some(lines)}: {why}. Correct the table.")
