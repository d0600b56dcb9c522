"""How much every patient moves a C-index: the jackknife, from which its standard error follows without a resample.

Leaving a patient out takes the pairs of that patient out of a sum, so that all n values cost as much as one. Their
covariances are those that a bootstrap of the patients would give, at a thousandth of its cost (docs/statistics.md
compares both), and they exist where a bootstrap draws folds without a death.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .concordance import checked, comparable_pairs
from .followup import NotComputable


@dataclass(frozen=True)
class Influences:
    """Mean C-index over folds of m risks, `values` (m,), and how much each of p patients moves it, `patients` (m, p).

    The sum of products of two rows is the covariance of two C-indices over patients like these.
    """

    values: NDArray[np.float64]
    patients: NDArray[np.float64]


def influences(
    time: ArrayLike,
    event: ArrayLike,
    risks: NDArray[np.float64],
    fold: ArrayLike,
    patient: ArrayLike | None = None,
) -> Influences:
    """The jackknife of the mean C-index over folds, for each of m `risks` (m, n).

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.
    risks
        (m, n) higher = earlier death.
    fold
        (n,) the test fold of each score.
    patient
        (n,) whose score it is, where patients are scored more than once (slides, repeats of the cross-validation): a
        patient is left out with all scores. None where every score is another patient's.

    Raises
    ------
    ValueError
        Where a fold has no comparable pair, or where all of them hang on one patient.

    References
    ----------
    Efron and Stein: The jackknife estimate of variance. Ann Stat 1981.
    DeLong, DeLong and Clarke-Pearson: Comparing the areas under two or more correlated ROC curves. Biometrics 1988.

    Examples
    --------
    >>> found = influences([1, 2, 3, 4], [1, 1, 1, 0], np.array([[4.0, 3.0, 1.0, 2.0]]), [0, 0, 0, 0])
    >>> found.values
    array([0.83333333])

    """
    fold = np.asarray(fold)
    arrays = [checked(time, event, risk) for risk in risks]
    if fold.shape != arrays[0][0].shape:
        raise ValueError(f"fold {fold.shape} must have one entry per patient {arrays[0][0].shape}")
    owner = np.arange(len(fold)) if patient is None else np.unique(np.asarray(patient), return_inverse=True)[1]
    if owner.shape != fold.shape:
        raise ValueError(f"patient {owner.shape} must have one entry per score {fold.shape}")
    names, count = np.unique(fold), int(owner.max()) + 1
    values, moved = np.zeros(len(risks)), np.zeros((len(risks), count))
    for name in names:
        here = np.flatnonzero(fold == name)
        time_here, event_here = arrays[0][0][here], arrays[0][1][here]
        pairs = comparable_pairs(time_here, event_here)
        mine = owner[here]
        within = mine[pairs.died, None] == mine[None, :]
        n_pairs, left = _sums(pairs.comparable.astype(np.float32), pairs.died, mine, within, count)
        if not n_pairs:
            raise NotComputable(f"fold {name}: no comparable pair among {len(here)} patients")
        if (left <= 0).any():
            raise NotComputable(f"fold {name}: all its comparable pairs hang on one patient: too few deaths")
        for at, (_, _, risk) in enumerate(arrays):
            total, rest = _sums(pairs.scores(risk[here]), pairs.died, mine, within, count)
            values[at] += total / n_pairs
            moved[at] += rest / left - total / n_pairs
    # Patients of one fold are drawn together, or all of them where they come back in other folds.
    apart = len(set(zip(owner.tolist(), fold.tolist(), strict=True))) == count
    for group in [np.unique(owner[fold == name]) for name in names] if apart else [np.arange(count)]:
        part = moved[:, group]
        mean = part.cumsum(axis=1)[:, -1:] / len(group)  # added up in one order, however many risks there are
        moved[:, group] = (part - mean) * np.sqrt((len(group) - 1) / len(group))
    return Influences(values / len(names), moved / len(names))


def _sums(
    scores: NDArray[np.float32],
    died: NDArray[np.intp],
    owner: NDArray[np.intp],
    within: NDArray[np.bool_],
    count: int,
) -> tuple[float, NDArray[np.float64]]:
    """The sum of `scores` (k, n) of pairs, and what is left of it without each of `count` patients, (count,)."""
    rows = scores.sum(axis=1, dtype=np.float64)
    taken = np.bincount(owner, scores.sum(axis=0, dtype=np.float64), count)
    taken += np.bincount(owner[died], rows - (scores * within).sum(axis=1, dtype=np.float64), count)
    total = float(rows.sum())
    return total, np.subtract(total, taken, dtype=np.float64)
