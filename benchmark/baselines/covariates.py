"""Covariates as columns of numbers: imputation, scaling and categories, all learnt from the training set alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...datasets.labels.read import Labels
from ...datasets.patient import Patient
from ...errors import DataError, UsageError
from ...names import check_choice

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

    def own_words(self) -> dict[str, frozenset[str]]:
        """By covariate, the values that have a column of their own."""
        return {name: frozenset(kept) for name, kept, _ in self.categories}


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


def parse_covariates(text: str) -> tuple[str, ...]:
    """What `--covariates` names, joined by commas. Errors: `UsageError` for none, and for unknown ones."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    for name in found:
        check_choice("covariate", name, KNOWN)
    if not found or len(set(found)) < len(found):
        raise UsageError(f"--covariates {text}: name at least one, each once")
    return found


def check_covariates(labels: Labels, covariates: Sequence[str], varying: bool = False) -> None:
    """Check that labels hold covariates.

    Parameters
    ----------
    varying
        Whether each must also tell some patients from others.

    Raises
    ------
    DataError
        A covariate is known of nobody, or is one and the same for everybody.
    """
    for name in covariates:
        known = {str(patient.covariates.get(name, "")) for patient in labels.patients}
        if known == {""}:
            raise DataError(
                f"{labels.source} says {name} of no patient. Leave it out of --covariates, or name its column with "
                f"--columns {name}=…"
            )
        if varying and len(known) == 1:
            raise DataError(
                f"{labels.source}: {name} is {known.pop()} for all {len(labels.patients)} patients, and tells none "
                "from another. Leave it out of --covariates"
            )


def _numbers(patients: Sequence[Patient], name: str) -> NDArray[np.float64]:
    values = [patient.covariates.get(name) for patient in patients]
    return np.array([float(value) if isinstance(value, int | float) else np.nan for value in values])


def _words(patients: Sequence[Patient], name: str) -> list[str]:
    return [str(patient.covariates.get(name, "")) for patient in patients]
