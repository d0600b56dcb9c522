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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...survival.cox import CannotFit, Cox, fit_cox
from ...survival.followup import FollowUp, Prediction

PENALTY = 1.0
"""Of both ridges, that of the baseline clinical-cox."""
CONSTANT = 1e-6
"""A column with a smaller spread, relative to its mean, differs in the rounding of single precision alone: it is not
scaled up."""

LARGEST = 700.0
"""Of log hazard ratios, of a patient unlike all of the validation split: infinity times no hazard is no number."""


@dataclass(frozen=True)
class Clinic:
    """The covariates of a fold as columns of numbers, d of them, and the follow-up of whom they are learned from.

    Parameters
    ----------
    train, val, test
        (n, d) of the training set without the validation split, of that split, and of the test fold: of all who are
        scored there, in their order.
    train_followup, val_followup
        Of the first two.
    columns
        How covariates become these columns, as plain data that are kept with the weights.
    where
        Where they come from, for messages.
    """

    train: NDArray[np.float64]
    val: NDArray[np.float64]
    test: NDArray[np.float64]
    train_followup: FollowUp
    val_followup: FollowUp
    columns: Mapping[str, Any]
    where: str


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """A fitted fusion, as plain numbers that are kept with the weights.

    Parameters
    ----------
    columns, clinic
        How covariates become columns, see `Clinic`, and the log hazard ratio of each: (d,).
    centres, spreads, coefficients
        Of the two columns that are joined, the clinic's linear predictor and the model's risk: mean and standard
        deviation on the validation split, and log hazard ratio per standard deviation.
    months, hazard
        Breslow's cumulative baseline hazard after each death of the validation split.
    median
        Of the risk on the validation split: patients above it are the high-risk group.
    """

    columns: Mapping[str, Any]
    clinic: tuple[float, ...]
    centres: tuple[float, float]
    spreads: tuple[float, float]
    coefficients: tuple[float, float]
    months: tuple[float, ...]
    hazard: tuple[float, ...]
    median: float

    def __post_init__(self) -> None:
        """Errors: `ValueError` for numbers that do not belong together."""
        if len(self.months) != len(self.hazard):
            raise ValueError(f"a hazard at {len(self.hazard)} times, of which {len(self.months)} are known")

    def predict(self, covariates: NDArray[np.float64], image: Prediction) -> Prediction:
        """Risk, survival and risk group of n patients.

        Parameters
        ----------
        covariates
            Theirs, (n, d).
        image
            What the model predicts of them; survival is given at the same months.
        """
        assert image.edges is not None
        both = np.column_stack([covariates @ np.array(self.clinic), image.risk])  # (n, 2)
        risk = (both - self.centres) / self.spreads @ np.array(self.coefficients)  # (n,)
        hazard = np.array([0.0, *self.hazard])[np.searchsorted(self.months, image.edges, side="right")]  # (m,)
        ratio = np.exp(np.minimum(risk, LARGEST))  # (n,)
        return Prediction(risk, np.exp(-ratio[:, None] * hazard), image.edges, risk > self.median)


def fuse(clinic: Clinic, image: NDArray[np.float64]) -> Fusion:
    """Fit both Cox models of a fold, given the model's risks (n,) of the validation split.

    Raises
    ------
    DataError
        A Cox model has no solution.
    """
    coefficients = _fit(clinic.train, clinic.train_followup, clinic.where).coefficients
    both = np.column_stack([clinic.val @ coefficients, image])  # (n, 2)
    centres, spreads = both.mean(axis=0), both.std(axis=0)
    spreads = np.where(spreads > CONSTANT * np.maximum(1.0, np.abs(centres)), spreads, 1.0)
    standard = (both - centres) / spreads
    joined = _fit(standard, clinic.val_followup, clinic.where)
    months, hazard = joined.breslow()
    return Fusion(
        columns=clinic.columns,
        clinic=tuple(coefficients.tolist()),
        centres=tuple(centres.tolist()),
        spreads=tuple(spreads.tolist()),
        coefficients=tuple(joined.coefficients.tolist()),
        months=tuple(months.tolist()),
        hazard=tuple(hazard.tolist()),
        median=float(np.median(joined.risk(standard))),
    )


def _fit(columns: NDArray[np.float64], known: FollowUp, where: str) -> Cox:
    try:
        return fit_cox(columns, known.time, known.event, PENALTY)
    except CannotFit as error:
        raise DataError(f"{where}: {error}") from error
