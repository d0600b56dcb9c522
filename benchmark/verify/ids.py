"""The id of an experiment is the hash of what decided its numbers: is it, and do the rows say the same?"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ...leaderboards.rows import ResultRow
from ..experiment import id_of
from ..recipe import Recipe
from ..recipe import title as recipe_title
from .report import Report

_NAMES = {
    "labels": "labels_fingerprint", "folds": "folds_fingerprint", "features": "features_fingerprint",
    "magnifications": "scales",
}  # fmt: skip


def check_ids(rows: Sequence[ResultRow], settled: Mapping[str, Any], report: Report) -> None:
    """Hold the rows of one experiment against the description that their id must be the hash of."""
    experiment = rows[0]["experiment"]
    if not settled:
        report.skip(f"experiment {experiment}: its description was not kept, so its id is not checked; run it again")
        return
    found = id_of(settled)
    if found != experiment:
        report.fault(f"experiment {experiment}: its description has the id {found}, so it is not of this experiment")
        return
    for row in rows:
        for key, value in said(settled).items():
            if key in row and _plain(key, row[key]) != _plain(key, value):
                report.fault(f"{told(row)}: {key} is {row[key]!r}, the description of the experiment says {value!r}")
    report.held("ids")


def told(row: ResultRow) -> str:
    """A row as messages name it."""
    return f"experiment {row.experiment} ({row.model} on {row.cohort}) fold {row.fold}"


def said(settled: Mapping[str, Any]) -> dict[str, Any]:
    """The description in the words of a row."""
    words = {_NAMES.get(key, key): value for key, value in settled.items() if not key.startswith("_")}
    recipe = words.pop("recipe", None)
    if isinstance(recipe, Mapping):
        words["loss"] = recipe.get("loss")
        with suppress(TypeError, ValueError):  # of a version with other fields: the hash holds them
            words["recipe"] = recipe_title(Recipe(**{**recipe, "faults": tuple(recipe.get("faults", ()))}))
    return words


def _plain(key: str, value: Any) -> Any:
    if key == "hyperparameters" and isinstance(value, str):
        return json.loads(value)
    return ",".join(map(str, value)) if key == "scales" and isinstance(value, list | tuple) else value
