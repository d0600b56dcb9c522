"""Kaplan-Meier curves of a line's risk groups, small enough that every line of the page can show its own.

The axes are drawn once for all lines with the same follow-up (`frame`) and shared by reference; of a line only its
curves and numbers at risk are kept (`curves`). Both come from matplotlib, in the same coordinates.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from . import style
from .figures import p_text, survival_axes, survival_curve
from .hazard_ratio import hazard_ratio
from .inline_svg import content
from .survival_curves import at_risk, logrank_p

SIZE = (5.4, 3.5)
"""Width and height of the figure, in inches."""


@dataclass(frozen=True)
class RiskGroups:
    """The out-of-fold risk groups at `selected`: SVG of the axes and of the curves, and what they say in words."""

    frame: str
    curves: str
    description: str
    hazard: str
    logrank: str
    counts: tuple[str, str]


def risk_groups(table: pd.DataFrame) -> RiskGroups | None:
    """The risk groups of one experiment's predictions; None where they were not kept."""
    mine = np.asarray(table["reading"] == "selected")
    time, event, group = (np.asarray(table[column])[mine] for column in ("time", "event", "risk_group"))
    if not mine.any() or not np.isin(group, ("high", "low")).all():
        return None
    time, event, high = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), group == "high"
    found, p = hazard_ratio(time, event, high), logrank_p(time, event, high)
    counts = tuple(
        f"{word}: {int(event[who].sum())} of {int(who.sum())} died" for word, who in (("High", high), ("Low", ~high))
    )
    hazard = "not estimable" if found is None else found.text
    logrank = "not possible" if p is None else p_text(p).removeprefix("= ")
    words = f"{counts[0]}; {counts[1]}; hazard ratio {hazard}, log-rank p {logrank}"
    longest = float(time.max())
    return RiskGroups(_frame(longest), _curves(time, event, high, longest), words, hazard, logrank, (counts[0], counts[1]))


@lru_cache(maxsize=64)
def _frame(longest: float) -> str:
    with style.styled():
        figure = Figure(figsize=SIZE)
        survival_axes(figure, longest)
    return content(figure)


def _curves(time: NDArray[np.float64], event: NDArray[np.bool_], high: NDArray[np.bool_], longest: float) -> str:
    with style.styled():
        figure = Figure(figsize=SIZE)
        axes, moments = survival_axes(figure, longest)
        for who, colour, row in ((high, style.HIGH, 0), (~high, style.LOW, 1)):
            if who.any():
                survival_curve(axes, time[who], event[who], colour)
            for moment, count in zip(moments, at_risk(time[who], moments), strict=True):
                place = {"transform": axes.get_xaxis_transform(), "ha": "center", "fontsize": 8}
                axes.text(moment, AT_RISK[row], str(count), **place)
        axes.set_axis_off()
        for text in axes.texts[: len(axes.texts) - 2 * len(moments)]:
            text.set_visible(False)
    return content(figure)
