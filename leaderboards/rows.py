"""Rows of results as they lie on disk: one `result.json` is one row, one fold of one experiment.

Results are written by whoever trains and read here as plain data. A row that cannot be trusted is never ranked and
never dropped in silence: it becomes a `Problem`, which every board lists.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ..errors import RowError
from ..files import read_regular
from .result_row import ResultRow, parse_row

LARGEST = 4 << 20
"""Bytes of one row; none has a hundredth of it."""


@dataclass(frozen=True)
class Problem:
    """Something that was left out of the board, and why: `where` is a path below the results folder."""

    where: str
    message: str


@dataclass(frozen=True)
class Rows:
    """What lies below the result folders.

    `rows` are sorted by experiment and fold; `folders` gives the folder of each experiment (where its predictions lie);
    `problems` lists every file that was left out.
    """

    rows: tuple[ResultRow, ...]
    folders: Mapping[str, Path]
    problems: tuple[Problem, ...]


def read_row(path: Path, name: str | None = None) -> ResultRow:
    """One `result.json`.

    `name` is what messages call the file (its path by default). Raises RowError for a file that is no JSON object or
    does not hold a row.
    """
    name = name or str(path)
    try:
        found = msgspec.json.decode(read_regular(path, LARGEST))
    except OSError as error:
        raise RowError(f"{name}: cannot be read ({error.strerror or error}); check the file's permissions") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RowError(f"{name}: is not JSON ({error}); delete it and run this fold again") from error
    return parse_row(found, name)


def read_rows(folders: Path | Sequence[Path], published: Mapping[str, Sequence[ResultRow]] | None = None) -> Rows:
    """All rows below one or several folders (`.../experiments/<id>/fold-<k>/result.json`), and those of entries.

    published: rows by the name of the entry they come from. The same row found twice counts once; two different rows
    for one fold of one experiment are a problem, and the one created last is used. Raises RowError only where a folder
    does not exist: a damaged file is a `Problem` instead.
    """
    roots = [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]
    found: dict[tuple[str, int], tuple[ResultRow, str]] = {}
    places: dict[str, Path] = {}
    problems: list[Problem] = []

    def add(row: ResultRow, name: str) -> None:
        key = (row.experiment, row.fold)
        earlier = found.setdefault(key, (row, name))
        # Commands may differ: entries are sent with file names where results have whole paths.
        if earlier[0] is not row and replace(earlier[0], command=None) != replace(row, command=None):
            latest = max((earlier, (row, name)), key=lambda pair: pair[0].created or "")
            message = (
                f"a second, different row of experiment {key[0]} fold {key[1]}; {latest[1]} is used (created last)"
            )
            problems.append(Problem(name, message))
            found[key] = latest

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
            add(row, name)
            places.setdefault(row.experiment, path.parent.parent)
    for name, rows in (published or {}).items():
        for row in rows:
            add(row, name)
    return Rows(tuple(row for _, (row, _) in sorted(found.items())), places, tuple(problems))


def _without_rows(root: Path, files: Iterable[Path]) -> list[Problem]:
    """Experiments that were begun (`experiment.json`) and have no row of any fold."""
    with_rows = {path.parent.parent for path in files}
    # Only where experiments live: a tracking store below the same folder keeps copies of this file.
    begun = sorted(path.parent for path in root.rglob("experiments/*/experiment.json"))
    message = "this experiment was begun and no fold of it has a result; run it again"
    return [Problem(folder.relative_to(root).as_posix(), message) for folder in begun if folder not in with_rows]
