"""Entries: the form in which results are published and sent, a folder of a few plain files that anybody can check.

entry.json           format, title, who, when, licence, and the SHA-256 of the other files
rows.jsonl           the rows, as `result.json` holds them, one a line
experiments.jsonl    what each experiment's id is the hash of, and the edges of its survival columns
predictions.csv.gz   out-of-fold predictions, unless the patients are not the sender's to share
evidence.json        intervals, differences and curves instead, where there are no predictions

The same rows give the same bytes. An entry is read as data: files it does not name are refused, and so is one that
unpacks to more than it can hold.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ...files import write_whole
from ..predictions import check_predictions
from ..ranking.derived import Derived, parse_derived
from ..rows import ResultRow, RowError, check

FORMAT, VERSION = "milsurv-entry", 1
HEAD, ROWS, EXPERIMENTS = "entry.json", "rows.jsonl", "experiments.jsonl"
PREDICTIONS, EVIDENCE = "predictions.csv.gz", "evidence.json"
FILES = (ROWS, EXPERIMENTS, PREDICTIONS, EVIDENCE)
LARGEST = 512 << 20
"""Bytes that one file of an entry may hold, unpacked."""
_TEXT = ("title", "who", "when", "milsurv", "licence", "notes")


@dataclass(frozen=True)
class Head:
    """What `entry.json` says: about whom to ask and what may be done with it, and `files`, name to SHA-256."""

    title: str
    who: str
    when: str
    milsurv: str
    licence: str
    notes: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """An entry, read. `experiments` maps ids to what they are the hash of (`settled`) and the `edges` of each fold;
    `predictions` maps them to tables as `read_predictions` gives them; `derived` stands in where there are none."""

    name: str
    head: Head
    rows: tuple[ResultRow, ...]
    experiments: Mapping[str, Mapping[str, Any]]
    predictions: Mapping[str, pd.DataFrame]
    derived: Derived | None


def is_entry(folder: Path) -> bool:
    """Whether a folder is an entry, by its `entry.json`."""
    return (folder / HEAD).is_file()


def write_entry(
    folder: Path,
    head: Mapping[str, str],
    rows: Iterable[ResultRow],
    experiments: Mapping[str, Mapping[str, Any]],
    predictions: str | None,
    evidence: Mapping[str, Any] | None,
) -> Path:
    """Write an entry; `entry.json` last, so that a folder that holds it is whole.

    head: the text fields of `Head`. predictions: the table as csv text, see `prediction_table.py`. evidence: plain
    values as `parse_derived` takes them. Raises OSError where the folder cannot be written.
    """
    ordered = sorted(rows, key=lambda row: (row.experiment, row.fold))
    contents = {
        ROWS: "".join(f"{_json(row)}\n" for row in ordered).encode(),
        EXPERIMENTS: "".join(f"{_json(experiments[name])}\n" for name in sorted(experiments)).encode(),
    }
    if predictions is not None:
        contents[PREDICTIONS] = gzip.compress(predictions.encode(), 9, mtime=0)
    if evidence is not None:
        contents[EVIDENCE] = (json.dumps(evidence, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    for name in (HEAD, *FILES):
        (folder / name).unlink(missing_ok=True)
    for name, data in contents.items():
        write_whole(folder / name, data)
    told = {"format": FORMAT, "version": VERSION, **{key: head.get(key, "") for key in _TEXT}}
    told["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
    write_whole(folder / HEAD, json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    return folder


def read_entry(folder: Path, changed: list[str] | None = None) -> Entry:
    """An entry, with every file held to its checksum and every row to the schema.

    Raises RowError, naming the file and the line, for the first thing that is not as it should be; with `changed`,
    files that were changed are told there and read all the same, so that it can be said what was changed in them.
    """
    name = folder.resolve().name
    head = read_head(folder, name)
    contents = {}
    for file, checksum in head.files.items():
        contents[file] = _content(folder, name, file)
        found = hashlib.sha256(contents[file]).hexdigest()
        if found != checksum:
            told = f"{name}/{file}: was changed: its SHA-256 is {found[:12]}…, {HEAD} says {checksum[:12]}…"
            if changed is None:
                raise RowError(told)
            changed.append(told)
    rows = tuple(check(row, f"{name}/{ROWS} line {number}") for number, row in _lines(contents[ROWS], f"{name}/{ROWS}"))
    if len({(row.experiment, row.fold) for row in rows}) < len(rows):
        raise RowError(f"{name}/{ROWS}: holds one fold of one experiment twice; write the entry again")
    described = {}
    for number, one in _lines(contents.get(EXPERIMENTS, b""), f"{name}/{EXPERIMENTS}"):
        where = f"{name}/{EXPERIMENTS} line {number}"
        if not isinstance(one, dict) or not isinstance(one.get("experiment"), str):
            raise RowError(f"{where}: is not the description of an experiment; write the entry again")
        described[one["experiment"]] = {**one, "edges": _edges(one.get("edges"), where)}
    predictions = {}
    if PREDICTIONS in contents:
        predictions = _predictions(contents[PREDICTIONS], f"{name}/{PREDICTIONS}", described)
    derived = None
    if EVIDENCE in contents:
        derived = parse_derived(_parsed(contents[EVIDENCE], f"{name}/{EVIDENCE}"), f"{name}/{EVIDENCE}")
    own = {row.experiment for row in rows}
    for file, spoken in ((PREDICTIONS, set(predictions)), (EVIDENCE, derived.experiments if derived else set())):
        if foreign := sorted(spoken - own):
            raise RowError(f"{name}/{file}: speaks of experiments that are not its own: {', '.join(foreign[:5])}")
    return Entry(name, head, rows, described, predictions, derived)


def read_head(folder: Path, name: str) -> Head:
    """What `entry.json` says. Raises RowError for another format, a missing field, or files that it does not name."""
    where = f"{name}/{HEAD}"
    try:
        told = _parsed((folder / HEAD).read_bytes(), where)
    except OSError as error:
        raise RowError(f"{where}: cannot be read ({error.strerror or error})") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise RowError(f"{where}: is not the head of an entry (format {FORMAT!r} is missing)")
    if told.get("version") != VERSION:
        raise RowError(f"{where}: version {told.get('version')} is not the one this milsurv reads ({VERSION})")
    lacking = [key for key in _TEXT if not isinstance(told.get(key), str)]
    files = told.get("files")
    if lacking or not isinstance(files, dict) or ROWS not in files or set(files) - set(FILES):
        what = ", ".join(lacking) if lacking else f"files, which may name {', '.join(FILES)}"
        raise RowError(f"{where}: {what} is not as expected; write the entry again")
    strays = sorted({path.name for path in folder.iterdir()} - {HEAD, *files})
    if strays:
        raise RowError(f"{name}: holds files that {HEAD} does not name: {', '.join(strays)}; remove them")
    return Head(**{key: told[key] for key in _TEXT}, files={str(key): str(value) for key, value in files.items()})


def _content(folder: Path, name: str, file: str) -> bytes:
    path = folder / file
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST:
            raise RowError(f"{name}/{file}: is a link or larger than any entry; write the entry again")
        return path.read_bytes()
    except OSError as error:
        raise RowError(f"{name}/{file}: cannot be read ({error.strerror or error})") from error


def _predictions(data: bytes, name: str, described: Mapping[str, Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise RowError(f"{name}: cannot be unpacked ({error}); write the entry again") from error
    if len(text) > LARGEST:
        raise RowError(f"{name}: unpacks to more than {LARGEST >> 20} MiB, which no entry does")
    kinds: Any = {"experiment": str, "patient": str, "reading": str, "risk_group": str}
    try:
        table = pd.read_csv(io.BytesIO(text), dtype=kinds, keep_default_na=False, na_values=[""])
    except (ValueError, OSError) as error:
        raise RowError(f"{name}: cannot be read as a table ({error}); write the entry again") from error
    if "experiment" not in table.columns:
        raise RowError(f"{name}: column experiment is missing; write the entry again")
    table = check_predictions(table, name, "write the entry again")
    found = {}
    for experiment, mine in table.groupby("experiment", sort=True):
        edges: Mapping[int, Sequence[float]] = described.get(str(experiment), {}).get("edges", {})
        own = pd.DataFrame(mine.drop(columns="experiment").dropna(axis=1, how="all")).assign(line=mine.index + 2)
        width = max((len(edge) for edge in edges.values()), default=0)
        for j in range(width):
            at = {fold: edge[j] for fold, edge in edges.items() if len(edge) > j}
            own[f"edge_{j + 1}"] = [at.get(int(fold), float("nan")) for fold in own["fold"]]
        found[str(experiment)] = own
    return found


def _edges(found: object, where: str) -> dict[int, tuple[float, ...]]:
    try:
        assert isinstance(found, dict)
        return {int(fold): tuple(float(edge) for edge in edges) for fold, edges in found.items()}
    except (AssertionError, TypeError, ValueError) as error:
        raise RowError(f"{where}: edges are not numbers by fold; write the entry again") from error


def _lines(data: bytes, name: str) -> Iterable[tuple[int, Any]]:
    for number, line in enumerate(data.splitlines(), 1):
        yield number, _parsed(line, f"{name} line {number}")


def _parsed(data: bytes, name: str) -> Any:
    try:
        return json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{name}: is not JSON ({error}); write the entry again") from error


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")
