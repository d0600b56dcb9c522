"""Harrell's C-index, the pairs that it compares, and how far it strays from one half by chance alone.

Conventions are those of scikit-survival's `concordance_index_censored`: patient i can be compared with j where i died
and j was under observation longer, or where both times are equal, i died and j was censored; two risks within 1e-8 of
each other are tied, and count one half.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .followup import NotComputable

TIED = 1e-8
"""Risks no further apart than this are tied."""


@dataclass(frozen=True)
class Pairs:
    """Who can be compared with whom.

    Parameters
    ----------
    died
        (k,) the places of those who died among the n patients.
    comparable
        (k, n) True where row i, who died, can be compared with column j.

    """

    died: NDArray[np.intp]
    comparable: NDArray[np.bool_]

    def scores(self, risk: NDArray[np.float64]) -> NDArray[np.float32]:
        """What every pair adds to concordance: 1, 1/2 where `risk` (n,) ties, or 0; (k, n), 0 where not comparable."""
        difference = risk[self.died, None] - risk[None, :]
        scores = np.where(np.abs(difference) <= TIED, 0.5, difference > 0).astype(np.float32)
        return scores * self.comparable


def comparable_pairs(time: NDArray[np.float64], event: NDArray[np.bool_]) -> Pairs:
    """The pairs of patients whose order of death is known (Harrell et al. 1982).

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.

    Examples
    --------
    >>> comparable_pairs(np.array([1.0, 2.0, 3.0]), np.array([True, False, True])).comparable.sum()
    np.int64(2)

    """
    died = np.flatnonzero(event)
    later = time[None, :] > time[died, None]  # (k, n)
    later |= (time[None, :] == time[died, None]) & ~event[None, :]
    return Pairs(died, later)


def c_index(time: ArrayLike, event: ArrayLike, risk: ArrayLike) -> float:
    """Harrell's concordance index: of the pairs whose order is known, the share that the risks put in that order.

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.
    risk
        (n,) higher = earlier death.

    Raises
    ------
    ValueError
        Where the arrays are not of one length, or an event is neither 0 nor 1.
    NotComputable
        Where no two patients can be compared, or a time or a risk is not finite.

    References
    ----------
    Harrell, Califf, Pryor, Lee and Rosati: Evaluating the yield of medical tests. JAMA 1982.

    Examples
    --------
    >>> c_index([1, 2, 3], [True, True, False], [0.9, 0.5, 0.1])
    1.0

    """
    time, event, risk = checked(time, event, risk)
    pairs = comparable_pairs(time, event)
    count = int(pairs.comparable.sum())
    if not count:
        raise NotComputable(
            f"no comparable pair among {len(time)} patients: nobody died before another patient's last observation"
        )
    return float(pairs.scores(risk).sum(dtype=np.float64) / count)


def chance_sd(time: NDArray[np.float64], event: NDArray[np.bool_]) -> float:
    """The standard deviation of Harrell's C-index of risks that know nothing of these outcomes; NaN without pairs.

    Exact, given the outcomes, for independent risks without ties: with P comparable pairs, of which patient i is the
    earlier in a_i and the later in b_i, Var(C) = (P + sum_i (a_i - b_i)^2) / (12 P^2). Two pairs that share the
    earlier (or the later) patient agree with probability 1/3, a chain of two with 1/6, and a pair by itself has
    variance 1/4; summing these covariances gives the formula. Without censoring it is the variance of Kendall's tau,
    (2n + 5) / (18 n (n - 1)) on the scale of C.

    References
    ----------
    Kendall: A new measure of rank correlation. Biometrika 1938.

    """
    pairs = comparable_pairs(time, event)
    count = int(pairs.comparable.sum())
    difference = -pairs.comparable.sum(axis=0)
    difference[pairs.died] += pairs.comparable.sum(axis=1)
    return float(np.sqrt(count + np.square(difference, dtype=float).sum()) / (np.sqrt(12) * count)) if count else np.nan


def checked(
    time: ArrayLike, event: ArrayLike, risk: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """The three arrays (n,) as float, bool, float. Raises as `c_index` for other shapes and values."""
    time, risk = np.asarray(time, dtype=float), np.asarray(risk, dtype=float)
    event = np.asarray(event)
    if time.ndim != 1 or not time.shape == event.shape == risk.shape:
        raise ValueError(f"time {time.shape}, event {event.shape} and risk {risk.shape} must be of one length")
    if not (np.isfinite(time).all() and np.isfinite(risk).all()):
        raise NotComputable("times and risks must be finite numbers")
    if not np.isin(event, (0, 1)).all():
        raise ValueError("event must be True (died) or False (censored)")
    return time, event.astype(bool), risk
