"""What a row must hold: the keys, their kinds, and which of them may be null.

The list is the contract between whoever writes results and this room. A reader that meets a key it does not know
keeps it.
"""

import json
import math
from collections.abc import Iterator

from ..survival.metrics import METRICS

SCHEMA = 1
READINGS = ("selected", "last", "best")
STATUSES = ("finished", "failed", "running")

# Known for every fold that was ever started.
_TEXT = ("status", "experiment", "model", "cohort", "folds_name", "hyperparameters")
_COUNTS = ("schema", "fold", "n_folds", "seed")
# Known for every row, null where it does not apply (a control reads no features and has no loss).
_TEXT_OR_NULL = ("family", "scales", "backbone", "loss", "recipe", "slides")
# Known once a fold is finished: without them rows cannot be compared.
_FINGERPRINTS = ("labels_fingerprint", "folds_fingerprint")
_FINISHED_COUNTS = ("patients", "events", "n_test", "events_test")
# May be absent; checked where present.
_OPTIONAL_TEXT = (
    "error", "features_fingerprint", "code_version", "torch_version", "device", "hardware", "created", "command",
)  # fmt: skip
_OPTIONAL_COUNTS = (
    "n_train", "n_val", "events_train", "events_val", "parameters", "epochs", "epoch_selected", "epoch_last",
    "epoch_best",
)  # fmt: skip


def faults(row: object) -> list[str]:
    """Every way in which `row` departs from the schema, as text that names the key; empty for a sound row."""
    if not isinstance(row, dict):
        return [f"holds {type(row).__name__} where one JSON object is expected"]
    version = row.get("schema")
    if isinstance(version, int) and version != SCHEMA:
        return [f"schema {version} is not the schema this version of milsurv reads ({SCHEMA}); update milsurv"]
    found = [*_identity(row)]
    if row.get("status") == "finished":
        found += _finished(row)
    return [*found, *_optional(row)]


def _identity(row: dict) -> Iterator[str]:
    for key in _TEXT:
        if not isinstance(row.get(key), str) or not row[key]:
            yield _expected(row, key, "text")
    for key in _COUNTS:
        if not _is_count(row.get(key)):
            yield _expected(row, key, "a whole number >= 0")
    for key in _TEXT_OR_NULL:
        if key not in row or not isinstance(row[key], str | None):
            yield _expected(row, key, "text or null")
    if not isinstance(row.get("synthetic"), bool):
        yield _expected(row, "synthetic", "true or false")
    if isinstance(row.get("status"), str) and row["status"] not in STATUSES:
        yield f"status is {row['status']!r}; expected one of {', '.join(STATUSES)}"
    if _is_count(row.get("fold")) and _is_count(row.get("n_folds")) and row["fold"] >= row["n_folds"]:
        yield f"fold is {row['fold']}, yet n_folds is {row['n_folds']}; folds count from 0"
    if isinstance(row.get("hyperparameters"), str) and not _is_object_text(row["hyperparameters"]):
        yield "hyperparameters is not the JSON text of an object"


def _finished(row: dict) -> Iterator[str]:
    for key in _FINGERPRINTS:
        if not isinstance(row.get(key), str) or not row[key]:
            yield _expected(row, key, "text")
    for key in _FINISHED_COUNTS:
        if not _is_count(row.get(key)):
            yield _expected(row, key, "a whole number >= 0")
    for reading in READINGS:
        if f"c_index_{reading}" not in row:
            yield _expected(row, f"c_index_{reading}", "a number, or null with why")


def _optional(row: dict) -> Iterator[str]:
    for key in _OPTIONAL_TEXT:
        if not isinstance(row.get(key), str | None):
            yield _expected(row, key, "text or null")
    for key in _OPTIONAL_COUNTS:
        if row.get(key) is not None and not _is_count(row[key]):
            yield _expected(row, key, "a whole number >= 0")
    seconds = row.get("seconds")
    if seconds is not None and not (_is_number(seconds) and seconds >= 0):
        yield _expected(row, "seconds", "a number >= 0")
    bounds = {f"{name}_{reading}": one.bounds for name, one in METRICS.items() for reading in READINGS}
    for key, (low, high) in {**bounds, "ibs_km": (0, 1), "oracle_c_index": (0, 1)}.items():
        value = row.get(key)
        if value is not None and not (_is_number(value) and low <= value <= high):
            yield _expected(row, key, f"a number between {low:g} and {high:g}, or null")


def _expected(row: dict, key: str, what: str) -> str:
    return f"{key} is {row[key]!r}; expected {what}" if key in row else f"{key} is missing; expected {what}"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_object_text(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
