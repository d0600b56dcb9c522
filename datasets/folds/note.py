"""folds.json: what milsurv notes beside folds that it saved, so that they are not used with other labels unnoticed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import DataError
from ...files import fingerprint
from ..findings import Finding
from ..labels.read import Labels

FILE = "folds.json"
FORMAT = "milsurv-folds"
VERSION = 1
_FIELDS = {"labels": "labels_fingerprint", "folds": "folds_fingerprint"}
"""The fields of a Note whose key in the file is another."""


@dataclass(frozen=True)
class Note:
    """How folds were made, and for which labels.

    `labels_fingerprint` is that of the labels, `outcomes` of ids, times and events alone (slides may change with
    the features at hand), `files` of the identifiers in the files, `folds_fingerprint` that of `Folds`.
    """

    name: str
    kind: str
    k: int
    repeats: int
    seed: int | None
    cohort: str
    source: str
    patients: int
    events: int
    labels_fingerprint: str
    outcomes: str
    folds_fingerprint: str
    files: str

    def compare(self, labels: Labels, files: str) -> list[Finding]:
        """Whether these are the labels the folds were made for, and the files as they were saved."""
        found = []
        if self.files != files:
            message = "the folds were changed after milsurv saved them; they go by the name of their folder"
            found.append(Finding("folds_edited", "warning", 1, message))
        if self.outcomes != fingerprint_of_outcomes(labels):
            message = (
                f"the folds were made for other labels ({self.patients} patients and {self.events} events of "
                f"{self.source}; now {labels.counts.patients} and {labels.counts.events}): results do not compare, "
                "make the folds again"
            )
            found.append(Finding("labels_changed", "warning", 1, message))
        elif self.labels_fingerprint != labels.fingerprint:
            message = "patients and outcomes are those the folds were made for, but the slides are not"
            found.append(Finding("slides_changed", "info", 1, message))
        return found


def fingerprint_of_outcomes(labels: Labels) -> str:
    """A hash of who was followed for how long and who died."""
    return fingerprint([p.id, repr(p.time), p.event] for p in labels.patients)


def read_note(folder: Path) -> Note | None:
    """The note in `folder`, or None where there is none. DataError if it cannot be read as one."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text("utf-8"))
        if content.pop("format") != FORMAT or content.pop("version") != VERSION:
            raise DataError(f"{path} is not a note on folds of version {VERSION}: delete it, the folds stay readable.")
        note = Note(**{_FIELDS.get(str(key), str(key)): value for key, value in content.items()})
        if not all(isinstance(n, int) and n >= 1 for n in (note.k, note.repeats)):
            raise ValueError("k and repeats must be whole numbers")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read ({error}): delete it, the folds stay readable.") from error
    return note


def text_of(note: Note) -> str:
    """The note as it is written."""
    keys = {field: key for key, field in _FIELDS.items()}
    written = {keys.get(field, field): value for field, value in asdict(note).items()}
    return json.dumps({"format": FORMAT, "version": VERSION, **written}, indent=1) + "\n"
