"""A second table that says which slides belong to which patient, as STAMP and hospitals keep it."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from ...errors import DataError, some
from ..findings import Finding, finding
from ..patient import patient_of
from ..slide_names import patient_key, slide_name
from ..tables.cells import read_cells
from .table import Row, Table

PATIENT = ("patient", "patient_id", "case_id", "case", "pid", "id", "subject_id", "case_submitter_id")
SLIDE = ("filename", "slide", "slide_id", "file", "file_name", "image", "image_id", "wsi")
"""What the two columns are called, in any case, the first that is there."""


def with_slide_table(table: Table, path: Path, max_bytes: int) -> Table:
    """The rows of a label table without slides, one a slide of the slide table at `path`.

    Patients match as `patient_key` says. Slides of patients who are not in the labels, and patients without a slide,
    are noted. DataError where the labels name slides too, where a column is missing, or where nobody has a slide.
    """
    if table.columns.slide is not None:
        raise DataError(
            f"{table.path} names slides itself (column {table.columns.slide}): leave --slide-table {path} out."
        )
    slides, notes = read_slide_table(path, max_bytes)
    by_key: dict[str, list[str]] = defaultdict(list)
    for patient, names in slides.items():
        by_key[patient_key(patient)] += names
    rows: list[Row] = []
    without = []
    for row in table.rows:
        mine = by_key.get(patient_key(patient_of(row.case_id)), [])
        rows += [replace(row, slide_id=slide) for slide in mine] or [row]
        if not mine:
            without.append(row.case_id)
    keys = {patient_key(patient_of(row.case_id)) for row in table.rows}
    others = [patient for patient in slides if patient_key(patient) not in keys]
    if len(without) == len(table.rows) and table.rows:
        raise DataError(
            f"no patient of {table.path} is in {path}: the labels name {some(sorted(set(without)), 3)}, the slide "
            f"table {some(sorted(slides), 3)}."
        )
    if without:
        message = f"patients have no slide in {path.name}"
        notes.append(finding("patients_without_slides", "warning", message, without))
    if others:
        message = f"patients of {path.name} are not in the labels; their slides are not used"
        notes.append(finding("unmatched_slides", "info", message, others))
    columns = replace(table.columns, slide=None)
    return replace(table, rows=rows, columns=columns, notes=[*table.notes, *notes])


def read_slide_table(path: Path, max_bytes: int) -> tuple[dict[str, list[str]], list[Finding]]:
    """Slides by patient, and what was noticed. DataError for a table without the two columns, or with blank cells."""
    cells = read_cells(path, max_bytes).sound()
    plain = [name.lower().replace(" ", "_") for name in cells.header]
    at = {}
    for key, names in (("patient", PATIENT), ("slide", SLIDE)):
        name = next((name for name in names if name in plain), None)
        if name is None:
            raise DataError(
                f"{path} has no column of {key}s: call it {names[0].upper()} (or {', '.join(names[1:4])}). "
                f"Found {some(cells.header, 12)}."
            )
        at[key] = plain.index(name)
    found: dict[str, list[str]] = defaultdict(list)
    blank = []
    for line, row in cells.lines:
        texts = {key: row[i].strip() if i < len(row) else "" for key, i in at.items()}
        if not all(texts.values()):
            blank.append(line)
        elif (slide := slide_name(texts["slide"])) not in found[patient := patient_of(texts["patient"])]:
            found[patient].append(slide)
    if blank:
        raise DataError(f"{path}, line {some(blank)}: patient or slide is blank. Correct the table.")
    return dict(found), list(cells.notes)
