"""Reads mutated inputs, one a line of standard input, and says of each what became of it; see mutations.py.

The answer is `refused` (an error that users see), `same` (what was read is the truth), or `changed` or `traceback` with
the reason.
"""

import csv
import io
import json
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from milsurv.benchmark.results.folder import ResultFolder
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.folds.read import read_splits
from milsurv.datasets.labels.read import read_labels
from milsurv.errors import DataError, RowError, UsageError
from milsurv.leaderboards.cache.store import Cache
from milsurv.leaderboards.entries.entry import read_entry

Read = Callable[[Path, Path], str]
"""Of what was mutated and what it was made from: why it is not the truth, empty where it is."""


def labels(mutated: Path, whole: Path) -> str:
    """What was accepted stands in the text of a plain file; packed files have checksums and are what they were."""
    found = read_labels(mutated / "labels.csv", "mine") if (mutated / "labels.csv").exists() else None
    if found is None:
        (path,) = mutated.iterdir()
        (original,) = whole.iterdir()
        found, before = read_labels(path, "mine"), read_labels(original, "mine")
        return "" if found.fingerprint == before.fingerprint else "another table was read"
    # Another encoding is a finding that names it.
    named = next((f.examples[0] for f in found.findings if f.code == "text_encoding"), "utf-8")
    text = (mutated / "labels.csv").read_bytes().decode(named, "replace").lstrip("\ufeff")
    cells = {tuple(cell.strip() for cell in row) for row in csv.reader(io.StringIO(text, newline="")) if row}
    for patient in found.patients:
        own = [row for row in cells if len(row) > 3 and row[0].strip() == patient.id]
        if not any(_number(row[2]) == patient.time and _number(row[3]) == int(not patient.event) for row in own):
            return f"{patient.id} was read as {patient.time} {patient.event}, which no line says"
    return ""


def _number(text: str) -> float | None:
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def folds(mutated: Path, whole: Path) -> str:
    """Every patient of a fold that was accepted stands in its file, on that side; who is left out is a finding."""
    known = read_labels(whole.parent / "labels" / "labels.csv", "mine")
    patients = {_spelling(patient.id): patient.id for patient in known.patients}
    found = read_splits(mutated, known)
    for split in found.splits:
        text = (mutated / f"splits_{split.fold}.csv").read_text("utf-8", "replace").lstrip("\ufeff")
        rows = list(csv.DictReader(line for line in io.StringIO(text, newline="") if line.strip()))
        for side, ids in (("train", split.train), ("test", split.test)):
            said = {
                _spelling(cell)
                for row in rows
                for name, cell in row.items()
                if isinstance(cell, str) and cell.strip() and (name or "").strip().lower() == side
            }
            if set(ids) != {patients[one] for one in said if one in patients}:
                return f"{side} of fold {split.fold} is not what its file says"
            if said - patients.keys() and not found.findings:
                return f"who is left out of {side} of fold {split.fold} is not said"
    return ""


def _spelling(text: str) -> str:
    """A patient in the spellings that folds may use: small and capital letters, numbers with and without zeros."""
    return re.sub(r"0*(\d+)", r"\1", text.strip().lower())


def entry(mutated: Path, whole: Path) -> str:
    """Checksums: what is accepted is what was sent."""
    found, before = read_entry(mutated), read_entry(whole)
    same = found.rows == before.rows and found.experiments == before.experiments
    same = same and all(table.equals(found.predictions[name]) for name, table in before.predictions.items())
    return "" if same else "the entry was read as another"


def results(mutated: Path, whole: Path) -> str:
    """A fold that counts as finished is the fold that was finished."""
    name = json.loads((whole / "experiment.json").read_text())["id"]
    found = []
    for place in (mutated, whole):
        folder = ResultFolder(Path("nowhere"), SimpleNamespace(id=name, recipe=object()))  # type: ignore[arg-type]
        folder.path = place
        rows = [folder.finished(fold) for fold in (0, 1)]
        found.append(
            [row and (row.to_json(), (place / f"fold-{row.fold}" / "predictions.csv").read_bytes()) for row in rows]
        )
    for mine, theirs in zip(*found, strict=True):
        if mine is not None and (_kept(mine[0]), mine[1]) != (_kept(theirs[0]), theirs[1]):
            return "a changed fold counts as finished"
    if None in found[0]:
        raise RowError("computed again")
    return ""


def _kept(row: dict[str, object]) -> dict[str, object]:
    return {k: v for k, v in row.items() if k not in ("created", "seconds", "hardware", "code_version")}


def features(mutated: Path, whole: Path) -> str:
    """Arrays are what was written."""
    mine, theirs = open_features(mutated), open_features(whole)
    for slide in sorted(theirs.slides & mine.slides):
        for magnification in theirs.facts(slide):
            one, other = mine.read(slide, magnification), theirs.read(slide, magnification)
            if not np.array_equal(one[0], other[0]) or not np.array_equal(one[1], other[1]):
                return f"other numbers of {slide} were read"
    if theirs.slides - mine.slides:
        raise DataError("slides are missing")
    return ""


def cache(mutated: Path, whole: Path) -> str:
    """A value from the cache is the value that was computed."""
    numbers = [0.1 * i for i in range(50)]
    found = Cache(mutated).get(list[float], "numbers", lambda: "inputs", lambda: numbers)
    return "" if found == numbers else "another value came from the cache"


READERS: dict[str, Read] = {
    "labels": labels, "packed labels": labels, "folds": folds, "entry": entry, "results": results,
    "features": features, "cache": cache,
}  # fmt: skip


def main() -> None:
    """Answer until standard input ends."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        kind, mutated, whole = json.loads(line)
        try:
            why = READERS[kind](Path(mutated), Path(whole))
            answer = ("changed", why) if why else ("same", "")
        except (DataError, RowError, UsageError) as error:
            answer = ("refused", "") if str(error).strip() else ("traceback", "an error without words")
        except Exception as error:
            answer = ("traceback", f"{type(error).__name__}: {error}"[:300])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
