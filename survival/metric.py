"""What a metric is: a name, a direction, what it needs and a function of one fold."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from .followup import FollowUp, NotComputable, Prediction

Need = Literal["survival", "risk_groups", "train_followup"]
"""What a metric may need beside risks and the follow-up of the test set: predicted survival probabilities, groups of
high and low risk, the follow-up of the training set (for censoring weights, or a truncation time)."""
NEEDS: dict[Need, str] = {
    "survival": "survival probabilities",
    "risk_groups": "risk groups",
    "train_followup": "follow-up of the training set",
}
"""What people call it."""


@dataclass(frozen=True)
class Metric:
    """A number for one fold.

    Parameters
    ----------
    name
        The column it fills: small letters, digits and underscores.
    title
        As people call it.
    higher_is_better
        Its direction.
    score
        (training follow-up, test follow-up, prediction) -> float, with `months` as a fourth argument where the metric
        has one. It raises `NotComputable` with the reason where it has no value. The training follow-up is None where
        it is not known and the metric does not need it.
    needs
        What it needs beside risks: any of `Need`.
    months
        The time at which it is read, or at which follow-up is truncated; None where there is none.
    bounds
        The smallest and the largest value it can have.

    Examples
    --------
    >>> def mean_risk_of_the_dead(train, test, prediction):
    ...     return float(prediction.risk[test.event].mean())
    >>> metric = Metric("dead_risk", "mean risk of the dead", True, mean_risk_of_the_dead, bounds=(-np.inf, np.inf))
    >>> test = FollowUp(np.array([3.0, 8.0]), np.array([True, False]))
    >>> metric(None, test, Prediction(np.array([0.4, -0.1])))
    0.4

    """

    name: str
    title: str
    higher_is_better: bool
    score: Callable[..., float]
    needs: tuple[Need, ...] = ()
    months: float | None = None
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Raise ValueError for a name that is no column, or a need that there is not."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(
                f"a metric is named '{self.name}'; a name is made of small letters, digits and underscores"
            )
        if unknown := [need for need in self.needs if need not in get_args(Need)]:
            raise ValueError(f"metric {self.name} needs {', '.join(unknown)}; it may need {', '.join(get_args(Need))}")

    def lacks(self, prediction: Prediction, train: FollowUp | None) -> str:
        """Why it cannot be scored on what is given; empty where it can."""
        given = {
            "survival": (prediction.survival, "no survival probabilities were given"),
            "risk_groups": (prediction.high, "no risk groups were given"),
            "train_followup": (train, "the follow-up of the training set is not known"),
        }
        return next((why for need in self.needs for found, why in [given[need]] if found is None), "")

    def __call__(self, train: FollowUp | None, test: FollowUp, prediction: Prediction) -> float:
        """The score.

        Raises
        ------
        NotComputable
            Where what it needs is not given, where it has no value, or where its value is outside of its bounds.

        """
        if why := self.lacks(prediction, train):
            raise NotComputable(why)
        at = () if self.months is None else (self.months,)
        value = float(self.score(train, test, prediction, *at))
        low, high = self.bounds
        if not (np.isfinite(value) and low <= value <= high):
            raise NotComputable(f"it came out as {value:g}, which is no number between {low:g} and {high:g}")
        return value
