"""C-indices of thousands of bootstrap resamples, at the cost of one matrix product.

A resample that draws patient i `w_i` times holds the pair (i, j) `w_i * w_j` times. With the 0/1 matrix P of comparable
pairs and the matrix S of their scores (1, 1/2 or 0), its C-index is w S w / w P w: no resampled array is ever made.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .concordance import checked, comparable_pairs

_CHUNK = 512


@dataclass(frozen=True)
class ScoredPairs:
    """The comparable pairs of n patients under one set of risks.

    Rows are the k patients who died, at the places `died` (k,); columns are all patients. `comparable` (k, n) holds 0
    or 1, `scores` (k, n) what a pair adds to concordance. float32: every value is exact in it.
    """

    died: NDArray[np.intp]
    comparable: NDArray[np.float32]
    scores: NDArray[np.float32]


def scored_pairs(time: ArrayLike, event: ArrayLike, risk: ArrayLike) -> ScoredPairs:
    """The pairs of `time` (n,) months, `event` (n,) True = died, `risk` (n,). Raises as `concordance.checked`."""
    time, event, risk = checked(time, event, risk)
    pairs = comparable_pairs(time, event)
    return ScoredPairs(pairs.died, pairs.comparable.astype(np.float32), pairs.scores(risk))


def resampled(
    pairs: ScoredPairs, counts: NDArray[np.integer], n_pairs: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """The C-index of every resample.

    The products run in float32 over chunks of resamples; the sums they form are halves of whole numbers below 2**23,
    which float32 holds exactly, and the last sum runs in float64.

    Parameters
    ----------
    pairs
        As `scored_pairs` gives them.
    counts
        (r, n) how often each resample holds each patient.
    n_pairs
        (r,) from `resampled_pairs`; spares counting the same pairs again for another model's risks.

    Returns
    -------
    NDArray
        (r,), NaN where a resample has no comparable pair.

    """
    result = np.empty(len(counts))
    for start in range(0, len(counts), _CHUNK):
        weights = counts[start : start + _CHUNK].astype(np.float32)  # (c, n)
        of_dead = weights[:, pairs.died]  # (c, k)
        chunk = slice(start, start + _CHUNK)
        count = _totals(of_dead, weights, pairs.comparable) if n_pairs is None else n_pairs[chunk]
        with np.errstate(invalid="ignore"):
            result[chunk] = _totals(of_dead, weights, pairs.scores) / count
    return result


def resampled_pairs(pairs: ScoredPairs, counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """How many comparable pairs every resample holds, (r,): the same for all risks of the same patients."""
    result = np.empty(len(counts))
    for start in range(0, len(counts), _CHUNK):
        weights = counts[start : start + _CHUNK].astype(np.float32)
        result[start : start + _CHUNK] = _totals(weights[:, pairs.died], weights, pairs.comparable)
    return result


def _totals(
    of_dead: NDArray[np.float32], weights: NDArray[np.float32], matrix: NDArray[np.float32]
) -> NDArray[np.float64]:
    # (c, k) x (k, n) -> (c, n), then a row-wise dot product with the weights
    product = of_dead @ matrix
    return np.einsum("cn,cn->c", product, weights, dtype=np.float64)


def draw_counts(n: int, resamples: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Bootstrap resamples of n patients as counts (Efron 1979), in chunks (c, n) that add up to `resamples` rows."""
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        draws = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(draws.ravel(), minlength=size * n).reshape(size, n)
