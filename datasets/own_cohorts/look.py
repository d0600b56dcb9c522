"""A cohort.toml from a label table: what its columns hold, as far as names and cells tell; the rest is asked for."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import DataError, some
from ...files import write_whole
from ..findings import Finding
from ..labels.columns import KEYS, check_there
from ..labels.forms import likely_columns, recognise
from ..labels.options import LabelOptions
from ..labels.read import read_labels
from ..labels.status_words import StatusWords, read_status
from ..labels.time_units import units_in
from ..tables.cells import TableCells, column_name, read_cells
from .cohort_file import FILE, read_cohort_file

Ask = Callable[[str, Sequence[str]], str | None]
"""Asks a question with these answers to choose from (none: any text); None where nobody can be asked."""


@dataclass(frozen=True)
class Looked:
    """What a new cohort.toml says, and what was noticed while its labels were read."""

    path: Path
    content: Mapping[str, object]
    patients: int
    events: int
    findings: tuple[Finding, ...] = field(default=())


def init(
    folder: Path, labels: Path, options: LabelOptions, ask: Ask, *, title: str = "", name: str = "",
    folds: Path | None = None, features: Sequence[Path] = (), centre: str | None = None, overwrite: bool = False,
) -> Looked:  # fmt: skip
    """Look at a label table and write the cohort.toml of a folder. The labels are read with it before it is written.

    DataError for a table that cannot be read, for columns that nobody names, and for a file that is there already.
    """
    path = folder / FILE
    if path.exists() and not overwrite:
        raise DataError(f"{path} is there already: change it by hand, or write it anew with --overwrite.")
    cells = read_cells(labels, options.max_bytes, options.sheet)
    columns = _columns(labels, cells, options, ask)
    site = columns.pop("site", None)
    centre = centre or site
    words = options.status_words
    if not words and (column := columns.get("event") or columns.get("censorship")):
        words = _words(cells, column, options.endpoint, ask)
    sites = {"site": centre} if centre else {}
    read = replace(options, columns=(columns | sites) or None, status_words=words)
    found = read_labels(labels, "own", read)
    content: dict[str, object] = {
        "title": title,
        "name": name,
        "labels": _beside(folder, labels),
        "sheet": options.sheet,
        "slide_table": None if options.slide_table is None else _beside(folder, options.slide_table),
        "folds": None if folds is None else _beside(folder, folds),
        "features": [_beside(folder, one) for one in features],
        "endpoint": "" if options.endpoint == "os" else options.endpoint,
        "unusable_times": "" if options.unusable_times == "error" else options.unusable_times,
        "centre": centre,
        "columns": columns,
        "status_words": {"died": sorted(words.died), "censored": sorted(words.censored)},
    }
    write_whole(path, toml_of(content))
    read_cohort_file(path)
    return Looked(path, content, found.counts.patients, found.counts.events, found.findings)


def _columns(path: Path, cells: TableCells, options: LabelOptions, ask: Ask) -> dict[str, str]:
    """What the columns hold, as far as no option says it; nothing more for a table that is recognised."""
    found = {key: column_name(name) for key, name in (options.columns or {}).items()}
    check_there(path, cells.header, found)
    try:
        recognise(path, cells.header, options.endpoint, found)
        return found
    except DataError:
        likely = likely_columns(cells.header, options.endpoint)
    if "event" not in {*likely, *found} and len(censorships := likely.get("censorship", [])) == 1:
        found.setdefault("censorship", censorships[0])
    for key in ("patient", "time", "event"):
        if key in found or (key == "event" and "censorship" in found):
            continue
        names = likely.get(key, [])
        if key == "time":
            names = [name for name in names if units_in(name)] or names
        name = names[0] if len(names) == 1 else ask(f"Which column holds the {_ASKED[key]}?", names or cells.header)
        if name is None:
            among = f" It may be {', '.join(names)}." if names else f" Found {some(cells.header, 12)}."
            remedy = f"Name it: --columns {key}=..."
            raise DataError(f"{path}: no column is known to hold the {_ASKED[key]}.{among} {remedy}")
        found[key] = name
    if "unit" not in found and len(units_in(found["time"])) != 1:
        unit = ask(f"In which unit is {found['time']}?", ("days", "weeks", "months", "years"))
        if unit is None:
            raise DataError(f"{path}: the unit of {found['time']!r} is not in its name. Say it: --columns unit=days")
        found["unit"] = unit
    for key in ("slide", "age", "sex", "is_female", "site"):
        if key in found or (options.slide_table is not None and key == "slide"):
            continue
        if len(names := [n for n in likely.get(key, []) if n not in found.values()]) == 1:
            found[key] = names[0]
    return found


_ASKED = {
    "patient": "patients",
    "time": "time of follow-up",
    "event": "outcome (1, or a word, for a death)",
}


def _words(cells: TableCells, column: str, endpoint: str, ask: Ask) -> StatusWords:
    """Words of the outcome that are not known, as the user says; none where all are."""
    at = cells.header.index(column) if column in cells.header else None
    if at is None:
        return StatusWords()
    words = sorted({row[at].strip() for _, row in cells.lines if at < len(row) and row[at].strip()})
    unknown = [word for word in words if _says(word, endpoint) is None]
    if not unknown or len(words) > 12:
        return StatusWords()
    said = ask(f"Which words of {column} mean died? ({', '.join(words)}; several divided by |)", ())
    return StatusWords() if said is None else StatusWords.of(said.split("|"), ())


def _says(word: str, endpoint: str) -> bool | None:
    try:
        return read_status(word, True, endpoint, StatusWords(), letters=False)
    except ValueError:
        return None


def _beside(folder: Path, path: Path) -> str:
    """A path as it is seen from the folder of the file."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def toml_of(content: Mapping[str, object]) -> str:
    """Texts, lists of texts and tables of both as TOML; what is empty is left out."""
    lines, tables = [], []
    for key, value in content.items():
        if isinstance(value, Mapping):
            inside = [f"{_key(k)} = {json.dumps(v, ensure_ascii=False)}" for k, v in value.items() if v]
            tables += ["", f"[{key}]", *inside] if inside else []
        elif value:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join((*lines, *tables)) + "\n"


def _key(key: str) -> str:
    return key if key in KEYS or key.isidentifier() else json.dumps(key, ensure_ascii=False)
