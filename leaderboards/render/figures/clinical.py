"""Clinical curves as figures, from the tidy tables that lie beside results: `curve`, `fold`, `x`, `y`.

`auc`, `brier` and `brier_km` are over months, one curve a fold; `calibration_<months>` is of all folds together.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .style import clip

SHADES = ("#4a3aa7", "#c9306f", "#1b7f79", "#b8741a", "#5d5872", "#2f6fb3")
"""Told apart with any colour vision, and by their dashes in print."""
DASHES = ("-", (0, (5, 1.6)), (0, (1.6, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (8, 2)))
_TITLES = {"auc": "Time-dependent AUC", "brier": "Brier score"}


def over_time(tables: Mapping[str, pd.DataFrame], curve: str, title: str = "") -> Figure | None:
    """`auc` or `brier` of up to six lines over months, mean over folds; where half of the folds have a value.

    With `brier`, the dotted line is the Kaplan-Meier estimate, which knows no patient. None where none has it.
    """
    known = {name: mean for name, table in tables.items() if (mean := _mean(table, curve)) is not None}
    if not known:
        return None
    with style.styled():
        figure, axes = _axes(title)
        for place, (name, (months, values)) in enumerate(list(known.items())[: len(SHADES)]):
            axes.plot(months, values, color=SHADES[place], ls=DASHES[place], lw=1.6, label=clip(name, 24))
        null = next((mean for table in tables.values() if (mean := _mean(table, "brier_km")) is not None), None)
        if curve == "brier" and null is not None:
            axes.plot(*null, color=style.INK, lw=1.2, ls=(0, (1, 2)), label="Kaplan-Meier")
        if curve == "auc":
            axes.axhline(0.5, color=style.SOFT, lw=0.8, ls=(0, (2, 2)))
        axes.set_xlabel("Months")
        axes.set_ylabel(_TITLES[curve])
        _finish(axes)
    return figure


def calibration(tables: Mapping[str, pd.DataFrame], months: int, title: str = "") -> Figure | None:
    """The risk of dying by `months` that came true against the one that was predicted, all folds together; the diagonal
    is a model whose probabilities hold. None where no line has the curve."""
    with style.styled():
        figure, axes = _axes(title)
        axes.plot([0, 1], [0, 1], color=style.SOFT, lw=0.8, ls=(0, (2, 2)))
        shown, most = 0, 0.0
        for name, table in tables.items():
            mine = pd.DataFrame(table[table["curve"] == f"calibration_{months}"]).sort_values("x")
            if len(mine) < 2 or shown == len(SHADES):
                continue
            x, y = np.asarray(mine["x"], dtype=float), np.asarray(mine["y"], dtype=float)
            axes.plot(x, y, color=SHADES[shown], ls=DASHES[shown], lw=1.6, label=clip(name, 24))
            shown, most = shown + 1, max(most, float(x.max()), float(y.max()))
        if not shown:
            return None
        top = min(1.0, most * 1.04)
        axes.set(xlim=(0, top), ylim=(0, top))
        axes.set_xlabel(f"Predicted risk of dying within {months} months")
        axes.set_ylabel("Risk that came true")
        _finish(axes)
    return figure


def _mean(table: pd.DataFrame, curve: str) -> tuple[np.ndarray, np.ndarray] | None:
    mine = pd.DataFrame(table[table["curve"] == curve])
    if mine.empty:
        return None
    folds = mine["fold"].nunique()
    grouped = pd.DataFrame(mine.groupby("x")["y"].agg(["mean", "count"]))
    kept = pd.DataFrame(grouped[grouped["count"] * 2 >= folds])
    return np.asarray(kept.index, dtype=float), np.asarray(kept["mean"], dtype=float)


def _axes(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 3.6))
    axes = figure.add_axes((0.13, 0.15, 0.84, 0.61))
    axes.set_title(title)
    return figure, axes


def _finish(axes: Axes) -> None:
    rows = -(-len(axes.get_legend_handles_labels()[0]) // 2)
    axes.set_title(axes.get_title(loc="left"), pad=8 + 11.5 * rows)  # above the legend, however many rows it has
    axes.legend(
        ncols=2, frameon=False, fontsize=7.5, handlelength=2.4, loc="lower left", bbox_to_anchor=(0, 1.0), borderpad=0.2
    )
    axes.grid(True, color=style.LINE, lw=0.6)
    axes.set_axisbelow(True)
