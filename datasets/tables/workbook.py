"""Workbooks of Excel (.xlsx): one sheet as rows of text."""

import io
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

from ...errors import DataError
from ...names import check_choice
from .unwrap import UNREADABLE, check_unpacked_size


def sheet_rows(path: Path, content: bytes, sheet: str | None, max_bytes: int) -> Iterator[tuple[int, list[str]]]:
    """The rows of a sheet, each with its line; numbers as Excel keeps them, whole ones without a point.

    Formulas count as the values that were last computed. DataError for other documents, for a workbook with several
    filled sheets of which none is named, and for an unknown sheet.
    """
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    check_unpacked_size(path, content, max_bytes)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
        if "xl/workbook.xml" not in names:
            raise DataError(f"{path} is an office document, but no Excel workbook: save it as .xlsx or csv.")
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        tables = {one.title: one for one in book.worksheets if one.sheet_state == "visible"}
        if sheet is not None:
            check_choice(f"sheet of {path.name}", sheet, tables, DataError)
            return iter(list(_rows(tables[sheet])))
        filled = {name: rows for name, one in tables.items() if (rows := [r for r in _rows(one) if any(r[1])])}
    except DataError:
        raise
    except (InvalidFileException, *UNREADABLE) as error:
        raise DataError(f"{path} cannot be read as an Excel workbook ({error}): save it again, or as csv.") from error
    if len(filled) > 1:
        raise DataError(f"{path} has several sheets with cells: {', '.join(filled)}. Name one with --sheet.")
    return iter(next(iter(filled.values()), []))


def _rows(sheet) -> Iterator[tuple[int, list[str]]]:  # a read-only sheet of openpyxl
    sheet.reset_dimensions()  # some programs write a wrong size, and rows would be cut off
    for line, row in enumerate(sheet.iter_rows(values_only=True), 1):
        yield line, [text_of(value) for value in row]


def text_of(value: object) -> str:
    """A value of a typed table as a cell of text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return "" if value != value else str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
