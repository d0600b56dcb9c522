"""The id of an experiment is the hash of what decided its numbers: is it, and do the rows say the same?"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...leaderboards.result_row import ResultRow
from ..experiment import id_of
from ..recipe import RECIPES, Recipe, Tuning, loss_of
from ..recipe import title as recipe_title
from .verification import Verification

_NAMES = {
    "labels": "labels_fingerprint", "folds": "folds_fingerprint", "features": "features_fingerprint",
    "magnifications": "scales",
}  # fmt: skip

ONE_RATE = 2
"""The last protocol in which all models had one learning rate, so that any other was somebody's choice."""


def check_ids(rows: Sequence[ResultRow], id_fields: Mapping[str, Any], result: Verification) -> None:
    """Check the rows of one experiment against the fields that their id must be the hash of."""
    experiment = rows[0].experiment
    if not id_fields:
        result.skip(
            f"experiment {experiment}: what its id is made of was not kept, so its id is not checked; run it again"
        )
        return
    found = id_of(id_fields)
    if found != experiment:
        result.fault(f"experiment {experiment}: its description has the id {found}, so it is not of this experiment")
        return
    for row in rows:
        plain = row.to_json()
        for key, value in as_row_fields(id_fields).items():
            if key in plain and _plain(key, plain[key]) != _plain(key, value):
                result.fault(
                    f"{row_name(row)}: {key} is {plain[key]!r}, the description of the experiment says {value!r}"
                )
    result.passed("ids")


def row_name(row: ResultRow) -> str:
    """A row as messages name it."""
    return f"experiment {row.experiment} ({row.model} on {row.cohort}) fold {row.fold}"


def as_row_fields(id_fields: Mapping[str, Any]) -> dict[str, Any]:
    """What an id is made of, under the names of the fields of a row."""
    fields = {_NAMES.get(key, key): value for key, value in id_fields.items() if not key.startswith("_")}
    fields.setdefault("covariates", None)  # of a baseline and of imported predictions they are in no field
    found, tuning = fields.pop("recipe", None), fields.pop("tuning", None)
    if isinstance(found, Mapping) or isinstance(tuning, Mapping):
        with suppress(TypeError, ValueError):  # of a version with other fields: the hash covers them
            recipe = Recipe(**{**found, "faults": tuple(found.get("faults", ()))}) if found else None
            if recipe is not None and id_fields.get("protocol", 0) <= ONE_RATE:
                chosen = recipe.learning_rate != RECIPES[recipe.name].learning_rate
                recipe = replace(recipe, learning_rate_set=chosen)
            tuned = Tuning(**{key: of for key, of in tuning.items() if key != "tuner"}) if tuning else None
            if tuned is not None:
                untuned = {key: value for key, value in id_fields.items() if key != "tuning"}
                fields["untuned_experiment"] = id_of(untuned)
            fields |= {"loss": loss_of(recipe, tuned), "recipe": recipe_title(recipe, tuned)}
    return fields


def _plain(key: str, value: Any) -> Any:
    if key == "hyperparameters" and isinstance(value, str):
        return json.loads(value)
    return ",".join(map(str, value)) if key == "scales" and isinstance(value, list | tuple) else value
