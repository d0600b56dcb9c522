"""Kaplan-Meier curves of two risk groups as a few plain numbers, so that they can be shown without any patient."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .kaplan_meier import HazardRatio, at_risk, hazard_ratio, kaplan_meier_curve, logrank_p

_STEPS = 60
GROUPS = ("high", "low")


@dataclass(frozen=True)
class GroupCurve:
    """One group: its size, its deaths, and at the shared `moments` (months) survival, 95 % limits, numbers at risk."""

    patients: int
    died: int
    survival: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    at_risk: tuple[int, ...]


@dataclass(frozen=True)
class GroupCurves:
    """Both groups at `moments`, an even grid from 0 on; the log-rank p and the hazard ratio high over low."""

    moments: tuple[float, ...]
    high: GroupCurve
    low: GroupCurve
    logrank_p: float | None
    hazard_ratio: HazardRatio | None

    def __post_init__(self) -> None:
        """Raise ValueError unless every curve has a value at every moment."""
        for group in (self.high, self.low):
            if {len(one) for one in (group.survival, group.lower, group.upper, group.at_risk)} != {len(self.moments)}:
                raise ValueError("curves have as many values as there are moments")


def group_curves(time: ArrayLike, event: ArrayLike, group: ArrayLike) -> GroupCurves | None:
    """The curves of the patients (n,) of both groups; None unless each of them is high or low and both are there.

    On an even grid: the steps of an exact curve are the months in which patients died.
    """
    time, event, group = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(group, dtype=str)
    if not len(time) or set(group.tolist()) != set(GROUPS):
        return None
    step = next(s for s in (0.5, 1, 2, 3, 6, 12, 24, 120, 1e9) if time.max() / s <= _STEPS)
    moments = np.arange(0, time.max() + step, step)[: _STEPS + 2]
    curves: dict[str, GroupCurve] = {}
    for name in GROUPS:
        mine = group == name
        exact = kaplan_meier_curve(time[mine], event[mine])
        at = np.searchsorted(exact.times, moments, side="right") - 1
        curves[name] = GroupCurve(
            int(mine.sum()),
            int(event[mine].sum()),
            *(tuple(np.round(one[at], 4).tolist()) for one in (exact.survival, exact.lower, exact.upper)),
            at_risk=tuple(at_risk(time[mine], moments).tolist()),
        )
    high = group == "high"
    p, ratio = logrank_p(time, event, high), hazard_ratio(time, event, high)
    return GroupCurves(tuple(moments.tolist()), curves["high"], curves["low"], p, ratio)
