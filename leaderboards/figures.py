"""Figures in one style: Kaplan-Meier curves of risk groups, and a forest plot of the lines of a ranking.

Every function returns a matplotlib Figure that belongs to nobody else (no pyplot, no global state); `style.save`
writes it as SVG, PNG or PDF.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from numpy.typing import ArrayLike

from . import style
from .across import Across
from .ranking import CONTROL, Line, names_of
from .survival_curves import at_risk, hazard_ratio, kaplan_meier_curve, logrank_p


def kaplan_meier(
    time: ArrayLike, event: ArrayLike, group: ArrayLike, title: str = "", size: tuple[float, float] = (5.4, 3.7)
) -> Figure:
    """Survival of the high-risk and the low-risk group, with the hazard ratio between them, log-rank p and the
    numbers at risk.

    `time` (n,) in months, `event` (n,) True = died, `group` (n,) holds "high" or "low". Raises ValueError for other
    words.
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
            for moment, count in zip(moments, at_risk(time[mine], moments), strict=True):
                axes.text(moment, height, str(count), transform=axes.get_xaxis_transform(), ha="center", fontsize=8)
        axes.text(-0.045, -0.26, "at risk", transform=axes.transAxes, color=style.SOFT, fontsize=8, ha="right")
        p = logrank_p(time, event, group == "high")
        ratio = hazard_ratio(time, event, group == "high")
        words = "log-rank test: not possible" if p is None else f"log-rank p {p_text(p)}"
        if ratio is not None:
            words = f"hazard ratio {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}], {words}"
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


def forest(lines: Sequence[Line], title: str = "", width: float = 7.2) -> Figure:
    """One row per line: the C-index of each fold (dots), mean ± SD at `selected` (bar), mean at `best` (open
    diamond). The dotted line is the best control, where there is one."""
    with style.styled():
        height = 0.30 * max(len(lines), 1)
        total = height + (1.0 if title else 0.65)
        figure = Figure(figsize=(width, total))
        axes = figure.add_axes((0.34, 0.5 / total, 0.64, (height + 0.1) / total))
        for place, line in enumerate(lines):
            folds = np.asarray(line.folds["selected"])
            axes.plot(folds, np.full(len(folds), place), "o", ms=3.6, color=style.LOW, alpha=0.35, mew=0)
            mean, sd = line.selected.mean, line.selected.sd or 0.0
            if mean is None:
                continue
            axes.plot([mean - sd, mean + sd], [place, place], color=style.LOW, lw=2)
            axes.plot([mean], [place], "s", ms=5.5, color=style.LOW, mew=0)
            best = line.spreads["c_index_best"].mean
            if best is not None:
                axes.plot([best], [place], "D", ms=4.2, mfc="none", mec=style.HIGH, mew=1)
        axes.axvline(0.5, color=style.SOFT, lw=0.8, ls=(0, (2, 2)))
        controls = [mean for line in lines if line.family == CONTROL and (mean := line.selected.mean) is not None]
        if controls:
            axes.axvline(max(controls), color=style.INK, lw=1, ls=(0, (1, 2)))
        oracles = [mean for line in lines if (mean := line.spreads["oracle_c_index"].mean) is not None]
        if oracles:
            axes.axvline(max(oracles), color=style.HIGH, lw=0.8, ls=(0, (4, 2)))
        axes.set_yticks(
            range(len(lines)), [clip(f"{line.rank}  {name}") for line, name in zip(lines, names_of(lines), strict=True)]
        )
        axes.tick_params(axis="y", length=0, labelcolor=style.INK)
        axes.set(ylim=(len(lines) - 0.4, -0.6), title=title)
        axes.set_xlabel("C-index: folds, mean ± SD at selected, mean at best (diamond)", fontsize=8)
        axes.xaxis.set_label_coords(1.0, -0.27 / (height + 0.1))
        axes.xaxis.label.set_horizontalalignment("right")
        axes.xaxis.grid(True, color=style.LINE, lw=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
    return figure


def critical_difference(found: Across, width: float = 7.2) -> Figure:
    """Mean ranks on one axis, best at the left; a bar joins models that the critical difference does not tell apart
    (Demšar 2006)."""
    ranks, k = found.ranks, len(found.models)
    left = (k + 1) // 2
    with style.styled():
        depth = 0.32 + 0.15 * len(found.groups) + 0.26 * left
        total = depth + 0.95
        figure = Figure(figsize=(width, total))
        axes = figure.add_axes((0.25, 0.02, 0.5, 0.9 / total * depth / 0.9))
        axes.set(xlim=(1, k), ylim=(depth, 0))
        axes.xaxis.tick_top()
        axes.set_xticks(range(1, k + 1))
        for name in ("left", "bottom", "right"):
            axes.spines[name].set_visible(False)
        axes.spines["top"].set_visible(True)
        axes.set_yticks([])
        start = 0.16
        for number, (first, last) in enumerate(found.groups):
            height = start + 0.15 * number
            ends = [ranks[first] - 0.03, ranks[last] + 0.03]
            axes.plot(ends, [height, height], color=style.HIGH, lw=3.2, solid_capstyle="round", clip_on=False)
        below = start + 0.15 * len(found.groups) + 0.1
        for place, (name, rank) in enumerate(zip(found.models, ranks, strict=True)):
            near = place < left
            height = below + 0.26 * (place if near else k - 1 - place)
            edge = 1 - 0.02 * (k - 1) if near else k + 0.02 * (k - 1)
            axes.plot([rank, rank, edge], [0, height, height], color=style.LOW, lw=1, clip_on=False)
            words = [f"{clip(name, 26)}  {rank:.2f}", f"{rank:.2f}  {clip(name, 26)}"][not near]
            shift = -0.01 * (k - 1) if near else 0.01 * (k - 1)
            axes.text(edge + shift, height, words, ha="right" if near else "left", va="center", fontsize=8.5)
        reach = min(found.critical_difference, k - 1)
        at = -0.56
        axes.plot([1, 1 + reach], [at, at], color=style.SOFT, lw=1.4, clip_on=False)
        for end in (1, 1 + reach):
            axes.plot([end, end], [at - 0.05, at + 0.05], color=style.SOFT, lw=1.4, clip_on=False)
        words = f"critical difference {found.critical_difference:.2f}"
        words += " (longer than the axis)" * (found.critical_difference > k - 1)
        axes.text(1, at - 0.09, words, fontsize=8, color=style.SOFT, va="bottom")
    return figure


def p_text(p: float) -> str:
    """`= 0.032`, `= 4.1e-05` or `< 1e-16`."""
    if p < 1e-16:
        return "< 1e-16"
    return f"= {p:.3f}" if p >= 0.001 else f"= {p:.1e}"


def _curve(axes: Axes, time: np.ndarray, event: np.ndarray, colour: str) -> None:
    curve = kaplan_meier_curve(time, event)
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


def clip(text: str, most: int = 36) -> str:
    """Text of at most so many letters."""
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
