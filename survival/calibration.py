"""Whether predicted probabilities come true: D-calibration, the calibration curve and the index that integrates it."""

import warnings

import numpy as np
from numpy.typing import NDArray

from .cox import CannotFit, fit_cox
from .followup import NotComputable
from .kaplan_meier import kaplan_meier

GROUPS = 10
"""Groups of predicted probability in D-calibration, as in its paper."""
_KNOTS = (0.1, 0.5, 0.9)
_EXPECTED = 5
_SEPARATED = (
    "the Cox model of the predicted probabilities has no solution: they separate the dead from the living perfectly, "
    "or hardly differ"
)


def probability_counts(alive: NDArray[np.float64], event: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many patients fall into each tenth of predicted survival at the end of their own follow-up.

    A censored patient would have died at some probability below `alive`, at each with equal chance if the prediction
    is right, and is divided accordingly.

    Parameters
    ----------
    alive
        (n,) the predicted probability of surviving as long as the patient was seen.
    event
        (n,) True = died.

    Returns
    -------
    NDArray
        (10,); the first count is of probabilities from 0 to 0.1.

    Examples
    --------
    >>> probability_counts(np.array([0.95, 0.2]), np.array([True, False]))
    array([0.5, 0.5, 0. , 0. , 0. , 0. , 0. , 0. , 0. , 1. ])

    """
    lower = np.arange(GROUPS) / GROUPS
    alive = np.clip(alive, 0, 1)
    died = np.bincount(np.clip((alive[event] * GROUPS).astype(int), 0, GROUPS - 1), minlength=GROUPS)
    left = alive[~event][:, None]
    inside = np.clip(left - lower, 0, 1 / GROUPS)
    shares = np.where(left > 0, inside / np.where(left > 0, left, 1), lower == 0)
    return died + shares.sum(axis=0)


def d_calibration_p(alive: NDArray[np.float64], event: NDArray[np.bool_]) -> float:
    """p of the test that predicted survival at death is spread evenly over 0 to 1 (D-calibration).

    A small p says that the probabilities are wrong. The censored are divided evenly, so that with many of them the
    test seldom finds anything.

    Parameters
    ----------
    alive, event
        As in `probability_counts`.

    Raises
    ------
    NotComputable
        For fewer than 50 patients, where the chi-square distribution does not hold.

    References
    ----------
    Haider, Hoehn, Davis and Greiner: Effective ways to build and evaluate individual survival distributions. JMLR 2020.

    """
    if len(alive) < _EXPECTED * GROUPS:
        raise NotComputable(f"{len(alive)} patients are too few for {GROUPS} groups of at least {_EXPECTED}")
    from scipy.stats import chisquare

    return float(chisquare(probability_counts(alive, event)).pvalue)


def observed_risk(
    predicted: NDArray[np.float64],
    time: NDArray[np.float64],
    event: NDArray[np.bool_],
    months: float,
    at: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The calibration curve at `months`: how often those die by then who are given a risk of `at`.

    A Cox model of the complementary log-log of `predicted`, as a restricted cubic spline of three knots (a straight
    line where so few values differ that knots coincide; the Kaplan-Meier estimate where none do).

    Parameters
    ----------
    predicted
        (n,) probabilities of dying by `months`.
    time
        (n,) months.
    event
        (n,) True = died.
    months
        When the curve is read.
    at
        (k,) probabilities.

    Returns
    -------
    NDArray
        (k,) observed probabilities, all finite.

    Raises
    ------
    NotComputable
        Where nobody died by then, nobody was seen for longer, or the Cox model has no finite solution.

    References
    ----------
    Austin, Harrell and van Klaveren: Graphical calibration curves and the integrated calibration index (ICI) for
    survival models. Statistics in Medicine 2020.

    """
    from sklearn.exceptions import ConvergenceWarning

    died, seen = int((event & (time <= months)).sum()), int((time > months).sum())
    if not died or not seen:
        raise NotComputable(f"{died} deaths by {months:.0f} months and {seen} patients alive after them")
    x, x_at = _cloglog(predicted), _cloglog(at)
    if np.ptp(x) < 1e-9:
        return np.full(len(at), 1 - kaplan_meier(time, event).at(months))
    knots = np.unique(np.quantile(x, _KNOTS))
    columns, columns_at = _spline(x, knots), _spline(x_at, knots)
    centre, spread = columns.mean(axis=0), columns.std(axis=0)
    spread = np.where(spread > 0, spread, 1)  # a spline may be bent where no prediction lies
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # an overflow ends in NotComputable
        try:
            cox = fit_cox((columns - centre) / spread, time, event, alpha=0.0)
        except (CannotFit, ConvergenceWarning) as error:
            raise NotComputable(_SEPARATED) from error
        observed = 1 - cox.survival((columns_at - centre) / spread, np.array([months], dtype=float))[:, 0]
    if not np.isfinite(observed).all():
        raise NotComputable(_SEPARATED)
    return observed


def calibration_index(
    predicted: NDArray[np.float64], time: NDArray[np.float64], event: NDArray[np.bool_], months: float
) -> float:
    """The integrated calibration index at `months`: the mean distance between the probability of dying by then that a
    patient was given, `predicted` (n,), and the calibration curve there. Arguments, errors and source as
    `observed_risk`.
    """
    return float(np.abs(observed_risk(predicted, time, event, months, predicted) - predicted).mean())


def _cloglog(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(-np.log1p(-np.clip(probability, 1e-10, 1 - 1e-10)))


def _spline(x: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Harrell's basis of a cubic spline that is linear outside its knots: (n, 2), or (n, 1) below three knots."""
    if len(knots) < 3:
        return x[:, None]
    low, middle, high = knots
    below, between, above = (np.maximum(x - knot, 0) ** 3 for knot in knots)
    bent = below - between * (high - low) / (high - middle) + above * (middle - low) / (high - middle)
    return np.stack([x, bent / (high - low) ** 2], axis=1)
