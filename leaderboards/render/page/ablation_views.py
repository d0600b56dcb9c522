"""What scale and fusion are worth, and what the backbone is: lines of one ranking laid out over both axes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ...ranking.board import BASELINE, IMPORTED, Line, Ranking
from .. import text_tables

MOST = 60
"""Rows above which a matrix is no picture any more."""


@dataclass(frozen=True)
class AblationLine:
    """One line in a cell: its address, C-index, interval, what else tells it apart, and the depth of its tint."""

    link: str
    value: str
    interval: str
    variant: str
    tint: int


@dataclass(frozen=True)
class AblationView:
    """Rows are what a model reads and how it fuses it (model, scales), columns are backbones."""

    backbones: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...], tuple[tuple[AblationLine, ...], ...]], ...]


def ablation_view(ranking: Ranking, links: Mapping[str, str]) -> AblationView | None:
    """The matrix of a ranking: the architectures of which more than one combination was run; None where there is none,
    or where there are more than `MOST` rows."""
    places = [place for place, line in enumerate(ranking.lines) if line.family not in (BASELINE, IMPORTED)]
    lines = [ranking.lines[place] for place in places]
    runs = {(_architecture(line), *_order(line), line.backbone or text_tables.NONE) for line in lines}
    varied = {name for name, times in Counter(architecture for architecture, *_ in runs).items() if times > 1}
    reads = sorted({run[:-1] for run in runs if run[0] in varied})
    backbones = tuple(sorted({run[-1] for run in runs if run[0] in varied}))
    if not 0 < len(reads) <= MOST:
        return None
    means = [line.selected.mean or 0.0 for line in lines]
    low, high = min([0.5, *means]), max(means)
    found: dict[tuple[str, str, str], list[AblationLine]] = {}
    for place, line in zip(places, lines, strict=True):
        cell = (line.method, line.scales or "", line.backbone or text_tables.NONE)
        found.setdefault(cell, []).append(_ablation_line(ranking, place, links, low, high))
    rows = []
    for _, _, model, _, scales in reads:
        cells = (tuple(found.get((model, scales, backbone), ())) for backbone in backbones)
        rows.append((model, tuple(scale.strip() for scale in scales.split(",") if scale.strip()), tuple(cells)))
    return AblationView(backbones, tuple(rows))


def _architecture(line: Line) -> str:
    """`abmil` of `abmil-late`: the name up to its first hyphen says what is fused, the rest says how."""
    return line.model.partition("-")[0]


def _order(line: Line) -> tuple[int, str, str, str]:
    """More scales first, then from coarse to fine."""
    scales = line.scales or ""
    numbers = [scale.strip() for scale in scales.split(",")]
    return -len(numbers), line.method, ",".join(number.zfill(4) for number in numbers), scales


def _ablation_line(ranking: Ranking, place: int, links: Mapping[str, str], low: float, high: float) -> AblationLine:
    line = ranking.lines[place]
    mean = line.selected.mean or 0.0
    intervals = {} if ranking.evidence is None else ranking.evidence.intervals[place]
    tint = round(100 * (mean - low) / max(high - low, 0.02))
    words = ", ".join(word for word in (line.variant, line.recipe if line.recipe != "default" else "") if word)
    return AblationLine(
        links[line.experiments[0]], f"{mean:.3f}", text_tables.interval(intervals.get("selected")), words, tint
    )
