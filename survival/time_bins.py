"""Time bins for discrete-time survival: where they lie is learnt from the training set alone."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TimeBins:
    """Left-closed intervals `[edges[j], edges[j + 1])` in months that cover every time.

    Parameters
    ----------
    edges
        `count + 1` increasing times; the first is 0 and the last infinity.
    end
        The end of the follow-up on which the bins were fitted, in months; it stands in for infinity where a survival
        curve needs a last time.

    """

    edges: tuple[float, ...]
    end: float

    @property
    def count(self) -> int:
        """How many bins there are."""
        return len(self.edges) - 1

    @property
    def upper(self) -> tuple[float, ...]:
        """The time in months at which each bin ends; the last bin ends with the follow-up."""
        return (*self.edges[1:-1], max(self.end, self.edges[-2] + 1e-3))

    def assign(self, time: np.ndarray) -> np.ndarray:
        """The bin of each time (n,) in months: integers in `[0, count)`, (n,)."""
        return np.searchsorted(np.asarray(self.edges[1:-1]), time, side="right")

    def share(self, time: np.ndarray) -> np.ndarray:
        """How much of its bin lies before each time (n,) in months: from 0 to 1, and 1 beyond the follow-up, (n,)."""
        bin, upper = self.assign(time), np.asarray(self.upper)
        lower = np.asarray(self.edges[:-1])
        return np.clip((time - lower[bin]) / (upper[bin] - lower[bin]), 0.0, 1.0)


def fit_bins(time: np.ndarray, event: np.ndarray, count: int) -> TimeBins:
    """Bins between the quantiles of the times at which patients died, as MCAT and the literature after it bin them.

    Parameters
    ----------
    time
        (n,) months, of the training set.
    event
        (n,) True = died.
    count
        How many bins; fewer come back when quantiles coincide, as they do when deaths share a few months.

    Raises
    ------
    ValueError
        When nobody died.

    References
    ----------
    Chen, Lu, Weng, et al.: Multimodal co-attention transformer for survival prediction. ICCV 2021.

    Examples
    --------
    >>> bins = fit_bins(np.array([5.0, 10.0, 20.0, 40.0]), np.array([True, True, True, False]), 2)
    >>> bins.upper
    (10.0, 40.0)
    >>> bins.assign(np.array([3.0, 10.0, 99.0]))
    array([0, 1, 1])

    """
    if not event.any():
        raise ValueError("time bins need at least one death in the training set")
    inner = np.quantile(time[event], np.linspace(0, 1, count + 1)[1:-1])
    inner = np.unique(inner[inner > 0])
    return TimeBins((0.0, *inner.tolist(), float("inf")), float(time.max()))
