"""Kaplan-Meier curves of risk groups as a figure, with what the log-rank test says of them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from numpy.typing import ArrayLike

from ....survival import kaplan_meier as km
from ....survival.risk_groups import hazard_ratio, logrank_p, p_over_folds
from . import style


def kaplan_meier(
    time: ArrayLike,
    event: ArrayLike,
    group: ArrayLike,
    title: str = "",
    size: tuple[float, float] = (5.4, 3.7),
    fold: ArrayLike | None = None,
    patients: int | None = None,
) -> Figure:
    """Survival of the high-risk and the low-risk group, with the hazard ratio between them, a test and the numbers at
    risk.

    `time` (n,) in months, `event` (n,) True = died, `group` (n,) holds "high" or "low"; `fold` (n,) and `patients` as
    `p_over_folds` takes them, where the groups are those of a cross-validation. Raises ValueError for other words.
    """
    time, event, group = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(group)
    unknown = sorted(set(group.tolist()) - {"high", "low"})
    if unknown:
        raise ValueError(f"risk groups are 'high' and 'low'; found {unknown[0]!r}")
    with style.styled():
        figure = Figure(figsize=size)
        axes = figure.add_axes((0.13, 0.33, 0.85, 0.5 if title else 0.58))
        moments = _moments(time.max())
        for name, colour, height in (("high", style.HIGH, -0.37), ("low", style.LOW, -0.48)):
            mine = group == name
            if mine.any():
                _curve(axes, time[mine], event[mine], colour)
            died = int(event[mine].sum())
            axes.plot([], [], color=colour, lw=2, label=f"{name} risk: {died} of {mine.sum()} died")
            axes.text(-0.045, height, name, color=colour, transform=axes.transAxes, ha="right", fontsize=8)
            for moment, count in zip(moments, km.at_risk(time[mine], moments), strict=True):
                axes.text(moment, height, str(count), transform=axes.get_xaxis_transform(), ha="center", fontsize=8)
        axes.text(-0.045, -0.26, "at risk", transform=axes.transAxes, color=style.SOFT, fontsize=8, ha="right")
        high = group == "high"
        if fold is not None and len(np.unique(fold)) > 1:
            words = logrank_words(p_over_folds(time, event, high, fold, patients))
        else:
            words = logrank_words(logrank_p(time, event, high), over_folds=False)
        if (ratio := hazard_ratio(time, event, high, fold)) is not None:
            words = f"hazard ratio {ratio:.2f}, {words}"
        axes.text(1.0, -0.26, words, transform=axes.transAxes, ha="right", fontsize=8, weight="bold")
        # Above the axes: inside them no corner is free in every cohort.
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2}
        axes.legend(ncols=2, frameon=False, fontsize=8, handlelength=1.4, borderpad=0.2, **place)
        axes.set(xlim=(0, max(time.max(), moments[-1]) * 1.02), ylim=(0, 1.03), xticks=moments)
        axes.set_title(title, pad=20)
        axes.set_xlabel("Months", labelpad=1)
        axes.set_ylabel("Survival")
        axes.yaxis.grid(True, color=style.LINE, lw=0.6)
        axes.set_axisbelow(True)
    return figure


def logrank_words(p: float | None, over_folds: bool = True) -> str:
    """What the test of two risk groups says, in words."""
    if p is None:
        return "log-rank test: not possible"
    return f"log-rank test{' over folds' * over_folds}: p {p_text(p)}"


def p_text(p: float) -> str:
    """`= 0.032`, `= 4.1e-05` or `< 1e-16`."""
    if p < 1e-16:
        return "< 1e-16"
    return f"= {p:.3f}" if p >= 0.001 else f"= {p:.1e}"


def _curve(axes: Axes, time: np.ndarray, event: np.ndarray, colour: str) -> None:
    curve = km.kaplan_meier(time, event)
    axes.plot(curve.times, curve.survival, color=colour, lw=1.7, drawstyle="steps-post")
    axes.fill_between(curve.times, curve.lower, curve.upper, step="post", color=colour, alpha=0.12, lw=0)
    censored = np.unique(time[~event])
    levels = curve.survival[np.searchsorted(curve.times, censored, side="right") - 1]
    points = [(x, y + step) for x, y in zip(censored, levels, strict=True) for step in (-0.012, 0.012)]
    if points:  # one path for all marks: a marker each would make the page several times as large
        codes = [Outline.MOVETO, Outline.LINETO] * len(censored)
        axes.add_patch(PathPatch(Outline(points, codes), edgecolor=colour, lw=0.6, fill=False))


def _moments(longest: float) -> np.ndarray:
    """Whole years at which to count patients: at most eight, evenly spaced, from 0."""
    step = next(
        months for months in (6, 12, 24, 36, 48, 60, 120, 240, 1200) if longest / months <= 7.5 or months == 1200
    )
    return np.arange(0, longest + 1e-9, step)
