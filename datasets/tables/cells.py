"""A table as text: header and rows of cells with their line numbers, however it is separated, encoded and wrapped."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, some
from ..findings import Finding, finding
from .limits import MAX_BYTES
from .text import LOST, decode
from .unwrap import is_document, read_table_bytes

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "TABs", "|": "bars"}
MOST_ROWS, MOST_CELLS = 1_000_000, 20_000_000
"""More is refused: a small packed file can hold very many rows of a letter each."""
_LINE = re.compile(r"[^\r\n]+")
_LONGEST_LINE = 8 << 20
_LOOKED_AT = 50  # rows that decide what separates cells
_PARQUET, _OLE = b"PAR1", b"\xd0\xcf\x11\xe0"


@dataclass(frozen=True)
class TableCells:
    """`header`, and `lines`: (line in the file, cells) of every row that is not blank.

    `notes` is what was noticed about the text itself, `faults` are rows that cannot be read (severity error); they
    are not among `lines`.
    """

    path: Path
    header: list[str]
    lines: list[tuple[int, list[str]]]
    notes: tuple[Finding, ...] = ()
    faults: tuple[Finding, ...] = ()

    def sound(self) -> "TableCells":
        """Itself. DataError where a row has a fault."""
        if self.faults:
            raise DataError(self.faults[0].message)
        return self


def read_cells(path: Path, max_bytes: int = MAX_BYTES, sheet: str | None = None) -> TableCells:
    """Read a table: text, a workbook of Excel, Parquet, or the GDC's JSON, packed or not.

    What separates the cells, the encoding and the kind of file are seen in the file and not taken from its name. Lines
    before the header that begin with # (cBioPortal), and a title with a single cell, are passed over. `sheet` names
    one of several sheets of a workbook. Raises DataError for what cannot be read as a table.
    """
    content = read_table_bytes(path, max_bytes)
    if is_document(content):
        from .workbook import sheet_rows

        return _table(path, sheet_rows(path, content, sheet, max_bytes), [])
    if sheet is not None:
        raise DataError(f"{path} is no Excel workbook and has no sheet {sheet!r}: leave --sheet out.")
    if content.startswith(_PARQUET):
        from .parquet import parquet_rows

        return _table(path, parquet_rows(path, content, max_bytes), [])
    _refuse_other_kinds(path, content)
    decoded = decode(content)
    if decoded.text.lstrip()[:1] in ("[", "{"):
        from .gdc_json import case_rows

        return _table(path, case_rows(path, decoded.text), [])
    if any(line.end() - line.start() > _LONGEST_LINE for line in _LINE.finditer(decoded.text)):
        raise DataError(f"{path} has a line of more than 8 MiB: it is no table.")
    notes = []
    if decoded.encoding not in ("utf-8", "utf-8-sig", None):
        message = f"{path.name} is not UTF-8 but {decoded.encoding}, and was read as that"
        notes.append(finding("text_encoding", "info", message, [decoded.encoding]))
    separator = _separator(decoded.text)
    if separator != "," and not (separator == "\t" and path.suffix.lower() in (".tsv", ".txt")):
        message = f"{path.name} is separated by {SEPARATORS[separator]}"
        if separator == "\t":
            message = f"{path.name} is separated by TABs in spite of its name"
        code = "tab_separated" if separator == "\t" else "other_separator"
        notes.append(Finding(code, "info", 1, message))
    return _table(path, _text_rows(path, decoded.text, separator), notes)


Rows = Iterable[tuple[int, list[str]]]
"""Line in the file, from 1, and cells."""


def _table(path: Path, rows: Rows, notes: list[Finding]) -> TableCells:
    filled, size = [], 0
    for line, cells in rows:
        size += len(cells)
        if len(filled) >= MOST_ROWS or size > MOST_CELLS:
            raise DataError(f"{path} has more than {MOST_ROWS:,} rows or {MOST_CELLS:,} cells: no label table has.")
        if any(cell.strip() for cell in cells):
            filled.append((line, cells))
    start = _header_at(filled)
    if start:
        message = f"lines of {path.name} before the header are a title or comments and are not read"
        notes.append(finding("lines_before_header", "info", message, [f"line {line}" for line, _ in filled[:start]]))
    header = [column_name(name) for name in filled[start][1]] if filled else []
    while header and not header[-1]:
        header.pop()
    faults: list[Finding] = []
    lines = filled[start + 1 :]
    long = {line for line, cells in lines if any(cell.strip() for cell in cells[len(header) :])}
    if long:
        remedy = "A decimal comma or a separator inside a cell, perhaps: put such cells in quotes"
        if len(long) == len(lines) and all(len(cells) == len(header) + 1 for _, cells in lines):
            remedy += ". Or row names without a column name, as R writes them: give that column a name, too"
        faults.append(_fault("row_too_long", path, long, f"more cells than the {len(header)} of the header. {remedy}"))
    if nul := {line for line, cells in lines if any("\0" in cell for cell in cells)}:
        faults.append(_fault("row_with_nul", path, nul, "a NUL character. The file is damaged: export it again"))
    bad = long | nul
    lines = [(line, cells) for line, cells in lines if line not in bad]
    if lost := [line for line, cells in lines if any(LOST in cell for cell in cells)]:
        message = f"lines of {path.name} hold bytes that are no UTF-8; they were replaced"
        notes.append(finding("text_not_utf8", "info", message, lost))
    return TableCells(path, header, lines, tuple(notes), tuple(faults))


def column_name(text: str) -> str:
    """A column's name as it is typed: one blank for any white space (Excel's line breaks), composed characters."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _fault(code: str, path: Path, lines: Iterable[int], why: str) -> Finding:
    listed = sorted(lines)
    message = f"{path}, {'line' if len(listed) == 1 else 'lines'} {some(listed)}: {why}."
    return Finding(code, "error", len(listed), message, tuple(f"line {line}" for line in listed[:10]))


def _header_at(rows: Sequence[tuple[int, list[str]]]) -> int:
    """Where the header is: after comments (#) and after titles, which have one cell where the next row has more."""
    start = 0
    while start < len(rows) - 1 and (first := rows[start][1][0].strip()).startswith("#") and first != "#":
        start += 1
    for at in range(start, min(start + 10, len(rows) - 2)):
        if _cells_in(rows[at]) > 1 or _cells_in(rows[at + 1]) < 3:
            return at
    return start


def _cells_in(row: tuple[int, list[str]]) -> int:
    return sum(bool(cell.strip()) for cell in row[1])


def _text_rows(path: Path, text: str, separator: str) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            if not (line == 1 and len(cells) <= 2 and cells and cells[0].strip().lower() == "sep="):  # Excel's own mark
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        word = SEPARATORS[separator]
        raise DataError(f"{path} is not a table separated by {word} (line {line}: {error}).") from error


def _separator(text: str) -> str:
    """What separates the cells: what divides the rows into as many cells as the header, and into most."""
    lines = [line for line in text[: 1 << 18].splitlines() if line.strip() and not line.lstrip().startswith("#")]
    lines = lines[:_LOOKED_AT]
    best, score = ",", (0.0, 1)
    for separator in SEPARATORS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        except csv.Error:
            continue
        header, rows = widths[0] if widths else 0, len(widths)
        if header == 1 and len(widths) > 2:  # a title in the first line
            widths = widths[1:]
            header = widths[0] if widths[0] > 2 else 1
        if header < 2:
            continue
        found = (sum(width == header for width in widths) / rows, header)
        if found > score or (found[0] >= 0.5 and score[0] < 0.5):
            best, score = separator, found
    return best


def _refuse_other_kinds(path: Path, content: bytes) -> None:
    start = content[:512].lstrip().lower()
    kind = (
        "an old Excel workbook (.xls) or another Office file: save it as .xlsx or csv"
        if content.startswith(_OLE)
        else "a PDF: a table is needed"
        if start.startswith(b"%pdf")
        else "a web page: the download gave no table but a page, perhaps one to sign in"
        if start.startswith((b"<!doctype html", b"<html"))
        else "a pointer of Git LFS and not the file itself: fetch it with `git lfs pull`"
        if start.startswith(b"version https://git-lfs")
        else None
    )
    if kind:
        raise DataError(f"{path} is {kind}.")
