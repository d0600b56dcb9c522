"""Harrell's C-index, by the matrix of comparable pairs, so that thousands of resamples cost one matrix product.

C = (concordant + tied / 2) / comparable (Harrell, Lee and Mark 1996). Conventions are those of scikit-survival's
`concordance_index_censored`: patient i can be compared with j where i died and j was under observation longer, or where
both times are equal, i died and j was censored; two risks within 1e-8 of each other are tied.

A resample that draws patient i `w_i` times holds the pair (i, j) `w_i * w_j` times. With the 0/1 matrix P of comparable
pairs and the matrix S of their scores (1, 1/2 or 0), its C-index is w S w / w P w: no resampled array is ever made.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

TIED = 1e-8
_CHUNK = 512


@dataclass(frozen=True)
class Pairs:
    """The comparable pairs of some patients under one set of risks.

    Rows are the patients who died (k of n), columns all patients: `comparable` (k, n) holds 0 or 1, `scores` (k, n)
    holds 1 where the order of the risks is right, 1/2 where they are tied, 0 elsewhere. `died` (k,) are the rows'
    places among the n. float32: every value is exact in it.
    """

    comparable: NDArray[np.float32]
    scores: NDArray[np.float32]
    died: NDArray[np.intp]


def pairs(time: ArrayLike, event: ArrayLike, risk: ArrayLike) -> Pairs:
    """The comparable pairs of `time` (n,), `event` (n,) True = died, `risk` (n,) higher = earlier death.

    Raises ValueError for arrays of different lengths, or values that are not finite.
    """
    time, event, risk = checked(time, event, risk)
    died = np.flatnonzero(event)
    later = time[None, :] > time[died, None]  # (k, n)
    later |= (time[None, :] == time[died, None]) & ~event[None, :]
    difference = risk[died, None] - risk[None, :]
    tied = np.abs(difference) <= TIED
    scores = np.where(tied, 0.5, difference > 0).astype(np.float32)
    comparable = later.astype(np.float32)
    return Pairs(comparable, scores * comparable, died)


def concordance(time: ArrayLike, event: ArrayLike, risk: ArrayLike) -> float:
    """Harrell's C-index of one set of risks. Raises ValueError where no two patients can be compared."""
    made = pairs(time, event, risk)
    n_pairs = made.comparable.sum(dtype=np.float64)
    if n_pairs == 0:
        raise ValueError("no two patients can be compared: nobody died before another patient's last observation")
    return float(made.scores.sum(dtype=np.float64) / n_pairs)


def resampled(
    made: Pairs, counts: NDArray[np.integer], n_pairs: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """The C-index of every resample; `counts` (r, n) says how often each resample holds each patient.

    `n_pairs` (r,), from `resampled_pairs`, spares counting the same pairs again for another model's risks.
    Returns (r,), NaN where a resample has no comparable pair. The products run in float32 over chunks of resamples; the
    sums they form are halves of whole numbers below 2**23, which float32 holds exactly, and the last sum runs in
    float64.
    """
    result = np.empty(len(counts))
    for start in range(0, len(counts), _CHUNK):
        weights = counts[start : start + _CHUNK].astype(np.float32)  # (c, n)
        mine = weights[:, made.died]  # (c, k)
        chunk = slice(start, start + _CHUNK)
        here = _totals(mine, weights, made.comparable) if n_pairs is None else n_pairs[chunk]
        with np.errstate(invalid="ignore"):
            result[chunk] = _totals(mine, weights, made.scores) / here
    return result


def resampled_pairs(made: Pairs, counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """How many comparable pairs every resample holds, (r,): the same for all risks of the same patients."""
    result = np.empty(len(counts))
    for start in range(0, len(counts), _CHUNK):
        weights = counts[start : start + _CHUNK].astype(np.float32)
        result[start : start + _CHUNK] = _totals(weights[:, made.died], weights, made.comparable)
    return result


def _totals(
    mine: NDArray[np.float32], weights: NDArray[np.float32], matrix: NDArray[np.float32]
) -> NDArray[np.float64]:
    # (c, k) x (k, n) -> (c, n), then a row-wise dot product with the weights
    product = mine @ matrix
    return np.einsum("cn,cn->c", product, weights, dtype=np.float64)


def draw_counts(n: int, resamples: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Bootstrap resamples of n patients as counts, in chunks (c, n) that add up to `resamples` rows."""
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        draws = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(draws.ravel(), minlength=size * n).reshape(size, n)


def bootstrap_concordance(
    time: ArrayLike, event: ArrayLike, risk: ArrayLike, resamples: int = 10_000, seed: int = 0
) -> NDArray[np.float64]:
    """C-indices of `resamples` bootstrap resamples of the patients (Efron 1979); (resamples,), NaN where undefined."""
    made = pairs(time, event, risk)
    rng = np.random.default_rng(seed)
    n = made.comparable.shape[1]
    return np.concatenate([resampled(made, counts) for counts in draw_counts(n, resamples, rng)])


def checked(
    time: ArrayLike, event: ArrayLike, risk: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """The three arrays (n,) as float, bool, float. Raises ValueError for other shapes, values or an event that is no
    0/1."""
    time, risk = np.asarray(time, dtype=float), np.asarray(risk, dtype=float)
    event = np.asarray(event)
    if time.ndim != 1 or not time.shape == event.shape == risk.shape:
        raise ValueError(f"time {time.shape}, event {event.shape} and risk {risk.shape} must be of one length")
    if not (np.isfinite(time).all() and np.isfinite(risk).all()):
        raise ValueError("times and risks must be finite numbers")
    if not np.isin(event, (0, 1)).all():
        raise ValueError("event must be True (died) or False (censored)")
    return time, event.astype(bool), risk
