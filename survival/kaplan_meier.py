"""The Kaplan-Meier estimate, and who is at risk."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class KaplanMeier:
    """A Kaplan-Meier estimate as steps: survival and its 95 % log-log interval from `times[i]` on. All (k,), from
    time 0.
    """

    times: NDArray[np.float64]
    survival: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def step(self, months: ArrayLike) -> NDArray[np.intp]:
        """Which step holds at `months`, of any shape."""
        return np.searchsorted(self.times, months, side="right") - 1

    def at(self, months: ArrayLike) -> NDArray[np.float64]:
        """Survival at `months`, of any shape; after the last observation what it was there."""
        return self.survival[self.step(months)]


def kaplan_meier(time: ArrayLike, event: ArrayLike) -> KaplanMeier:
    """The product-limit estimate with log-log confidence limits.

    Before the first and after the last death the limits are undefined; they are the curve itself there.

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.

    References
    ----------
    Kaplan and Meier: Nonparametric estimation from incomplete observations. JASA 1958.
    Borgan and Liestøl: A note on confidence intervals and bands for the survival function. Scand J Stat 1990.

    Examples
    --------
    >>> kaplan_meier([1, 2, 3, 4], [True, False, True, False]).at([0, 1, 3.5])
    array([1.   , 0.75 , 0.375])

    """
    from scipy import stats

    time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
    found = stats.ecdf(stats.CensoredData(uncensored=time[event], right=time[~event])).sf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The confidence interval is undefined")
        interval = found.confidence_interval(method="log-log")
    survival = found.probabilities
    limits = (
        np.where(np.isnan(one.probabilities), survival, one.probabilities) for one in (interval.low, interval.high)
    )
    return KaplanMeier(
        np.concatenate([[0.0], found.quantiles]), *(np.concatenate([[1.0], values]) for values in (survival, *limits))
    )


def at_risk(time: ArrayLike, moments: ArrayLike) -> NDArray[np.int64]:
    """How many patients are still under observation just before each moment; (len(moments),).

    >>> at_risk([5, 10, 10, 20], [0, 6, 10, 11])
    array([4, 3, 3, 1])
    """
    time = np.asarray(time, dtype=float)
    return (time[None, :] >= np.asarray(moments, dtype=float)[:, None]).sum(axis=1)
