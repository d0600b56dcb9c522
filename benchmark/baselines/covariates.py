"""Covariates as columns of numbers: imputation, scaling and categories, all learnt from the training set alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...datasets.patient import Patient

NUMERIC = ("age", "is_female")
CATEGORICAL = ("oncotree_code", "site", "stage", "grade")
KNOWN = (*NUMERIC, *CATEGORICAL)
RARE = 5
"""A category with fewer training patients than this joins the column of all rare ones: a site with two patients
would otherwise be a column that remembers two patients."""


@dataclass(frozen=True)
class CovariateColumns:
    """How patients become numbers. `names` are the columns; `centres` and `spreads` those of the numeric ones.

    categories: by covariate, the values that have a column of their own; whatever else a patient has, seen in
        training or not, falls into `other` where training had rare ones, and into no column where not.
    """

    names: tuple[str, ...]
    numeric: tuple[tuple[str, float, float], ...]
    categories: tuple[tuple[str, tuple[str, ...], bool], ...]

    def of(self, patients: Sequence[Patient]) -> NDArray[np.float64]:
        """The columns of these patients, (n, d). A missing number becomes the training median."""
        made: list[NDArray[np.float64]] = []
        for name, centre, spread in self.numeric:
            values = _numbers(patients, name)
            made.append((np.where(np.isnan(values), centre, values) - centre) / spread)
        for name, kept, other in self.categories:
            values = _words(patients, name)
            made += [np.array([value == word for value in values], dtype=float) for word in kept]
            if other:
                made.append(np.array([value not in kept for value in values], dtype=float))
        return np.stack(made, axis=1) if made else np.zeros((len(patients), 0))


def fit_columns(train: Sequence[Patient], covariates: Sequence[str], rare: int = RARE) -> CovariateColumns:
    """Learn the columns from the training patients. A covariate that is one and the same for all gives no column.

    covariates: some of `KNOWN`. Missing categories count as a category of their own, the empty word.
    """
    names: list[str] = []
    numeric: list[tuple[str, float, float]] = []
    categories: list[tuple[str, tuple[str, ...], bool]] = []
    for covariate in covariates:
        if covariate in NUMERIC:
            values = _numbers(train, covariate)
            if np.isnan(values).all():
                continue
            centre = float(np.nanmedian(values))
            spread = float(np.where(np.isnan(values), centre, values).std())
            if spread > 0:
                numeric.append((covariate, centre, spread))
                names.append(covariate)
            continue
        counts = Counter(_words(train, covariate))
        kept = tuple(sorted(word for word, count in counts.items() if count >= rare))
        other = len(kept) < len(counts)
        if len(kept) + other > 1:
            categories.append((covariate, kept, other))
            names += [f"{covariate}={word or 'missing'}" for word in kept] + [f"{covariate}=other"] * other
    # Numeric columns come first in `of`, whatever the order in which covariates were asked for.
    names.sort(key=lambda name: "=" in name)
    return CovariateColumns(tuple(names), tuple(numeric), tuple(categories))


def _numbers(patients: Sequence[Patient], name: str) -> NDArray[np.float64]:
    values = [patient.covariates.get(name) for patient in patients]
    return np.array([float(value) if isinstance(value, int | float) else np.nan for value in values])


def _words(patients: Sequence[Patient], name: str) -> list[str]:
    return [str(patient.covariates.get(name, "")) for patient in patients]
