"""A page for a patient, self-contained and ready to print: risk, percentile, survival, and what to think of them."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...files import file_names, write_whole
from ...leaderboards.render.figures import style
from .predict import MONTHS, NOT_A_DEVICE, PatientPrediction, Predicted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """Templates that escape everything from data."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def write_reports(
    found: Predicted, folder: Path, pictures: Mapping[str, Sequence[tuple[str, str]]] | None = None
) -> list[Path]:
    """A page for every patient, and their paths.

    pictures: by patient, (caption, data URI) of heatmaps.
    """
    names = file_names(one.patient for one in found.patients)
    template = environment().get_template("report.html.jinja")
    paths = []
    for one in found.patients:
        page = template.render(
            patient=one,
            row=found.ensemble.row,
            about=found.ensemble.about,
            n_models=len(found.ensemble.models),
            curve=Markup(svg_of(survival_figure(one))),
            scale=Markup(svg_of(percentile_figure(one))),
            survival=[(months // 12, spread) for months, spread in one.survival.items()],
            pictures=(pictures or {}).get(one.patient, ()),
            note=NOT_A_DEVICE,
            today=date.today().isoformat(),
        )
        paths.append(write_whole(folder / f"{names[one.patient]}.html", page))
    return paths


def svg_of(figure: "Figure") -> str:
    """A figure as an `<svg>` element."""
    text = style.svg(figure, outlines=True)
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def survival_figure(one: PatientPrediction) -> "Figure":
    """The survival curve of all models together, and thin ones of each."""
    from matplotlib.figure import Figure

    with style.styled():
        figure = Figure(figsize=(5.2, 2.9))
        axes = figure.add_axes((0.11, 0.17, 0.86, 0.78))
        months = np.array([0.0, *one.edges])
        for curve in one.curves:
            axes.plot(months, [1.0, *curve], color=style.SOFT, lw=0.7, alpha=0.7)
        axes.plot(months, [1.0, *one.curve], color=style.HIGH if one.high_risk else style.LOW, lw=2.2)
        for year in MONTHS:
            axes.axvline(year, color=style.LINE, lw=0.8, zorder=0)
        axes.set(
            xlim=(0, max(months[-1], MONTHS[-1])), ylim=(0, 1.03), xticks=range(0, int(max(months[-1], 60)) + 1, 12)
        )
        axes.set_xlabel("Months")
        axes.set_ylabel("Predicted survival")
    return figure


def percentile_figure(one: PatientPrediction) -> "Figure":
    """Where the patient stands within the training cohort, from low to high risk."""
    from matplotlib.figure import Figure

    with style.styled():
        figure = Figure(figsize=(5.2, 0.8))
        axes = figure.add_axes((0.02, 0.42, 0.96, 0.3))
        axes.imshow(np.linspace(0, 1, 200)[None], extent=(0, 100, 0, 1), aspect="auto", cmap=_colours(), alpha=0.55)
        for percentile in one.percentiles:
            if percentile is not None:
                axes.plot([percentile] * 2, [0, 1], color=style.SOFT, lw=0.9)
        if one.percentile.value is not None:
            axes.plot([one.percentile.value] * 2, [-0.35, 1.35], color=style.INK, lw=2.6, clip_on=False)
        axes.set(xlim=(0, 100), ylim=(0, 1), yticks=[], xticks=[0, 25, 50, 75, 100])
        axes.set_xticklabels(["", "25", "median", "75", ""])
        for x, text, side in ((0, "lowest risk", "left"), (100, "highest risk", "right")):
            axes.annotate(text, (x, 0), (0, -5), textcoords="offset points", ha=side, va="top", fontsize=8)
        axes.tick_params(length=2)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def _colours():
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("risk", [style.LOW, "#f3f1f7", style.HIGH])
