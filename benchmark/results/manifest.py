"""files.json: what each file of a fold holds, so that a cut, emptied or changed one is not taken for the result."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

MANIFEST, RESULT = "files.json", "result.json"
CHANGING = frozenset({"created", "seconds", "tuning_seconds", "hardware", "code_version"})
"""Fields of a row that say when and where a fold was computed: the same fold computed again may differ in them."""


def manifest(files: Mapping[str, str | bytes], result: str) -> str:
    """The text of files.json: by name the bytes and the SHA-256 of each file, and the rows of tables.

    Of `result`, the text of result.json, it is the SHA-256 of all fields but the `CHANGING` ones.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        rows = {"rows": data.count(b"\n") - 1} if name.endswith(".csv") else {}
        found[name] = {"bytes": len(data), **rows, "sha256": hashlib.sha256(data).hexdigest()}
    found[RESULT] = {"sha256": _of_row(result.encode())}
    return json.dumps(found, indent=2) + "\n"


def listed(folder: Path) -> dict[str, str] | None:
    """The SHA-256 of every file that the folder's files.json lists; None where it has none: older results.

    Errors: `ValueError` where files.json is damaged.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(text, type=dict[str, dict[str, Any]])
        return {name: str(entry["sha256"]) for name, entry in found.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
        raise ValueError(f"{MANIFEST} is damaged") from error


def fault_of(folder: Path, rows: int) -> str | None:
    """What is wrong with the files of a finished fold, in words; None where they are as they were written.

    A weights file that is gone is no fault: it can be deleted to save space. rows: how many lines predictions.csv must
    have; that is all there is to check where no files.json lists the files.
    """
    try:
        found = listed(folder)
        if found is None:
            lines = (folder / "predictions.csv").read_bytes().count(b"\n") - 1
            return None if lines == rows else f"predictions.csv has {max(lines, 0)} rows of {rows}"
        for name, expected in found.items():
            path = folder / name
            if not path.is_file() and path.suffix == ".safetensors":
                continue
            if name == RESULT:
                if _of_row(path.read_bytes()) != expected:
                    return f"{name} is not as it was written"
                continue
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    return f"{name} is not as it was written ({path.stat().st_size} bytes)"
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read ({error.strerror})"
    except ValueError as error:
        return str(error)
    return None


def _of_row(content: bytes) -> str:
    """Errors: `ValueError` where it is no JSON object."""
    try:
        row = msgspec.json.decode(content, type=dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{RESULT} is damaged") from error
    kept = {key: value for key, value in row.items() if key not in CHANGING}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
