"""The truth of a simulated cohort: a file beside its labels which no model ever reads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..files import write_whole

FILE = "truth.json"
FORMAT = "milsurv-synthetic-twin"
VERSION = 1


@dataclass(frozen=True)
class Truth:
    """How a cohort was simulated (`parameters`), the true log hazard of each patient (`risk`) and its C-index."""

    parameters: Mapping[str, object]
    risk: Mapping[str, float]
    oracle_c_index: float


def read_truth(folder: Path) -> Truth | None:
    """The truth in `folder`, or None if there is none. DataError if it cannot be read as one."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise DataError(f"{path} is not the truth of a simulated cohort of version {VERSION}: simulate it again.")
        risk = {str(patient): float(value) for patient, value in content["risk"].items()}
        return Truth(dict(content["parameters"]), risk, float(content["oracle_c_index"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read ({error}): delete it and simulate the cohort again.") from error


def write_truth(folder: Path, truth: Truth) -> None:
    """Write `truth` into `folder`, whole or not at all."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "note": "Drawn, not observed: a synthetic cohort. Risk is the true log hazard of each patient.",
        "parameters": dict(truth.parameters),
        "oracle_c_index": truth.oracle_c_index,
        "risk": dict(truth.risk),
    }
    write_whole(folder / FILE, json.dumps(content, indent=1))
