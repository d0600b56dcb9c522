"""Learning curves: one line a model over the values of a dial, each with its interval, below the oracle's."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from . import style
from .style import clip

COLOURS = (style.LOW, style.HIGH, "#1a7f5a", "#c77700", "#2b7bba", "#7a5230", "#8a8699", "#111111")
MARKERS = "osD^vPX*"

Place = tuple[float, float, float | None, float | None]
"""A point of a curve: value of the dial, mean, and its interval where there is one."""


def curves(
    models: Mapping[str, Sequence[Place]], oracle: Sequence[Place], label: str, title: str = "", log: bool = False
) -> Figure:
    """C-index over a dial.

    Parameters
    ----------
    models
        The curve of every model.
    oracle
        That of the true hazard, dashed; halfway between it and 0.5 a dotted line.
    label
        What the dial sets.
    log
        Whether its axis is logarithmic.
    """
    with style.styled():
        figure = Figure(figsize=(7.2, 4.0))
        axes = figure.add_axes((0.09, 0.13, 0.62, 0.77))
        if log:
            axes.set_xscale("log")
        ends = []
        for place, (name, curve) in enumerate(models.items()):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            x, y = [one[0] for one in curve], [one[1] for one in curve]
            axes.plot(x, y, color=colour, lw=1.6, marker=marker, ms=4.5, mew=0)
            # Side by side, so that the intervals of many models can be told apart.
            aside = 0.012 * (place - (len(models) - 1) / 2)
            for value, _, lower, upper in curve:
                if lower is not None and upper is not None:
                    at = value * (1 + aside) if log else value + aside * (oracle[-1][0] - oracle[0][0])
                    axes.plot([at, at], [lower, upper], color=colour, lw=1, alpha=0.55)
            ends.append((y[-1], name, colour))
        x = [one[0] for one in oracle]
        axes.plot(x, [one[1] for one in oracle], color=style.INK, lw=1, ls=(0, (4, 2)))
        axes.plot(x, [(0.5 + one[1]) / 2 for one in oracle], color=style.SOFT, lw=0.9, ls=(0, (1, 2)))
        ends += [(oracle[-1][1], "oracle", style.INK), ((0.5 + oracle[-1][1]) / 2, "half of the oracle", style.SOFT)]
        axes.axhline(0.5, color=style.LINE, lw=0.8)
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.minorticks_off()
        means = [one[1] for curve in (*models.values(), oracle) for one in curve]
        axes.set_ylim(min(0.46, *means) - 0.01, max(means) + 0.03)  # wide intervals of few draws may leave the frame
        axes.set(xlabel=label, ylabel="C-index", title=clip(title, 80))
        low, high = axes.get_ylim()
        step, below = 0.05 * (high - low), -1.0
        for y, name, colour in sorted(ends):  # names beside the ends of their lines, none upon another
            below = max(y, below + step)
            share = (below - low) / (high - low)
            axes.annotate(
                clip(name, 24), (1.02, share), xycoords="axes fraction", va="center", color=colour, fontsize=8
            )
    return figure
