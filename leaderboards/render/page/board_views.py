"""What the page's template needs of a board, computed beforehand, so that the template only lays out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ...cache.store import Cache
from ...experiments import IncompleteExperiment
from ...ranking.board import BASELINE, IMPORTED, Board, Line, Ranking
from ...result_row import READINGS
from .. import explanations, text_tables
from ..external import external_table
from ..figures.forest import forest
from ..printed import printed_table
from .ablation_views import AblationView, ablation_view
from .evidence_views import EvidenceView, evidence_view
from .group_curve_plots import SIZE, Plot
from .inline_svg import inline_svg, opening
from .line_details import facts, folds_table, missing, tuned_table
from .overview import OverviewRow, overview_row
from .row_bars import Axis, Bar, axis, bar

FOREST = 40
"""Lines of the forest plot below a table; the rows of the table show all of them."""


_DRAWN = ("c_index_selected", "c_index_best", "oracle_c_index")


@dataclass(frozen=True)
class Cell:
    """A cell that can be sorted: its text, the number behind it (None sorts last), a hint, and a second small line."""

    name: str
    text: str
    value: float | None
    hint: str = ""
    below: str = ""


@dataclass(frozen=True)
class Reading:
    """One of the three readings of a line: mean, SD, interval in words, and its bar."""

    name: str
    text: str
    interval: str
    bar: Bar | None


@dataclass(frozen=True)
class LineView:
    """One line of the page: its address, its bar, its sortable cells, what filters know, and what opening it shows."""

    line: Line
    key: str
    marks: tuple[str, ...]
    foremost: bool
    interval: str
    scales: tuple[str, ...]
    setting: str
    filters: Mapping[str, str]
    bar: Bar | None
    cells: tuple[Cell, ...]
    readings: tuple[Reading, ...]
    folds: text_tables.TextTable
    tuned: text_tables.TextTable
    missing: tuple[str, ...]
    plot: Plot | None
    curve: Markup | None
    no_curve: str
    facts: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class RankingView:
    """One table of the page, its axis, its figures, and what the lead of its first line is worth."""

    ranking: Ranking
    key: str
    facts: tuple[str, ...]
    overview: OverviewRow
    lines: tuple[LineView, ...]
    axis: Axis
    oracle: float | None
    baseline: float | None
    baseline_note: str
    size_note: str
    forest: Markup
    evidence: EvidenceView | None
    tuning: text_tables.TextTable | None
    ablation: AblationView | None


@dataclass(frozen=True)
class BoardView:
    """One cohort of the page."""

    key: str
    board: Board
    rankings: tuple[RankingView, ...]
    incomplete: tuple[IncompleteExperiment, ...]
    external: text_tables.TextTable | None
    printed: text_tables.TextTable | None


def board_view(board: Board, key: str, links: Mapping[str, str], plots: Mapping[str, Plot], cache: Cache) -> BoardView:
    """Everything the page shows of one board.

    `key` is its address, `links` are those of lines by their first experiment, `plots` the curves of risk groups by
    experiment.
    """
    rankings = tuple(
        _ranking(board, ranking, f"{key}-t{number}", links, plots, cache)
        for number, ranking in enumerate(board.rankings, 1)
    )
    external = external_table(board.title, board.external) if board.external else None
    return BoardView(key, board, rankings, board.incomplete, external, printed_table(board))


def _ranking(
    board: Board, ranking: Ranking, key: str, links: Mapping[str, str], plots: Mapping[str, Plot], cache: Cache
) -> RankingView:
    lines, shared = ranking.lines, axis(ranking)
    oracle = max((line.spreads["oracle_c_index"].mean or 0.0 for line in lines), default=0.0)
    sizes = sorted({(line.patients, line.events) for line in lines})
    words = [f"{patients} patients, {events} deaths" for patients, events in sizes]
    words += [f"{lines[0].n_folds} folds: {ranking.folds_name}"]
    words += [ranking.slides] if ranking.slides else []
    words += [f"oracle C-index {oracle:.3f}"] if oracle else []
    baseline = ranking.baseline.selected.mean if ranking.baseline else None
    return RankingView(
        ranking=ranking,
        key=key,
        facts=tuple(words),
        overview=overview_row(board, key, ranking, links),
        lines=tuple(_line(board, ranking, place, shared, links, plots) for place in range(len(lines))),
        axis=shared,
        oracle=shared.place(oracle) if oracle else None,
        baseline=None if baseline is None else shared.place(baseline),
        baseline_note=" ".join(text_tables.baseline_notes(ranking)),
        size_note=" ".join(explanations.size_notes(board, ranking)),
        forest=_forest(lines[:FOREST], f"{key}f", board.title, cache),
        evidence=None if ranking.evidence is None else evidence_view(board, ranking, ranking.evidence),
        tuning=text_tables.tuning_table(board, ranking) if any(line.tuned for line in lines) else None,
        ablation=ablation_view(ranking, links),
    )


def _forest(lines: Sequence[Line], key: str, title: str, cache: Cache) -> Markup:
    description = f"Forest plot of the C-index on {title}: folds, mean and standard deviation of each line"
    drawn = [
        {
            "line": (line.rank, line.label, line.family, line.folds["selected"]),
            "spreads": [(line.spreads[name].mean, line.spreads[name].sd) for name in _DRAWN],
        }
        for line in lines
    ]
    return Markup(
        cache.get(
            str,
            "forest",
            lambda: [key, title, drawn],
            lambda: str(inline_svg(forest(lines, width=5.6), key, description)),
        )
    )


def _line(
    board: Board, ranking: Ranking, place: int, shared: Axis, links: Mapping[str, str], plots: Mapping[str, Plot]
) -> LineView:
    line = ranking.lines[place]
    intervals = {} if ranking.evidence is None else ranking.evidence.intervals[place]
    seeds = f"{len(line.seeds)} seeds" if len(line.seeds) > 1 else ""
    shown = next((plots[experiment] for experiment in line.experiments if experiment in plots), None)
    why = "Imported without risk groups" if line.family == IMPORTED else "The predictions of this line are not here"
    return LineView(
        line=line,
        key=links[line.experiments[0]],
        marks=text_tables.marks(ranking, place),
        foremost=text_tables.foremost(ranking, place),
        interval=text_tables.interval(intervals.get("selected")),
        scales=tuple(scale.strip() for scale in (line.scales or "").split(",") if scale.strip()),
        setting=" · ".join(word for word in (_read(line), line.backbone, line.loss, line.recipe, seeds) if word),
        filters=_filters(board, ranking, line),
        bar=bar(line, shared, intervals),
        cells=_cells(line, {name: text_tables.interval(found, 2) for name, found in intervals.items()}),
        readings=tuple(
            Reading(
                name,
                text_tables.mean_sd(line.spreads[f"c_index_{name}"]),
                text_tables.interval(intervals.get(name)),
                bar(line, shared, intervals, name),
            )
            for name in READINGS
        ),
        folds=folds_table(line),
        tuned=tuned_table(line),
        missing=missing(line),
        plot=shown,
        curve=None if shown is None else _curve(shown, f"{line.label} on {board.title}"),
        no_curve=f"{why}, so there are no curves to show.",
        facts=facts(line),
        commands=tuple(dict.fromkeys(row.command for row in line.rows if row.command)),
    )


def _read(line: Line) -> str:
    """What a line reads that has no scales to show."""
    return "" if line.scales else f"reads {explanations.reads(line)}"


def _filters(board: Board, ranking: Ranking, line: Line) -> dict[str, str]:
    """What a line can be filtered by; a line without a value is found under none."""
    return {
        "backbone": line.backbone or "",
        "family": "baseline" if line.family == BASELINE else line.family or "",
        "scales": "" if not line.scales else text_tables.scales(line.scales),
        "loss": line.loss or "",
        "recipe": line.recipe or "",
        "slides": line.slides or "",
        "folds": ranking.folds_name,
        "cohort": "synthetic" if board.synthetic else "real",
    }


def _cells(line: Line, intervals: Mapping[str, str]) -> tuple[Cell, ...]:
    def metric(name: str, key: str, below: str = "") -> Cell:
        spread = line.spreads[key]
        text = text_tables.NONE if spread.mean is None else f"{spread.mean:.3f}"
        partial = "" if spread.n == spread.of else f"{spread.n} of {spread.of} folds have a value"
        return Cell(name, text + "*" * bool(partial and spread.mean is not None), spread.mean, partial, below)

    null = line.spreads["ibs_km"].mean
    ibs = metric("IBS", "ibs_selected")
    hint = ibs.hint or ("" if null is None else f"Kaplan-Meier null {null:.3f}")
    return (
        metric("Last", "c_index_last", intervals.get("last", "")),
        metric("Best", "c_index_best", intervals.get("best", "")),
        Cell(
            "Best \N{MINUS SIGN} selected",
            text_tables.signed(line.gap),
            line.gap,
            below="" if line.gap_to_last is None else f"{text_tables.signed(line.gap_to_last)} to last",
        ),
        metric("Uno's C", "uno_c_selected"),
        Cell(
            "AUC 12/36/60",
            text_tables.at_months(line, "auc", 2).replace(" ", ""),
            line.spreads["auc_36_selected"].mean,
            "sorted by 36 months",
        ),
        Cell(ibs.name, ibs.text, ibs.value, hint),
        Cell("Params", text_tables.quantity(line.parameters), line.parameters),
        Cell("s/fold", text_tables.seconds(line.seconds), line.seconds),
    )


def _curve(plot: Plot, of: str) -> Markup:
    """The curves of one line on the axes that it shares with others."""
    head = opening(72 * SIZE[0], 72 * SIZE[1], f"Kaplan-Meier curves of {of}: {'; '.join(plot.words)}")
    return Markup(f'{head}<use xlink:href="#{plot.key}"></use>{plot.curves}</svg>')
