"""The diagram of mean ranks over cohorts, with the critical difference between them."""

from matplotlib.figure import Figure

from ...ranking.across import Across
from . import style
from .style import clip


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
