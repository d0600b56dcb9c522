"""The trials of a fold whose settings were tuned, as a table beside its results: tuning.csv, one line a trial."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRIALS = "tuning.csv"
_FACTS = ("number", "state", "value", "inner", "seconds", "epochs", "error")


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a fold.

    Attributes
    ----------
    number
        From 0; trial 0 is the setting without tuning.
    state
        `finished`, `stopped` (early, because it was behind), `failed` (`error` says why), or `running`.
    value
        C-index on held-out patients of the training set, over all inner folds; None unless finished.
    inner
        C-index of each inner fold, in order; with a single validation split its own.
    settings
        What was tried, by name.
    seconds, epochs
        How long it took, and how many epochs were trained in all.
    """

    number: int
    state: str
    value: float | None
    inner: tuple[float, ...]
    settings: Mapping[str, Any]
    seconds: float = 0.0
    epochs: int = 0
    error: str | None = None


def trial_lines(records: Sequence[TrialRecord]) -> list[dict[str, object]]:
    """The trials as lines of the table: what is known of each, then its settings. `inner` is separated by blanks."""
    return [
        {
            "number": record.number,
            "state": record.state,
            "value": "" if record.value is None else record.value,
            "inner": " ".join(map(str, record.inner)),
            "seconds": record.seconds,
            "epochs": record.epochs,
            "error": record.error or "",
            **{name: json.dumps(value).strip('"') for name, value in sorted(record.settings.items())},
        }
        for record in records
    ]


def read_trials(folder: Path) -> list[TrialRecord]:
    """The trials of the finished fold in `folder`, in order; none where it was not tuned."""
    if not (folder / TRIALS).is_file():
        return []
    with (folder / TRIALS).open(encoding="utf-8", newline="") as file:
        return [_record(line) for line in csv.DictReader(file)]


def _record(line: Mapping[str, str]) -> TrialRecord:
    return TrialRecord(
        number=int(line["number"]),
        state=line["state"],
        value=float(line["value"]) if line["value"] else None,
        inner=tuple(map(float, line["inner"].split())),
        settings={name: _plain(text) for name, text in line.items() if name not in _FACTS},
        seconds=float(line["seconds"]),
        epochs=int(line["epochs"]),
        error=line["error"] or None,
    )


def _plain(text: str) -> Any:
    """A setting as it was: a number, true or false, or a word."""
    try:
        return json.loads(text)
    except ValueError:
        return text
