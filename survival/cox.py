"""Cox's proportional hazards model of a few columns with a ridge penalty: what the baselines are fitted with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sksurv.linear_model import CoxPHSurvivalAnalysis


class CannotFit(ValueError):
    """The Cox model has no solution on these columns; the message says what to change."""


@dataclass(frozen=True)
class Cox:
    """A fitted model.

    Parameters
    ----------
    coefficients
        (d,) log hazard ratios per unit of a column.

    """

    coefficients: NDArray[np.float64]
    _fitted: "CoxPHSurvivalAnalysis"

    def risk(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """The linear predictor of `columns` (n, d), as (n,): higher = earlier death."""
        return np.asarray(self._fitted.predict(columns), dtype=float)

    def survival(self, columns: NDArray[np.float64], months: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability that those with `columns` (n, d) are alive at `months` (m,), with Breslow's baseline; (n, m).

        Before the first time of the training set it is 1, after the last one what it was there.
        """
        steps = self._fitted.predict_survival_function(columns, return_array=True)  # (n, k)
        at = np.searchsorted(self._fitted.unique_times_, months, side="right")
        return np.concatenate([np.ones((len(columns), 1)), steps], axis=1)[:, at]

    def breslow(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Breslow's cumulative baseline hazard as a step function: months (k,) of the deaths, and its value from each
        on (k,). Survival is exp(-hazard exp(risk))."""
        whole = self._fitted.cum_baseline_hazard_
        rises = np.flatnonzero(np.diff(whole.y, prepend=0.0) > 0)
        return np.asarray(whole.x, dtype=float)[rises], np.asarray(whole.y, dtype=float)[rises]


def fit_cox(
    columns: NDArray[np.float64], time: NDArray[np.float64], event: NDArray[np.bool_], alpha: float = 1.0
) -> Cox:
    """Fit a Cox model by the partial likelihood with Breslow's ties.

    Parameters
    ----------
    columns
        (n, d) what the hazard depends on.
    time
        (n,) months.
    event
        (n,) True = died.
    alpha
        Weight of the ridge penalty `alpha / 2 * |coefficients|^2`.

    Raises
    ------
    CannotFit
        Where the optimiser leaves the finite numbers, as it may with `alpha` 0 and columns that determine each other.

    References
    ----------
    Cox: Regression models and life-tables. JRSS B 1972.
    Verweij and Van Houwelingen: Penalized likelihood in Cox regression. Statistics in Medicine 1994.

    """
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    try:
        model = CoxPHSurvivalAnalysis(alpha=alpha)  # pyright: ignore[reportArgumentType]  # it takes fractions too
        fitted = model.fit(columns, Surv.from_arrays(event, time))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise CannotFit(
            f"the Cox model cannot be fitted ({error}); raise the ridge penalty (alpha is {alpha:g})"
        ) from error
    return Cox(np.asarray(fitted.coef_, dtype=float), fitted)
