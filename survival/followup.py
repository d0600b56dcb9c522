"""What every metric reads: the follow-up of a group of patients, and what a model predicts for them."""

from dataclasses import dataclass

import numpy as np


class NotComputable(ValueError):
    """A statistic has no value on these patients; the message says why."""


@dataclass(frozen=True)
class FollowUp:
    """How long patients were observed, and whether they died then.

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died, False = censored.

    """

    time: np.ndarray
    event: np.ndarray

    def censored_after(self, months: float) -> "FollowUp":
        """The same patients, watched for `months` only. Censoring weights before then do not change by it.

        >>> FollowUp(np.array([5.0, 50.0]), np.array([True, True])).censored_after(10).event
        array([ True, False])
        """
        return FollowUp(np.minimum(self.time, months), self.event & (self.time <= months))


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for n patients of a test set.

    Parameters
    ----------
    risk
        (n,) higher = earlier death.
    survival
        (n, m) the probability of being alive at the times `edges`; None where only risks are known.
    edges
        (m,) months, increasing; None where only risks are known.
    high
        (n,) True where the risk is above the median risk of the training set; None where there are no risk groups.

    """

    risk: np.ndarray
    survival: np.ndarray | None = None
    edges: np.ndarray | None = None
    high: np.ndarray | None = None

    def survival_at(self, times: np.ndarray) -> np.ndarray:
        """Survival at any `times` (k,) months, as (n, k): linear between the edges, 1 at 0, flat after the last edge.

        Raises
        ------
        NotComputable
            Where only risks are known.

        """
        if self.survival is None or self.edges is None:
            raise NotComputable("no survival probabilities were given")
        x = np.concatenate([[0.0], self.edges])
        y = np.concatenate([np.ones((len(self.survival), 1)), self.survival], axis=1)
        return np.stack([np.interp(times, x, row) for row in y])

    def survival_when_last_seen(self, test: FollowUp) -> np.ndarray:
        """Survival of every patient at the end of their own follow-up, (n,). Raises as `survival_at`."""
        return np.diagonal(self.survival_at(test.time))

    def high_risk(self) -> np.ndarray:
        """Who is in the high-risk group, (n,) bool.

        Raises
        ------
        NotComputable
            Where there are no risk groups.

        """
        if self.high is None:
            raise NotComputable("no risk groups were given")
        return self.high
