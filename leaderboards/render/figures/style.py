"""The one look of all figures: colours, type, and saving without anything that changes from run to run.

Every function of this folder that draws returns a matplotlib Figure that belongs to nobody else (no pyplot, no global
state); `save` writes it as SVG, PNG or PDF.
"""

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ....files import write_whole

# Hematoxylin and eosin: the two stains of every slide. They differ in lightness too, so they survive grey print.
INK = "#1c1829"
SOFT = "#5d5872"
LINE = "#dedae8"
LOW = "#4a3aa7"
HIGH = "#c9306f"
PAPER = "#fefefe"

RC: dict[Any, Any] = {
    "axes.edgecolor": SOFT,
    "axes.facecolor": "none",
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "figure.facecolor": PAPER,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so figures look the same everywhere
    "font.size": 9,
    "lines.solid_capstyle": "butt",
    "path.simplify": False,
    "pdf.fonttype": 42,  # TrueType, embedded: journals refuse Type 3
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "milsurv",
    "text.color": INK,
    "text.parse_math": False,  # names from data stay text
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


def styled():
    """A context in which figures are made and saved in the house style."""
    return matplotlib.rc_context(RC)


def svg(figure: Figure, outlines: bool = False) -> str:
    """The figure as SVG text; the same figure gives the same text on every run. With `outlines`, letters are drawn as
    shapes, so that it looks the same where the font is missing."""
    stream = io.StringIO()
    with styled(), matplotlib.rc_context({"svg.fonttype": "path" if outlines else "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write the figure whole to `path`; the ending (.svg, .png, .pdf) chooses the format. PNGs have 200 dots per
    inch."""
    path = Path(path)
    kind = path.suffix.removeprefix(".").lower()
    if kind == "svg":
        return write_whole(path, svg(figure, outlines=True))
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
    if kind not in metadata:
        raise ValueError(f"{path.name}: figures are saved as .svg, .png or .pdf")
    stream = io.BytesIO()
    with styled():
        figure.savefig(stream, format=kind, dpi=200, metadata=metadata[kind])
    return write_whole(path, stream.getvalue())


def clip(text: str, most: int = 36) -> str:
    """Text of at most so many letters."""
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
