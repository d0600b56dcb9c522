"""Covariates of patients whose outcome is not known: what a model of image and clinic needs of them to predict."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import DataError, some
from ...names import check_choice
from ..findings import finding
from ..patient import patient_of, site_of
from ..slide_names import patient_key
from ..tables.cells import TableCells, read_cells
from ..tables.numbers import decimals_of
from .columns import COVARIATES, check_there
from .covariates import Cells, ages, women
from .forms import likely_columns
from .options import LabelOptions
from .table import filled

Covariates = Mapping[str, object]
"""Of one patient, by name."""


class ClinicalTable:
    """The covariates of a table by patient, and what was noticed.

    Parameters
    ----------
    path
        A table as labels are read from; times and outcomes may be there and are not read.
    wanted
        The covariates that are read: some of age, is_female, oncotree_code, site, stage, grade.
    options
        Which columns hold them, by `columns`: `{"patient": "PID", "age": "AGE_YEARS"}`; others by their names.

    Raises
    ------
    DataError
        A column is missing or called in no known way, a patient is blank, or rows of one patient contradict each other.
    """

    def __init__(self, path: Path, wanted: Sequence[str], options: LabelOptions | None = None) -> None:
        options = options or LabelOptions()
        cells = read_cells(path, options.max_bytes, options.sheet).sound()
        self.path, self.wanted, self.findings = path, tuple(wanted), list(cells.notes)
        columns = _columns(cells, wanted, options.columns or {})
        patients = self._texts(cells, columns.pop("patient"))
        if blank := [line for line, text in patients if text is None]:
            raise DataError(f"{path}, line {some(blank)}: the patient is blank. Correct the table.")
        values = {name: self._values(cells, name, column) for name, column in columns.items()}
        self._spellings: dict[str, str] = {}
        self._known: dict[str, dict[str, object]] = {}
        for row, (line, text) in enumerate(patients):
            who = patient_of(str(text))
            key = patient_key(who)
            if self._spellings.setdefault(key, who) != who:
                raise DataError(f"{path}, line {line}: {who} is {self._spellings[key]} elsewhere. Spell it in one way.")
            mine = self._known.setdefault(key, {})
            for name, found in values.items():
                if found[row] is None:
                    continue
                name = "is_female" if name == "sex" else name
                if mine.setdefault(name, found[row]) != found[row]:
                    raise DataError(
                        f"{path}, line {line}: {name} of {who} is {found[row]} here and {mine[name]} in another row. "
                        "Correct the table."
                    )
            if site := site_of(who):
                mine["site"] = site

    def of(self, patients: Sequence[str]) -> dict[str, Covariates]:
        """The covariates of these patients. What one lacks is noted; it counts as it did in training.

        Errors: `DataError` for patients without a row.
        """
        keys = {name: patient_key(name) for name in patients}
        if absent := [name for name, key in keys.items() if key not in self._known]:
            raise DataError(
                f"{self.path} has no row of {len(absent)} of {len(keys)} patients: {some(absent)}. It has "
                f"{some(sorted(self._spellings.values()), 3)}. Add them, or choose slides with --slide"
            )
        found = {name: self._known[key] for name, key in keys.items()}
        for covariate in self.wanted:
            if gone := [name for name, mine in found.items() if covariate not in mine]:
                message = f"{covariate} is not known of patients; they count as those without it did in training"
                self.findings.append(finding(f"{covariate}_missing", "warning", message, gone))
        return dict(found)

    def _texts(self, cells: TableCells, column: str) -> Cells:
        at = cells.header.index(column)
        return [(line, filled(row[at]) if at < len(row) else None) for line, row in cells.lines]

    def _values(self, cells: TableCells, name: str, column: str) -> Sequence[object | None]:
        texts = self._texts(cells, column)
        if name == "age":
            read = decimals_of([text for _, text in texts], 120, " years")
            if read.doubt:
                raise DataError(f"{self.path}: {column}: {read.doubt}. Write every number with a point.")
            return ages(self.path, column, texts, read.sign, self.findings)
        if name in ("is_female", "sex"):
            return women(self.path, column, texts, name == "is_female", self.findings)
        return [text for _, text in texts]


def _columns(cells: TableCells, wanted: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The column of the patient and of every covariate that is wanted."""
    for key in given:
        check_choice("key of --columns", key, ("patient", *COVARIATES[:-1]), DataError)
    check_there(cells.path, cells.header, given)
    likely = likely_columns(cells.header)
    found: dict[str, str] = {}
    for name in ("patient", *wanted):
        keys = ("is_female", "sex") if name == "is_female" else (name,)
        named = [(key, [given[key]]) for key in keys if key in given]
        spelt = [(key, [key]) for key in keys if key in cells.header]
        alike = [(key, likely[key]) for key in keys if key in likely]
        key, columns = (*named, *spelt, *alike, (name, []))[0]
        if not columns and name == "site":
            continue  # barcodes say it
        if len(columns) != 1:
            why = f"has no column of {name}"
            if columns:
                why = f"has several columns that may hold {name} ({', '.join(columns)})"
            raise DataError(
                f"{cells.path} {why}: name it with --columns {name}=… It has the columns {some(cells.header, 12)}"
            )
        if cells.header.count(columns[0]) > 1:
            raise DataError(
                f"{cells.path} has the column {columns[0]} more than once: which one counts? Rename the others."
            )
        found[key] = columns[0]
    return found
