"""Time bins for discrete-time survival: where they lie is learnt from the training part alone."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TimeBins:
    """Left-closed intervals `[edges[j], edges[j + 1])` in months that cover every time.

    edges: `n_bins + 1` increasing times; the first is 0 and the last infinity.
    horizon: the end of the follow-up on which the bins were fitted, in months; it stands in for infinity where a
        survival curve needs a last time.
    """

    edges: tuple[float, ...]
    horizon: float

    @property
    def count(self) -> int:
        """How many bins there are."""
        return len(self.edges) - 1

    @property
    def upper(self) -> tuple[float, ...]:
        """The time in months at which each bin ends; the last bin ends at the horizon."""
        return (*self.edges[1:-1], max(self.horizon, self.edges[-2] + 1e-3))

    def assign(self, time: np.ndarray) -> np.ndarray:
        """The bin of each time, `(n,)` integers in `[0, count)`."""
        return np.searchsorted(np.asarray(self.edges[1:-1]), time, side="right")


def fit_bins(time: np.ndarray, event: np.ndarray, count: int) -> TimeBins:
    """Bins between the quantiles of the times at which patients died, as MCAT and the literature after it bin them.

    time, event: of the training part, `(n,)`, months and bool.
    count: how many bins; fewer come back when quantiles coincide, as they do when deaths share a few months.
    Errors: `ValueError` when nobody died.
    """
    if not event.any():
        raise ValueError("time bins need at least one death in the training part")
    inner = np.quantile(time[event], np.linspace(0, 1, count + 1)[1:-1])
    inner = np.unique(inner[inner > 0])
    return TimeBins((0.0, *inner.tolist(), float("inf")), float(time.max()))
