"""PANTHER's folds: one folder a fold (`TCGA_BRCA_overall_survival_k=0`) with train.csv and test.csv or val.csv.

Every file has one row a slide, with outcomes in days for several endpoints, so that labels and folds are one thing.
"""

import re
from dataclasses import replace
from pathlib import Path

from ...errors import DataError, some
from ..findings import finding
from ..tables.cells import TableCells, read_cells
from .options import LabelOptions
from .table import Table, parse_rows

_FOLD = re.compile(r"^(?P<family>.*?)_?k=?(?P<fold>\d+)$", re.IGNORECASE)


def is_fold_folder(folder: Path) -> bool:
    """Whether `folder` is one fold of PANTHER's, or holds such folds."""
    return (folder / "train.csv").is_file() or any(_folds(folder))


def fold_folders(folder: Path, cohort: str) -> dict[int, Path]:
    """The folders of the folds of `cohort` in `folder`; a folder that is itself a fold is the only one.

    DataError where folds of several cohorts lie there and none, or more than one series, is called like this one.
    """
    if (folder / "train.csv").is_file():
        match = _FOLD.match(folder.name)
        return {int(match["fold"]) if match else 0: folder}
    families: dict[str, dict[int, Path]] = {}
    for path in _folds(folder):
        match = _FOLD.match(path.name)
        if match:
            families.setdefault(match["family"], {})[int(match["fold"])] = path
    mine = [f for f in families if cohort.lower() in re.split(r"[^0-9a-z]+", f.lower())]
    chosen = mine or (list(families) if len(families) == 1 else [])
    if len(chosen) != 1:
        raise DataError(
            f"{folder} holds folds of {some(sorted(families), 12)}; {'several' if chosen else 'none'} of them "
            f"are of {cohort}. Give the folder of one series alone."
        )
    return dict(sorted(families[chosen[0]].items()))


def parts_of(folder: Path) -> dict[str, Path]:
    """The files of one fold: train, and test and val where they exist; of test_<name>.csv the one of TCGA."""
    found = {name: folder / f"{name}.csv" for name in ("train", "val", "test") if (folder / f"{name}.csv").is_file()}
    named = sorted(folder.glob("test_tcga*.csv"))
    if "test" not in found and len(named) == 1:
        found["test"] = named[0]
    if "test" not in found and "val" not in found:
        raise DataError(f"{folder} has no test.csv and no val.csv beside train.csv.")
    return found


def table_of_folds(folder: Path, cohort: str, options: LabelOptions) -> Table:
    """All rows of all folds as one table. DataError as for any table, and for a fold without a test set."""
    tables: list[Table] = []
    external: list[str] = []
    for path in fold_folders(folder, cohort).values():
        parts = parts_of(path)
        external += [f"{path.name}/{p.name}" for p in sorted(path.glob("*.csv")) if p not in parts.values()]
        tables += [parse_rows(read_cells(part, options.max_bytes), options) for part in parts.values()]
    first = tables[0]
    rows = [row for table in tables for row in table.rows]
    notes = [note for table in tables for note in table.notes]
    if external:
        message = "files of the folds are of other cohorts; not used"
        notes.append(finding("external_parts", "info", message, external))
    faults = [fault for table in tables for fault in table.faults]
    return replace(first, path=folder, rows=rows, faults=faults, notes=notes)


def identifiers(part: Path) -> list[str]:
    """The patients of a part, each once, in the order of the file."""
    cells: TableCells = read_cells(part).sound()
    if "case_id" not in cells.header:
        raise DataError(f"{part} has no column case_id; found {some(cells.header)}.")
    at = cells.header.index("case_id")
    return list(dict.fromkeys(row[at].strip() for _, row in cells.lines if at < len(row) and row[at].strip()))


def _folds(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and (p / "train.csv").is_file())
