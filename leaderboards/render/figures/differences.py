"""Figures of differences: an ablation cell by cell against its baseline, and what choosing the epoch on the test fold
is worth."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ...ranking.board import Line, names_of
from ..ablation import Ablation
from . import style
from .style import clip


def ablation(found: Ablation, width: float = 7.2) -> Figure:
    """Every cell minus its baseline, with its 95 % interval, a panel a backbone; filled: it is shown."""
    columns, rows = len(found.backbones), len(found.rows)
    height = 0.3 * rows
    total = height + 1.05
    ends = [
        abs(end)
        for row in found.cells
        for cell in row
        if cell is not None and cell.pair is not None
        for end in (cell.pair.difference.low, cell.pair.difference.high)
    ]
    reach = max([*ends, 0.01]) * 1.08
    with style.styled():
        figure = Figure(figsize=(width, total))
        figure.text(
            1.75 / width, 1 - 0.1 / total, clip(found.title, 60), ha="left", va="top", fontsize=10, weight="bold"
        )
        left, gap = 1.75 / width, 0.18 / width
        each = (1 - left - 0.12 / width - gap * (columns - 1)) / columns
        for place, backbone in enumerate(found.backbones):
            axes = figure.add_axes((left + place * (each + gap), 0.48 / total, each, height / total))
            axes.axvline(0, color=style.SOFT, lw=0.8)
            for at, row in enumerate(found.cells):
                cell = row[place]
                if cell is None:
                    continue
                if cell.pair is None:
                    if cell.is_reference:
                        axes.plot([0], [at], "|", color=style.INK, ms=9, mew=1.6)
                    continue
                difference, shown = cell.pair.difference, cell.pair.shown
                colour = style.LOW if difference.value >= 0 else style.HIGH
                axes.plot([difference.low, difference.high], [at, at], color=colour, lw=1.6)
                fill = colour if shown else style.PAPER
                axes.plot([difference.value], [at], "o", ms=5, mfc=fill, mec=colour, mew=1.2)
            axes.set(xlim=(-reach, reach), ylim=(rows - 0.5, -0.5))
            axes.set_title(clip(backbone, 28), fontsize=9)
            names = [clip(name, 25) for name in found.rows] if place == 0 else [""] * rows
            axes.set_yticks(range(rows), names)
            axes.tick_params(axis="y", length=0, labelcolor=style.INK)
            axes.locator_params(axis="x", nbins=5 if columns < 3 else 3)
            axes.xaxis.grid(True, color=style.LINE, lw=0.6)
            axes.set_axisbelow(True)
            axes.spines["left"].set_visible(False)
        words = f"C-index minus that of {clip(found.reference, 40)}, 95 % interval; filled: shown"
        figure.text(1 - 0.12 / width, 0.06 / total, words, ha="right", va="bottom", fontsize=8, color=style.SOFT)
    return figure


def optimism(lines: Sequence[Line], title: str = "", width: float = 7.2) -> Figure:
    """From `selected` (square) to `best` (diamond) for every line that has both: the part of a published number that
    comes from choosing the epoch on the test fold."""
    known = [line for line in lines if line.gap is not None]
    height = 0.28 * max(len(known), 1)
    total = height + (0.95 if title else 0.65)
    with style.styled():
        figure = Figure(figsize=(width, total))
        axes = figure.add_axes((0.3, 0.5 / total, 0.6, (height + 0.05) / total))
        for at, line in enumerate(known):
            low, high = line.selected.mean or 0.0, line.spreads["c_index_best"].mean or 0.0
            axes.plot([low, high], [at, at], color=style.HIGH, lw=1.4)
            axes.plot([low], [at], "s", ms=5.2, color=style.LOW, mew=0)
            axes.plot([high], [at], "D", ms=4.6, mfc=style.PAPER, mec=style.HIGH, mew=1.1)
            axes.annotate(
                f"{line.gap:+.3f}".replace("-", "\N{MINUS SIGN}"),
                (max(low, high), at),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=style.INK,
            )
        gaps = [line.gap for line in known if line.gap is not None]
        axes.set_yticks(range(len(known)), [clip(name, 32) for name in names_of(known)])
        axes.tick_params(axis="y", length=0, labelcolor=style.INK)
        axes.set(ylim=(len(known) - 0.4, -0.6), title=title)
        axes.margins(x=0.08)
        axes.set_xlabel(
            f"C-index at selected (square) and at best (diamond); mean gap {np.mean(gaps) if gaps else 0:+.3f}",
            fontsize=8,
        )
        axes.xaxis.grid(True, color=style.LINE, lw=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
    return figure
