"""p-values of all pairs of lines at once: what the adjustment for their number needs of pairs that are not shown.

They are those of `percentile` and `corrected_t_test`, pair by pair, to the last bit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ...survival.comparisons import corrected_t_test_p
from .board import Line

_CHUNK = 128
"""Pairs computed together: few enough for their differences to stay in the cache."""

Pairs = NDArray[np.intp]  # (m, 2), places of lines


def bootstrap_p(
    values: NDArray[np.float64], draws: NDArray[np.float64], pairs: Pairs, resamples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each pair the p-value that counts resamples, and the one to adjust (see `to_adjust`); both (m,).

    values: (lines,) C-indices; draws: (lines, r), NaN in the same resamples for all lines, since who can be compared
    does not depend on the risks; resamples: how many were to be made.
    """
    known = np.ascontiguousarray(draws[:, ~np.isnan(draws).any(axis=0)])
    n, undefined = known.shape[1], draws.shape[1] - known.shape[1]
    smaller, errors = np.empty(len(pairs)), np.empty(len(pairs))
    for start in range(0, len(pairs), _CHUNK):
        at = slice(start, start + _CHUNK)
        difference = known[pairs[at, 0]] - known[pairs[at, 1]]
        below = np.array([np.count_nonzero(one <= 1e-12) for one in difference])
        above = np.array([np.count_nonzero(one >= -1e-12) for one in difference])
        smaller[at], errors[at] = np.minimum(below, above), difference.std(axis=1, ddof=1)
    counted = np.minimum(1.0, 2 * (smaller + 1) / (n + 1))
    return counted, to_adjust(counted, values[pairs[:, 0]] - values[pairs[:, 1]], errors, resamples - undefined)


def to_adjust(
    counted: NDArray[np.float64], difference: NDArray[np.float64], error: NDArray[np.float64], resamples: int
) -> NDArray[np.float64]:
    """The p-values to adjust, (m,) as all arguments. Where no resample lies beyond 0, counting ends at
    2 / (resamples + 1), which the number of pairs on a large table would lift above any level; there the normal
    approximation, where smaller, stands in."""
    normal = 2 * stats.norm.sf(np.abs(difference) / np.where(error > 0, error, 1.0))
    ended = (error > 0) & (counted <= 2.5 / (resamples + 1))
    return np.where(ended, np.minimum(counted, normal), counted)


def t_test_p(lines: Sequence[Line], pairs: Pairs) -> NDArray[np.float64] | None:
    """The p-value of the corrected resampled t-test for each pair, (m,); None for a single fold."""
    if len(pairs) == 0 or lines[pairs[0, 0]].n_folds < 2:
        return None
    folds = np.array([line.folds["selected"] for line in lines])
    ratio = np.array([tested / trained for tested, trained in map(sizes, lines)])
    return corrected_t_test_p(folds[pairs[:, 0]] - folds[pairs[:, 1]], ratio[pairs[:, 0]])


def sizes(line: Line) -> tuple[float, float]:
    """Patients that are tested, and that are trained on (with the validation split), mean over folds."""
    tested = [row.n_test or 0 for row in line.rows]
    trained = [(row.n_train or 0) + (row.n_val or 0) or (row.patients or 0) - (row.n_test or 0) for row in line.rows]
    return float(np.mean(tested)), float(np.mean(trained))
