"""A ridge Cox model of a few columns: what the controls are fitted with.

The partial likelihood is penalised by `alpha / 2 * |beta|^2` (Verweij and Van Houwelingen 1994); ties are Breslow's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv


class CannotFit(ValueError):
    """The Cox model has no solution on these columns; the message says what to change."""


@dataclass(frozen=True)
class Cox:
    """A fitted model: `coefficients` (d,) are log hazard ratios per unit of a column."""

    coefficients: NDArray[np.float64]
    _fitted: CoxPHSurvivalAnalysis

    def risk(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """The linear predictor of `columns` (n, d), as (n,): higher = earlier death."""
        return np.asarray(self._fitted.predict(columns), dtype=float)

    def survival(self, columns: NDArray[np.float64], months: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of being alive at `months` (m,), with Breslow's baseline; (n, m).

        Before the first time of the training part it is 1, after the last one what it was there.
        """
        steps = self._fitted.predict_survival_function(columns, return_array=True)  # (n, k)
        at = np.searchsorted(self._fitted.unique_times_, months, side="right")
        return np.concatenate([np.ones((len(columns), 1)), steps], axis=1)[:, at]


def fit_cox(
    columns: NDArray[np.float64], time: NDArray[np.float64], event: NDArray[np.bool_], alpha: float = 1.0
) -> Cox:
    """Fit on `columns` (n, d), `time` (n,) in months and `event` (n,) True = died.

    Errors: `CannotFit` where the optimiser leaves the finite numbers, as it may with `alpha` 0 and columns that
    determine each other.
    """
    try:
        model = CoxPHSurvivalAnalysis(alpha=alpha)  # pyright: ignore[reportArgumentType]  # it takes fractions too
        fitted = model.fit(columns, Surv.from_arrays(event, time))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise CannotFit(
            f"the Cox model cannot be fitted ({error}); raise the ridge penalty (alpha is {alpha:g})"
        ) from error
    return Cox(np.asarray(fitted.coef_, dtype=float), fitted)
