"""What the out-of-fold risks of an experiment add to clinical covariates, and how well they rank within subgroups."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ...datasets.labels.read import Labels
from ...errors import DataError
from ...leaderboards.predictions import read_predictions
from ...names import check_choice
from ...survival.added_value import AddedValue, added_value, c_index_by
from .covariates import KNOWN, fit_columns

BY = ("is_female", "stage", "grade", "site")
FEWEST = 10
"""Patients below which a group joins `other`."""


@dataclass(frozen=True)
class Added:
    """found: what was added to `covariates`. groups: by covariate and value, patients, deaths and C-index. patients,
    fold: of `found.fused`."""

    covariates: tuple[str, ...]
    found: AddedValue
    groups: dict[str, dict[str, tuple[int, int, float | None]]]
    patients: tuple[str, ...]
    fold: tuple[int, ...]


def of_experiment(folder: Path, labels: Labels, covariates: Sequence[str] = ()) -> Added:
    """The experiment in `folder`, at its reading `selected`.

    covariates: those of the clinical baseline of the cohort, where none are given. Errors: `RowError` for predictions
    that cannot be read; `DataError` for other patients, patients with several scores, or covariates nobody has.
    """
    chosen = tuple(covariates or labels.clinical)
    if not chosen:
        raise DataError(f"{labels.cohort}: its tables hold no covariates; name some with --covariates")
    for name in chosen:
        check_choice("covariate", name, KNOWN)
    table = read_predictions(folder / "predictions.csv")
    table = pd.DataFrame(table[table["reading"] == "selected"]).sort_values(["fold", "patient"])
    names = [str(name) for name in table["patient"]]
    by_id = labels.by_id
    unknown = [name for name in names if name not in by_id]
    if unknown or len(set(names)) < len(names):
        what = f"{unknown[0]} has no label" if unknown else "a patient is scored more than once (slides, or repeats)"
        raise DataError(
            f"{folder.name}/predictions.csv: {what}; give the labels and an experiment of the same patients"
        )
    patients = [by_id[name] for name in names]
    columns = fit_columns(patients, chosen)
    if not columns.names:
        raise DataError(f"{labels.source}: {', '.join(chosen)} is the same for all patients, or of none")
    time, event, risk, fold = (np.asarray(table[name]) for name in ("time", "event", "risk", "fold"))
    fold = fold.astype(np.int64)
    groups = {}
    for name in BY:
        values = [str(patient.covariates.get(name, "")) or "missing" for patient in patients]
        kept = {value for value in values if values.count(value) >= FEWEST}
        grouped = [value if value in kept else "other" for value in values]
        if len(set(grouped)) > 1:
            groups[name] = c_index_by(time, event, risk, fold, grouped)
    found = added_value(time, event, columns.of(patients), risk, fold)
    return Added(chosen, found, groups, tuple(names), tuple(int(k) for k in fold))
