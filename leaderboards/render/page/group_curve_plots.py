"""Kaplan-Meier curves of a line's risk groups, so small that every line of the page can show its own.

The axes are drawn once for all lines with the same follow-up (`Plot.frame`) and shared by reference; of a line only its
curves and its numbers at risk are kept (`Plot.curves`). Both are matplotlib's, in the same coordinates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from msgspec import to_builtins

from ....survival.risk_groups import GroupCurve, GroupCurves
from ...cache.store import Cache
from ...ranking.board import Board
from ...ranking.cached_evidence import cached_curves
from ..figures import style
from ..figures.kaplan_meier import logrank_words
from .inline_svg import content

SIZE = (5.4, 3.3)
"""Width and height in inches."""

_ROWS = {"high": (style.HIGH, -0.31), "low": (style.LOW, -0.41)}


@dataclass(frozen=True)
class Plot:
    """What is inside the `<svg>` of the axes and of the curves, and what they show in words, one item each.

    `key` is the id of the axes on the page: the same for all lines that share them.
    """

    key: str
    frame: str
    curves: str
    words: tuple[str, ...]


def plots(
    boards: Sequence[Board],
    predictions: Mapping[str, pd.DataFrame],
    cache: Cache,
    published: Mapping[str, GroupCurves],
) -> dict[str, Plot]:
    """The curves of every line's risk groups, by the experiment of its first seed that has any.

    published: curves by experiment, for lines whose predictions are not here.
    """
    found = {}
    for line in (line for board in boards for ranking in board.rankings for line in ranking.lines):
        for name in line.experiments:
            curves = cached_curves(name, predictions, cache) if name in predictions else published.get(name)
            if curves is not None:
                found[name] = cache.get(Plot, "plot", lambda one=curves: to_builtins(one), lambda one=curves: plot(one))
                break
    return found


def plot(found: GroupCurves) -> Plot:
    """The curves of both groups, drawn, and counts, hazard ratio and log-rank test in words."""
    words = (
        f"high risk: {found.high.died} of {found.high.patients} died",
        f"low risk: {found.low.died} of {found.low.patients} died",
    )
    if found.ratio is None and found.p is None:
        words += ("hazard ratio and test: not known",)  # or of an entry that only has them of all folds together
    else:
        ratio = "not estimable" if found.ratio is None else f"{found.ratio:.2f}"
        words += (f"hazard ratio: {ratio}", logrank_words(found.p))
    longest = found.moments[-1]
    return Plot(_key(longest), _frame(longest), _curves(found), words)


def _key(longest: float) -> str:
    return f"months-{longest:g}".replace(".", "-")


@lru_cache(maxsize=64)
def _frame(longest: float) -> str:
    with style.styled():
        figure = Figure(figsize=SIZE)
        axes = _axes(figure, longest)
        axes.set_xticks(_ticks(longest))
        axes.set_xlabel("Months", labelpad=1)
        axes.set_ylabel("Survival")
        axes.yaxis.grid(True, color=style.LINE, lw=0.6)
        axes.set_axisbelow(True)
        aside = {"transform": axes.transAxes, "fontsize": 8, "ha": "right"}
        axes.text(-0.045, -0.21, "at risk", color=style.SOFT, **aside)
        for name, (colour, height) in _ROWS.items():
            axes.text(-0.045, height, name, color=colour, **aside)
    return content(figure, _key(longest))


def _curves(found: GroupCurves) -> str:
    moments = np.asarray(found.moments)
    with style.styled():
        figure = Figure(figsize=SIZE)
        axes = _axes(figure, found.moments[-1])
        axes.set_axis_off()
        for name, group in (("high", found.high), ("low", found.low)):
            colour, height = _ROWS[name]
            _group(axes, moments, group, colour)
            watched = np.asarray(group.at_risk)[np.searchsorted(moments, _ticks(found.moments[-1]))]
            for tick, count in zip(_ticks(found.moments[-1]), watched, strict=True):
                axes.text(tick, height, str(count), transform=axes.get_xaxis_transform(), ha="center", fontsize=8)
    return content(figure)


def _group(axes: Axes, moments: np.ndarray, group: GroupCurve, colour: str) -> None:
    watched = int(np.searchsorted(-np.asarray(group.at_risk), 0, side="left"))  # nobody left: nothing to draw
    moments = moments[: watched + 1]

    def steps(levels: tuple[float, ...]) -> np.ndarray:  # (2 k - 1, 2)
        return np.column_stack([np.repeat(moments, 2)[1:], np.repeat(levels[: len(moments)], 2)[:-1]])

    band = np.concatenate([steps(group.upper), steps(group.lower)[::-1]])
    axes.add_patch(Polygon(band, closed=True, facecolor=colour, alpha=0.13, lw=0, clip_on=False))
    axes.plot(moments, group.survival[: len(moments)], color=colour, lw=1.7, drawstyle="steps-post", clip_on=False)


def _axes(figure: Figure, longest: float) -> Axes:
    axes = figure.add_axes((0.11, 0.33, 0.87, 0.65))
    axes.set(xlim=(0, longest * 1.01), ylim=(0, 1.03))
    return axes


def _ticks(longest: float) -> np.ndarray:
    """Whole years, or half ones: at most eight, from 0."""
    step = next(months for months in (6, 12, 24, 36, 48, 60, 120, 1200) if longest / months <= 7.5 or months == 1200)
    return np.arange(0, longest + 1e-9, step)
