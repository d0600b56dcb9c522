"""Image and clinic together: a trained model and covariates joined by late fusion, Cox models nested in the fold.

1. The clinic is a ridge Cox of the covariates, fitted on the training set without the validation split: the patients
   that the model has learned from.
2. A second ridge Cox joins two columns on the validation split: the clinic's linear predictor and the model's risk,
   each standardised by its mean and spread there. Its linear predictor is the risk, with Breslow's baseline.

The training set must not be used for the second: a model's risks of the patients whom it has learned from are
overfitted, so that it would be trusted more than it deserves. Nothing of the test fold is used. Where slides are bags,
their risks are first made those of patients; where slides are scored, each has the covariates of its patient.

References
----------
Boulesteix and Sauerbrei: Added predictive value of high-throughput molecular data to clinical data and its validation.
Briefings in Bioinformatics 2011.
Verweij and Van Houwelingen: Penalized likelihood in Cox regression. Statistics in Medicine 1994.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...datasets.patient import Patient
from ...errors import DataError
from ...survival.cox import CannotFit, Cox, fit_cox
from ..baselines.covariates import CovariateColumns, fit_columns
from ..baselines.fit import followup

PENALTY = 1.0
"""Of both ridges, that of the baseline clinical-cox."""


@dataclass(frozen=True)
class Clinic:
    """What is known of the patients of a fold beside their slides.

    Parameters
    ----------
    covariates
        Which of what is known is joined with the image.
    train, val, test
        Who is scored of the training set without the validation split, of the validation split, and of the test fold.
    source
        Where covariates come from, for messages.
    """

    covariates: tuple[str, ...]
    train: tuple[Patient, ...]
    val: tuple[Patient, ...]
    test: tuple[Patient, ...]
    source: str


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """A fitted fusion, as plain numbers that are kept with the weights.

    Parameters
    ----------
    columns, clinic
        How covariates become columns, and the log hazard ratio of each: (d,).
    centres, spreads, coefficients
        Of the two columns that are joined, the clinic's linear predictor and the model's risk: mean and standard
        deviation on the validation split, and log hazard ratio per standard deviation.
    months, hazard
        Breslow's cumulative baseline hazard after each death of the validation split.
    """

    columns: CovariateColumns
    clinic: tuple[float, ...]
    centres: tuple[float, float]
    spreads: tuple[float, float]
    coefficients: tuple[float, float]
    months: tuple[float, ...]
    hazard: tuple[float, ...]

    def risk(self, patients: Sequence[Patient], image: NDArray[np.float64]) -> NDArray[np.float64]:
        """The risk (n,) of these patients, given the model's (n,): higher = earlier death."""
        both = np.column_stack([self.columns.of(patients) @ np.array(self.clinic), image])  # (n, 2)
        return (both - self.centres) / self.spreads @ np.array(self.coefficients)

    def survival(self, risk: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability (n, m) of being alive at `edges` (m,) in months, of those with these risks (n,)."""
        hazard = np.array([0.0, *self.hazard])[np.searchsorted(self.months, edges, side="right")]  # (m,)
        return np.exp(-np.exp(risk)[:, None] * hazard)


def fuse(clinic: Clinic, image: NDArray[np.float64], fold: int) -> Fusion:
    """Fit both Cox models of a fold.

    Parameters
    ----------
    image
        (n,) the model's risks of `clinic.val`.
    fold
        Its number, for messages.

    Raises
    ------
    DataError
        Covariates that are the same for all patients of the training set, or a Cox model without a solution.
    """
    where = f"{clinic.source}, fold {fold}"
    columns = fit_columns(clinic.train, clinic.covariates)
    if not columns.names:
        raise DataError(
            f"{where}: {', '.join(clinic.covariates)} is the same for all patients of the training set, so that there "
            "is nothing to join. Choose other --covariates, or leave them out"
        )
    coefficients = _fit(columns.of(clinic.train), clinic.train, where).coefficients
    both = np.column_stack([columns.of(clinic.val) @ coefficients, image])  # (n, 2)
    centres, spreads = both.mean(axis=0), both.std(axis=0)
    spreads = np.where(spreads > 0, spreads, 1.0)
    joined = _fit((both - centres) / spreads, clinic.val, where)
    months, hazard = joined.breslow()
    return Fusion(
        columns=columns,
        clinic=tuple(coefficients.tolist()),
        centres=tuple(centres.tolist()),
        spreads=tuple(spreads.tolist()),
        coefficients=tuple(joined.coefficients.tolist()),
        months=tuple(months.tolist()),
        hazard=tuple(hazard.tolist()),
    )


def check_validation(clinic: Clinic, fold: int) -> None:
    """Check before a model is trained that there is a validation split to join it on.

    Raises
    ------
    DataError
        Nobody of the validation split died, or there is none.
    """
    if not any(patient.event for patient in clinic.val):
        raise DataError(
            f"{clinic.source}: nobody died in the validation split of fold {fold} ({len(clinic.val)} patients), on "
            "which image and clinic are joined. Add --set validation=0.3, use other folds, or leave --covariates out"
        )


def _fit(columns: NDArray[np.float64], patients: Sequence[Patient], where: str) -> Cox:
    known = followup(patients)
    try:
        return fit_cox(columns, known.time, known.event, PENALTY)
    except CannotFit as error:
        raise DataError(f"{where}: {error}") from error
