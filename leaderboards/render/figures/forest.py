"""A forest plot of the lines of a ranking: every fold, the mean of each line, and the best baseline."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ...ranking.board import BASELINE, Line, names_of
from . import style
from .style import clip


def forest(lines: Sequence[Line], title: str = "", width: float = 7.2) -> Figure:
    """One row per line: the C-index of each fold (dots), mean ± SD at `selected` (bar), mean at `best` (open
    diamond). The dotted line is the best baseline, where there is one."""
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
        baselines = [mean for line in lines if line.family == BASELINE and (mean := line.selected.mean) is not None]
        if baselines:
            axes.axvline(max(baselines), color=style.INK, lw=1, ls=(0, (1, 2)))
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
