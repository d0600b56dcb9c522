"""Entries: the form in which results are published and sent, a folder of a few plain files that anybody can check.

entry.json           format, title, who, when, licence, and the SHA-256 of the other files
rows.jsonl           the rows, as `result.json` holds them, one a line
experiments.jsonl    what each experiment's id is the hash of, and the edges of its survival columns
predictions.csv.gz   out-of-fold predictions, unless the patients are not the sender's to share
evidence.json        intervals, differences and curves instead, where there are no predictions

The same rows give the same bytes. An entry is read as data: files it does not name are refused, and so is one that
unpacks to more than any entry holds.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import pandas as pd

from ...errors import RowError
from ...files import read_regular, write_whole
from ..predictions import check_predictions
from ..ranking.published_evidence import PublishedEvidence, parse_evidence
from ..result_row import ResultRow, parse_row

FORMAT, VERSION = "milsurv-entry", 1
HEAD, ROWS, EXPERIMENTS = "entry.json", "rows.jsonl", "experiments.jsonl"
PREDICTIONS, EVIDENCE = "predictions.csv.gz", "evidence.json"
FILES = (ROWS, EXPERIMENTS, PREDICTIONS, EVIDENCE)
LARGEST = {HEAD: 1 << 20, **dict.fromkeys(FILES, 64 << 20)}
"""Bytes that a file of an entry may hold: more is refused before it is read."""
UNPACKED, LINES, WIDTH = 128 << 20, 2_000_000, 1000
"""What predictions.csv.gz may unpack to: bytes, lines and columns. Three thousand experiments fit."""
_REMEDY = "write the entry again"
T = TypeVar("T")


class EntryHead(msgspec.Struct, frozen=True):
    """What `entry.json` holds: whom to ask and what may be done with it, and `files`, name to SHA-256."""

    title: str
    who: str
    when: str
    milsurv: str
    licence: str
    notes: str
    files: dict[Literal["rows.jsonl", "experiments.jsonl", "predictions.csv.gz", "evidence.json"], str]


class ExperimentRecord(msgspec.Struct, frozen=True):
    """A line of `experiments.jsonl`.

    id_fields: what the experiment's id is the hash of; empty where an older version did not write it.
    edges: by fold, the months at which the survival columns stand.
    """

    experiment: str
    id_fields: dict[str, Any] = msgspec.field(name="settled", default_factory=dict)
    edges: dict[int, tuple[float, ...]] = msgspec.field(default_factory=dict)


class _Format(msgspec.Struct, frozen=True):
    format: Any = None
    version: Any = None


@dataclass(frozen=True)
class Entry:
    """An entry, read. `experiments` are by id; so are the `predictions`, tables as `read_predictions` gives them;
    `published` is the evidence in their place where there are none."""

    name: str
    head: EntryHead
    rows: tuple[ResultRow, ...]
    experiments: Mapping[str, ExperimentRecord]
    predictions: Mapping[str, pd.DataFrame]
    published: PublishedEvidence | None


def write_entry(
    folder: Path,
    head: Mapping[str, str],
    rows: Iterable[ResultRow],
    experiments: Iterable[ExperimentRecord],
    predictions: str | None,
    evidence: Mapping[str, Any] | None,
) -> Path:
    """Write an entry; `entry.json` last, so that a folder that holds it is whole.

    head: the text fields of `EntryHead`. predictions: the table as csv text, see `prediction_table.py`. evidence: plain
    values as `parse_evidence` takes them. Raises OSError where the folder cannot be written.
    """
    plain_rows = [row.to_json() for row in sorted(rows, key=lambda row: (row.experiment, row.fold))]
    records = [msgspec.to_builtins(one, str_keys=True) for one in sorted(experiments, key=lambda one: one.experiment)]
    contents = {
        ROWS: "".join(f"{_json(row)}\n" for row in plain_rows).encode(),
        EXPERIMENTS: "".join(f"{_json(record)}\n" for record in records).encode(),
    }
    if predictions is not None:
        contents[PREDICTIONS] = gzip.compress(predictions.encode(), 9, mtime=0)
    if evidence is not None:
        contents[EVIDENCE] = (json.dumps(evidence, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    for name in (HEAD, *FILES):
        (folder / name).unlink(missing_ok=True)
    for name, data in contents.items():
        write_whole(folder / name, data)
    texts = {key: head.get(key, "") for key in EntryHead.__struct_fields__ if key != "files"}
    files = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
    whole = {"format": FORMAT, "version": VERSION, **texts, "files": files}
    write_whole(folder / HEAD, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    return folder


def read_entry(folder: Path, changed: list[str] | None = None) -> Entry:
    """An entry, with the checksum of every file and every row checked.

    Raises RowError, naming the file and the line, for the first thing that is not as it should be; with `changed`,
    files that were changed are listed there and read all the same, so that the report can say what was changed in them.
    """
    name = folder.resolve().name
    head = read_head(folder, name)
    contents = {}
    for file, checksum in head.files.items():
        contents[file] = _content(folder, name, file)
        found = hashlib.sha256(contents[file]).hexdigest()
        if found != checksum:
            fault = f"{name}/{file}: was changed: its SHA-256 is {found[:12]}…, {HEAD} says {checksum[:12]}…"
            if changed is None:
                raise RowError(fault)
            changed.append(fault)
    rows = tuple(
        parse_row(_parsed(line, where, dict), where, _REMEDY.capitalize())
        for where, line in _lines(contents[ROWS], f"{name}/{ROWS}")
    )
    if len({(row.experiment, row.fold) for row in rows}) < len(rows):
        raise RowError(f"{name}/{ROWS}: holds one fold of one experiment twice; {_REMEDY}")
    records = [
        _parsed(line, where, ExperimentRecord)
        for where, line in _lines(contents.get(EXPERIMENTS, b""), f"{name}/{EXPERIMENTS}")
    ]
    experiments = {record.experiment: record for record in records}
    predictions, published = {}, None
    if PREDICTIONS in contents:
        predictions = _predictions(contents[PREDICTIONS], f"{name}/{PREDICTIONS}", experiments)
    if EVIDENCE in contents:
        published = parse_evidence(contents[EVIDENCE], f"{name}/{EVIDENCE}")
    own = {row.experiment for row in rows}
    for file, held in ((PREDICTIONS, set(predictions)), (EVIDENCE, published.experiments if published else set())):
        if foreign := sorted(held - own):
            raise RowError(f"{name}/{file}: holds experiments that are not its own: {', '.join(foreign[:5])}")
    return Entry(name, head, rows, experiments, predictions, published)


def read_head(folder: Path, name: str) -> EntryHead:
    """What `entry.json` holds. Raises RowError for another format, a missing field, or files that it does not name."""
    where = f"{name}/{HEAD}"
    try:
        data = read_regular(folder / HEAD, LARGEST[HEAD], links=False)
    except OSError as error:
        raise RowError(f"{where}: cannot be read ({error.strerror or error})") from error
    kind = _parsed(data, where, _Format)
    if kind.format != FORMAT:
        raise RowError(f"{where}: is not the head of an entry (format {FORMAT!r} is missing)")
    if kind.version != VERSION:
        raise RowError(f"{where}: version {kind.version} is not the one this milsurv reads ({VERSION})")
    head = _parsed(data, where, EntryHead)
    if ROWS not in head.files:
        raise RowError(f"{where}: names no {ROWS}; {_REMEDY}")
    strays = sorted({path.name for path in folder.iterdir()} - {HEAD, *head.files})
    if strays:
        raise RowError(f"{name}: holds files that {HEAD} does not name: {', '.join(strays)}; remove them")
    return head


def _content(folder: Path, name: str, file: str) -> bytes:
    try:
        return read_regular(folder / file, LARGEST[file], links=False)
    except OSError as error:
        raise RowError(f"{name}/{file}: cannot be read ({error.strerror or error})") from error


def _predictions(data: bytes, name: str, experiments: Mapping[str, ExperimentRecord]) -> dict[str, pd.DataFrame]:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            parts, size = [], 0
            while size <= UNPACKED and (part := file.read(1 << 20)):
                parts, size = [*parts, part], size + len(part)
            text = b"".join(parts)
    except (OSError, EOFError, zlib.error) as error:
        raise RowError(f"{name}: cannot be unpacked ({error}); write the entry again") from error
    if len(text) > UNPACKED:
        raise RowError(f"{name}: unpacks to more than {UNPACKED >> 20} MiB; send it as several entries")
    if text.count(b"\n") > LINES or text[: text.find(b"\n")].count(b",") > WIDTH:
        raise RowError(f"{name}: has more than {LINES:,} lines or {WIDTH} columns; send it as several entries")
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
        record = experiments.get(str(experiment))
        edges: Mapping[int, Sequence[float]] = {} if record is None else record.edges
        own = pd.DataFrame(mine.drop(columns="experiment").dropna(axis=1, how="all")).assign(line=mine.index + 2)
        width = max((len(edge) for edge in edges.values()), default=0)
        for j in range(width):
            at = {fold: edge[j] for fold, edge in edges.items() if len(edge) > j}
            own[f"edge_{j + 1}"] = [at.get(int(fold), float("nan")) for fold in own["fold"]]
        found[str(experiment)] = own
    return found


def _lines(data: bytes, name: str) -> Iterable[tuple[str, bytes]]:
    for number, line in enumerate(data.splitlines(), 1):
        yield f"{name} line {number}", line


def _parsed(data: bytes, name: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise RowError(f"{name}: is not as expected ({error}); {_REMEDY}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RowError(f"{name}: is not JSON ({error}); {_REMEDY}") from error


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
