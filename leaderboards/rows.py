"""Rows of results as they lie on disk: one `result.json`, one flat row, one fold of one experiment.

Results are written by whoever trains and read here as plain data. A row that cannot be trusted is never ranked and
never dropped in silence: it becomes a `Problem`, which every board lists.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RowError
from .schema import faults

Row = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """Something that was left out of the board, and why: `where` is a path below the results folder."""

    where: str
    message: str


@dataclass(frozen=True)
class Rows:
    """What lies below the result folders.

    `rows` are checked flat rows sorted by experiment and fold; `folders` gives the folder of each experiment (where its
    predictions lie); `problems` lists every file that was not taken.
    """

    rows: tuple[Row, ...]
    folders: Mapping[str, Path]
    problems: tuple[Problem, ...]


def read_row(path: Path, name: str | None = None) -> Row:
    """One `result.json` as a checked row.

    `name` is what messages call the file (its path by default). Raises RowError for a file that is no JSON object or
    does not follow the schema.
    """
    name = name or str(path)
    try:
        row = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise RowError(f"{name}: cannot be read ({error.strerror or error}); check the file's permissions") from error
    except (ValueError, RecursionError) as error:
        raise RowError(f"{name}: is not JSON ({error}); delete it and run this fold again") from error
    return check(row, name)


def check(row: object, name: str = "row") -> Row:
    """The same row if it follows the schema (see `schema.py`); otherwise RowError with every fault in it."""
    found = faults(row)
    if found:
        raise RowError(f"{name}: {'; '.join(found)}. Delete this file and run the fold again")
    assert isinstance(row, dict)
    return row


def read_rows(folders: Path | Sequence[Path], published: Mapping[str, Sequence[Row]] | None = None) -> Rows:
    """All rows below one or several folders (`.../experiments/<id>/fold-<k>/result.json`), and those of entries.

    published: checked rows by the name of the entry they come from. The same row found twice counts once; two different
    rows for one fold of one experiment are a problem, and the one created last is kept. Raises RowError only where a
    folder does not exist: a damaged file is a `Problem` instead.
    """
    roots = [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]
    taken: dict[tuple[str, int], tuple[Row, str]] = {}
    places: dict[str, Path] = {}
    problems: list[Problem] = []

    def take(row: Row, name: str) -> None:
        key = (row["experiment"], row["fold"])
        earlier = taken.setdefault(key, (row, name))
        if _numbers(earlier[0]) != _numbers(row):
            kept = max((earlier, (row, name)), key=lambda pair: str(pair[0].get("created") or ""))
            message = f"a second, different row of experiment {key[0]} fold {key[1]}; {kept[1]} is kept (created last)"
            problems.append(Problem(name, message))
            taken[key] = kept

    for root in roots:
        if not root.is_dir():
            raise RowError(f"{root}: no such folder; give the folder that `bench run --out` wrote")
        files = sorted(root.rglob("fold-*/result.json"))
        if not files and published is None:
            problems.append(Problem(root.name, "no result.json below this folder; run an experiment into it first"))
        problems += _without_rows(root, files)
        for path in files:
            name = path.relative_to(root).as_posix()
            try:
                row = read_row(path, name)
            except RowError as error:
                problems.append(Problem(name, str(error).removeprefix(f"{name}: ")))
                continue
            take(row, name)
            places.setdefault(row["experiment"], path.parent.parent)
    for name, rows in (published or {}).items():
        for row in rows:
            take(row, name)
    rows = tuple(row for _, (row, _) in sorted(taken.items()))
    return Rows(rows, places, tuple(problems))


def _numbers(row: Row) -> Row:
    """A row without its command: entries are sent with file names where results have whole paths."""
    return {key: value for key, value in row.items() if key != "command"}


def _without_rows(root: Path, files: Iterable[Path]) -> list[Problem]:
    """Experiments that were begun (`experiment.json`) and have no row of any fold."""
    with_rows = {path.parent.parent for path in files}
    # Only where experiments live: a tracking store below the same folder keeps copies of this file.
    begun = sorted(path.parent for path in root.rglob("experiments/*/experiment.json"))
    message = "this experiment was begun and no fold of it has a result; run it again"
    return [Problem(folder.relative_to(root).as_posix(), message) for folder in begun if folder not in with_rows]


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number; a metric that cannot be computed is null")
