"""A table as text: header and rows of cells with their line numbers, however it is separated and zipped."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ..findings import Finding, finding
from .archive import MAX_BYTES, read_table_bytes

LOST = "\N{REPLACEMENT CHARACTER}"
"""Stands where bytes are no UTF-8."""


@dataclass(frozen=True)
class TableCells:
    """`header`, and `lines`: (line in the file, cells) of every row that is not blank; `notes` on the text itself."""

    path: Path
    header: list[str]
    lines: list[tuple[int, list[str]]]
    notes: tuple[Finding, ...] = ()


def read_cells(path: Path, max_bytes: int = MAX_BYTES) -> TableCells:
    """Read a comma- or TAB-separated table (what separates the header's cells decides, not the file's name).

    Bytes that are no UTF-8 become U+FFFD and are reported. Raises DataError for what cannot be read as a table.
    """
    text = read_table_bytes(path, max_bytes).decode("utf-8-sig", errors="replace")
    first = text.partition("\n")[0]
    tabs = first.count("\t") > first.count(",")
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if tabs else ",", strict=True)
        header = [name.strip() for name in next(reader, [])]
        lines, line = [], reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path} is not a comma-separated table ({error}).") from error
    notes = []
    if tabs and path.suffix.lower() != ".tsv":
        notes.append(Finding("tab_separated", "info", 1, f"{path.name} is separated by TABs in spite of its name"))
    if lost := [number for number, cells in lines if any(LOST in cell for cell in cells)]:
        message = f"lines of {path.name} hold bytes that are no UTF-8; they were replaced"
        notes.append(finding("text_not_utf8", "info", message, lost))
    return TableCells(path, header, lines, tuple(notes))
