"""A board as plain text cells: what the terminal, Markdown and LaTeX print."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...survival.comparisons import IntervalEstimate
from ..ranking.across import Across, across
from ..ranking.board import BASELINE, IMPORTED, Board, Line, Ranking, Spread, names_of
from ..ranking.evidence import Evidence, Pair, how
from ..result_row import ResultRow
from .external import external_table
from .text_table import NONE, TextTable, p_value, scales, signed, text_table


def tables(boards: Sequence[Board]) -> tuple[TextTable, ...]:
    """Boards as text tables, for a terminal: per cohort its rankings, comparisons and what is incomplete; then models
    across cohorts."""
    over = [across_table(found) for found in across(boards)]
    return (*(table for board in boards for table in board_tables(board)), *over)


def board_tables(board: Board, wide: bool = False) -> tuple[TextTable, ...]:
    """One table per ranking of the board, each followed by its comparisons where they were computed, then one of the
    incomplete experiments where there are any; where lines were tuned, what that brought. `wide` tables show the
    intervals of all readings, calibration, and the settings that were chosen."""
    found = []
    for number, ranking in enumerate(board.rankings):
        found.append(ranking_table(board, ranking, board.notes if number == 0 else (), wide))
        if ranking.evidence is not None and (ranking.evidence.pairs or ranking.evidence.left_out):
            found.append(comparison_table(board, ranking, ranking.evidence))
        if any(line.tuned for line in ranking.lines):
            found += [tuning_table(board, ranking), *[settings_table(board, ranking)] * wide]
    if board.external:
        shown = external_table(board.title, board.external)
        found.append(shown if found else replace(shown, notes=(*board.notes, *shown.notes)))
    if board.incomplete:
        found.append(incomplete_table(board, notes=() if found else board.notes))
    return tuple(found)


def ranking_table(board: Board, ranking: Ranking, notes: tuple[str, ...] = (), wide: bool = False) -> TextTable:
    """The lines of one ranking. Columns whose value is the same word in all lines stay: tables are read alone."""
    lines, evidence = ranking.lines, ranking.evidence
    intervals = evidence.intervals if evidence else tuple({} for _ in lines)

    def reading(name: str) -> list[str]:
        cells = [mean(line.spreads[f"c_index_{name}"]) for line in lines]
        if not wide:
            return cells
        return [f"{cell} {interval(found.get(name))}".strip() for cell, found in zip(cells, intervals, strict=True)]

    oracle = any(line.spreads["oracle_c_index"].mean is not None for line in lines)
    columns: list[tuple[str, bool, list[str]]] = [
        ("#", True, [str(line.rank) for line in lines]),
        ("Model", False, [line.label for line in lines]),
        ("Mark", False, [", ".join(marks(ranking, place)) for place in range(len(lines))]),
        ("Scales", False, [scales(line.scales) for line in lines]),
        ("Backbone", False, [line.backbone or NONE for line in lines]),
        ("Loss", False, [line.loss or NONE for line in lines]),
        ("Recipe", False, [line.recipe or NONE for line in lines]),
        ("Seeds", True, [str(len(line.seeds)) for line in lines]),
        ("C-index (selected)", True, [mean_sd(line.selected) for line in lines]),
        ("95 % interval", True, [interval(found.get("selected")) or NONE for found in intervals]),
        ("SD fold / seed", True, [NONE if line.split is None else split(line.split) for line in lines]),
        ("Last", True, reading("last")),
        ("Best", True, reading("best")),
        ("Optimism", True, [signed(line.gap) for line in lines]),
        ("Uno's C", True, [mean(line.spreads["uno_c_selected"]) for line in lines]),
        ("AUC 12/36/60", True, [at_months(line, "auc", 2) for line in lines]),
        ("IBS (KM)", True, [ibs(line) for line in lines]),
        ("ICI 12/36/60", True, [at_months(line, "ici", 3) for line in lines]),
        ("Oracle C", True, [mean(line.spreads["oracle_c_index"]) for line in lines]),
        ("Parameters", True, [quantity(line.parameters) for line in lines]),
        ("s/fold", True, [seconds(line.seconds) for line in lines]),
        ("Patients", True, [str(line.patients) for line in lines]),
        ("Events", True, [str(line.events) for line in lines]),
    ]
    empty = {
        "Oracle C": not oracle,
        "Mark": not any(marks(ranking, place) for place in range(len(lines))),
        "95 % interval": not any(intervals),
        "SD fold / seed": not any(line.split for line in lines),
        "ICI 12/36/60": not wide,
    }
    columns = [column for column in columns if not empty.get(column[0])]
    all_notes = (*notes, *baseline_notes(ranking))
    slides = f"; {ranking.slides}" if ranking.slides else ""
    found = text_table(f"{board.title}: folds {ranking.folds_name}{slides}", columns, all_notes)
    return replace(found, first=("#", "Model", "C-index (selected)", "95 % interval"))


def marks(ranking: Ranking, place: int) -> tuple[str, ...]:
    """What to know of a line before its number: that it is a baseline, was imported, or is below the best baseline."""
    family = ranking.lines[place].family
    kinds = ["baseline"] if family == BASELINE else [IMPORTED] if family == IMPORTED else []
    return (*kinds, *["below baseline"] * (place in ranking.below_baseline))


def baseline_notes(ranking: Ranking) -> tuple[str, ...]:
    """The best baseline of the ranking, and which models are below it."""
    best = ranking.baseline
    if best is None:
        return ()
    first = f"Best baseline: {best.label}, {mean(best.selected)}, which sees no slide."
    names = names_of(ranking.lines)
    below = [names[place] for place in ranking.below_baseline]
    if below:
        return (f"{first} Below it: {', '.join(below)}.",)
    models = any(line.family != BASELINE for line in ranking.lines)
    return (f"{first} No model is below it." if models else first,)


def comparison_table(board: Board, ranking: Ranking, evidence: Evidence) -> TextTable:
    """The leader of a ranking against every other line, and the verdict as notes."""
    notes = [evidence.verdict]
    if evidence.pairs:
        notes.append(how(evidence.resamples, leader=True))
    notes += [f"Left out: {reason}." for reason in evidence.left_out]
    title = f"{board.title}: {ranking.lines[0].label} against the other lines"
    found = pairs_table(title, names_of(ranking.lines), evidence.pairs, tuple(notes), leader=True)
    return replace(found, first=("Against", "Difference", "95 % interval", "Verdict"))


TUNING = (
    "Difference: the tuned line minus the same without tuning, on the same patients and folds. Inner: C-index on "
    "held-out patients of the training sets, by which settings were chosen: a chosen one looks better there than it is."
)


def tuning_table(board: Board, ranking: Ranking) -> TextTable:
    """What tuning brought: every tuned line, beside the same without tuning where that was run."""
    lines, names, evidence = ranking.lines, names_of(ranking.lines), ranking.evidence
    places = [place for place, line in enumerate(lines) if line.tuned]
    pairs = {pair.first: pair for pair in evidence.tuned} if evidence else {}
    found = [pairs.get(place) for place in places]

    def inner(place: int, field: str) -> str:
        values = [getattr(row, field) for row in lines[place].rows]
        return NONE if None in values else f"{sum(values) / len(values):.3f}"

    columns = [
        ("Tuned line", False, [names[place] for place in places]),
        ("C-index", True, [mean(lines[place].selected) for place in places]),
        ("Without tuning", True, [NONE if pair is None else mean(lines[pair.second].selected) for pair in found]),
        ("Difference", True, [NONE if pair is None else signed(pair.difference.value) for pair in found]),
        ("95 % interval", True, [NONE if p is None else interval(p.difference, sign=True) for p in found]),
        ("p bootstrap", True, [NONE if pair is None else p_value(pair.p_bootstrap) for pair in found]),
        ("p t-test", True, [NONE if p is None or p.p_t is None else p_value(p.p_t) for p in found]),
        ("Verdict", False, [NONE if pair is None else pair.verdict for pair in found]),
        ("Inner, default", True, [inner(place, "untuned_c_index") for place in places]),
        ("Inner, chosen", True, [inner(place, "tuned_c_index") for place in places]),
    ]
    notes = (TUNING, *([how(evidence.resamples)] if evidence and pairs else []))
    shown = text_table(f"{board.title}: what tuning brought, folds {ranking.folds_name}", columns, notes)
    return replace(shown, first=("Tuned line", "Difference", "95 % interval", "Verdict"))


def settings_table(board: Board, ranking: Ranking) -> TextTable:
    """The settings that tuning chose for every fold of every tuned line."""
    rows = [
        (name, row)
        for name, line in zip(names_of(ranking.lines), ranking.lines, strict=True)
        for row in line.rows
        if line.tuned
    ]
    columns = [
        ("Tuned line", False, [name for name, _ in rows]),
        ("Seed", True, [str(row.seed) for _, row in rows]),
        ("Fold", True, [str(row.fold) for _, row in rows]),
        ("Trials", True, [trials(row) for _, row in rows]),
        ("Chosen", False, [settings(row.chosen) for _, row in rows]),
        ("Inner C-index", True, [NONE if row.tuned_c_index is None else f"{row.tuned_c_index:.3f}" for _, row in rows]),
    ]
    return text_table(f"{board.title}: settings chosen by fold, folds {ranking.folds_name}", columns, ())


def trials(row: ResultRow) -> str:
    """How many settings were tried, and how many of them failed."""
    return f"{row.trials}" + f" ({row.trials_failed} failed)" * bool(row.trials_failed)


def settings(chosen: Mapping[str, object]) -> str:
    """Settings as `batch=16, learning_rate=0.00051`."""
    return ", ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in chosen.items()
    )


def pairs_table(
    title: str, names: Sequence[str], pairs: Sequence[Pair], notes: tuple[str, ...] = (), leader: bool = False
) -> TextTable:
    """Compared pairs as a table; with `leader`, the first line of each is in the title."""
    columns = [
        ("First", False, [names[pair.first] for pair in pairs]),
        ("Against", False, [names[pair.second] for pair in pairs]),
        ("Difference", True, [signed(pair.difference.value) for pair in pairs]),
        ("95 % interval", True, [interval(pair.difference, sign=True) for pair in pairs]),
        ("p bootstrap", True, [p_value(pair.p_bootstrap) for pair in pairs]),
        ("p t-test", True, [NONE if pair.p_t is None else p_value(pair.p_t) for pair in pairs]),
        ("Detectable", True, [f"{pair.detectable:.3f}" for pair in pairs]),
        ("Verdict", False, [pair.verdict for pair in pairs]),
    ]
    return text_table(title, columns[1:] if leader else columns, notes)


def across_table(found: Across) -> TextTable:
    """Models over cohorts: mean rank, and the C-index on each."""
    columns = [
        ("Mean rank", True, [f"{rank:.2f}" for rank in found.ranks]),
        ("Model", False, list(found.models)),
        *(
            (cohort, True, [f"{row[place]:.3f}" for place in range(len(found.models))])
            for cohort, row in zip(found.cohorts, found.scores, strict=True)
        ),
    ]
    kind = "synthetic cohorts" if found.synthetic else "cohorts"
    return text_table(f"Across {len(found.cohorts)} {kind}", columns, (found.verdict,))


def incomplete_table(board: Board, notes: tuple[str, ...] = ()) -> TextTable:
    """The experiments of the board that are not ranked, with what is missing and why."""
    items = board.incomplete
    columns = [
        ("Model", False, [item.row.model for item in items]),
        ("Scales", False, [scales(item.row.scales) for item in items]),
        ("Backbone", False, [item.row.backbone or NONE for item in items]),
        ("Loss", False, [item.row.loss or NONE for item in items]),
        ("Seed", True, [str(item.row.seed) for item in items]),
        ("Experiment", False, [item.row.experiment for item in items]),
        ("Folds", True, [f"{item.finished} of {item.row.n_folds}" for item in items]),
        ("What is missing, and why", False, ["; ".join(item.reasons) for item in items]),
    ]
    return text_table(f"{board.title}: incomplete, not ranked", columns, notes)


def interval(found: IntervalEstimate | None, digits: int = 3, sign: bool = False) -> str:
    """`[0.571, 0.650]`; nothing where there is none. With `sign`, both ends carry theirs."""
    if found is None:
        return ""
    ends = [signed(end, digits) if sign else f"{end:.{digits}f}" for end in (found.low, found.high)]
    return f"[{', '.join(ends)}]"


def split(found: tuple[float, float]) -> str:
    """SD between folds and SD between seeds of one fold."""
    return f"{found[0]:.3f} / {found[1]:.3f}"


def mean_sd(spread: Spread, digits: int = 3) -> str:
    """`0.612 ± 0.034`, or only the mean where one fold has no spread."""
    if spread.mean is None or spread.sd is None:
        return mean(spread, digits)
    return f"{spread.mean:.{digits}f} ± {spread.sd:.{digits}f}{_share(spread)}"


def mean(spread: Spread, digits: int = 3) -> str:
    """The mean over folds; says of how many folds where some have no value."""
    return NONE if spread.mean is None else f"{spread.mean:.{digits}f}{_share(spread)}"


def _share(spread: Spread) -> str:
    return "" if spread.n == spread.of else f" ({spread.n} of {spread.of} folds)"


def at_months(line: Line, metric: str, digits: int) -> str:
    """A metric (`auc` or `ici`) at 12, 36 and 60 months; `0.61*` is a mean over fewer than all folds."""
    spreads = [line.spreads[f"{metric}_{months}_selected"] for months in (12, 36, 60)]
    if all(spread.mean is None for spread in spreads):
        return NONE
    return " / ".join(
        NONE if spread.mean is None else f"{spread.mean:.{digits}f}{'' if spread.n == spread.of else '*'}"
        for spread in spreads
    )


def ibs(line: Line) -> str:
    """Integrated Brier score, and in brackets that of the Kaplan-Meier estimate, which knows no patient."""
    model, null = line.spreads["ibs_selected"], line.spreads["ibs_km"]
    return NONE if model.mean is None else f"{mean(model)} ({mean(null)})"


def quantity(value: int | None) -> str:
    """A count in short: 832, 45.1k, 3.21M."""
    if value is None:
        return NONE
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return str(value)


def seconds(value: float | None) -> str:
    """Seconds with the digits that matter."""
    return NONE if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"
