"""The matrix of transfer: a row for what models were trained on, a column for what they were tested on."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from . import style
from .style import clip


def transfer(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Mapping[tuple[str, str], tuple[float, float, float]],
    title: str = "",
) -> Figure:
    """C-indices with their intervals; a framed cell is of test folds of the training cohort itself.

    Parameters
    ----------
    rows, columns
        What was trained on, and what was tested on.
    values
        (C-index, low, high) by (row, column); cells may be missing.
    """
    with style.styled():
        width, height = 1.9 + 1.15 * len(columns), 1.35 + 0.62 * len(rows)
        figure = Figure(figsize=(width, height))
        left, top = 1.7 / width, 1.0 / height
        axes = figure.add_axes((left, 0.1 / height, 1 - left - 0.1 / width, 1 - top - 0.1 / height))
        axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
        axes.xaxis.tick_top()
        axes.set_xticks([x + 0.5 for x in range(len(columns))], [clip(name, 16) for name in columns])
        axes.set_yticks([y + 0.5 for y in range(len(rows))], [clip(name, 22) for name in rows])
        axes.tick_params(length=0)
        axes.xaxis.set_label_position("top")
        axes.set_xlabel("Tested on", labelpad=8)
        axes.set_ylabel("Trained on")
        for spine in axes.spines.values():
            spine.set_visible(False)
        for y, row in enumerate(rows):
            for x, column in enumerate(columns):
                found = values.get((row, column))
                if found is None:
                    axes.text(x + 0.5, y + 0.5, "\N{EN DASH}", ha="center", va="center", color=style.SOFT)
                    continue
                value, low, high = found
                colour = style.HIGH if value >= 0.5 else style.LOW
                axes.fill_between((x + 0.03, x + 0.97), y + 0.04, y + 0.96, color=colour, lw=0,
                                  alpha=min(0.75, 2 * abs(value - 0.5)))  # fmt: skip
                axes.text(x + 0.5, y + 0.42, f"{value:.3f}", ha="center", va="center", weight="bold")
                axes.text(x + 0.5, y + 0.72, f"[{low:.3f}, {high:.3f}]", ha="center", va="center", fontsize=7)
                if row == column:
                    axes.plot([x + 0.03, x + 0.97, x + 0.97, x + 0.03, x + 0.03],
                              [y + 0.04, y + 0.04, y + 0.96, y + 0.96, y + 0.04], color=style.INK, lw=1.2)  # fmt: skip
        figure.text(0.1 / width, 1 - 0.22 / height, title, weight="bold", fontsize=10)
    return figure
