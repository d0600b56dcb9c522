"""A board as plain text cells: what the terminal, Markdown and LaTeX print."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...survival.comparisons import IntervalEstimate
from ..ranking.across import Across, across
from ..ranking.board import BASELINE, IMPORTED, Board, Line, Ranking, Spread, names_of
from ..ranking.comparisons import UNTRAINED
from ..ranking.evidence import Evidence, Pair, how, short_how
from ..result_row import ResultRow
from .explanations import reads, size_notes
from .external import external_table
from .printed import printed_table
from .text_table import NONE, TextTable, p_value, scales, signed, text_table


def tables(boards: Sequence[Board], wide: bool = False) -> tuple[TextTable, ...]:
    """Boards as text tables, for a terminal: per cohort its rankings, comparisons and what is incomplete; then models
    across cohorts. Few columns, or with `wide` all of them."""
    over = [across_table(found) for found in across(boards)]
    return (*(table for board in boards for table in board_tables(board, wide)), *over)


def board_tables(board: Board, wide: bool = False) -> tuple[TextTable, ...]:
    """One table per ranking of the board, each followed by its comparisons where they were computed, then one of the
    incomplete experiments where there are any; where lines were tuned, what that brought. `wide` tables show all
    readings, every metric, and the settings that were chosen."""
    found = []
    for number, ranking in enumerate(board.rankings):
        shown = ranking_table if wide else short_table
        found.append(shown(board, ranking, board.notes if number == 0 else ()))
        if ranking.evidence is not None and (ranking.evidence.pairs or ranking.evidence.left_out):
            found.append(comparison_table(board, ranking, ranking.evidence, wide))
        if any(line.tuned for line in ranking.lines):
            found += [tuning_table(board, ranking), *[settings_table(board, ranking)] * wide]
    if board.external:
        shown = external_table(board.title, board.external)
        found.append(shown if found else replace(shown, notes=(*board.notes, *shown.notes)))
    if board.incomplete:
        found.append(incomplete_table(board, notes=() if found else board.notes))
    if (printed := printed_table(board, wide)) is not None:
        found.append(printed)
    return tuple(found)


def short_table(board: Board, ranking: Ranking, notes: tuple[str, ...] = ()) -> TextTable:
    """The lines of one ranking in five columns, for a terminal."""
    lines, evidence = ranking.lines, ranking.evidence
    intervals = evidence.intervals if evidence else tuple({} for _ in lines)
    scores = [
        f"{mean(line.selected)} {interval(found.get('selected'))}".strip()
        for line, found in zip(lines, intervals, strict=True)
    ]
    columns = [
        ("#", True, [str(line.rank) for line in lines]),
        ("Model", False, list(names_of(lines))),
        ("C-index, 95 % interval", True, scores),
        ("Seeds", True, [str(len(line.seeds)) for line in lines]),
        ("Mark", False, [", ".join(marks(ranking, place)) for place in range(len(lines))]),
    ]
    slides = f"; {ranking.slides}" if ranking.slides else ""
    all_notes = (*notes, *size_notes(board, ranking), *baseline_notes(ranking))
    return text_table(f"{board.title}: folds {ranking.folds_name}{slides}", columns, all_notes)


def ranking_table(board: Board, ranking: Ranking, notes: tuple[str, ...] = ()) -> TextTable:
    """The lines of one ranking. Columns whose value is the same word in all lines stay: tables are read alone."""
    lines, evidence = ranking.lines, ranking.evidence
    intervals = evidence.intervals if evidence else tuple({} for _ in lines)

    def reading(name: str) -> list[str]:
        cells = [mean(line.spreads[f"c_index_{name}"]) for line in lines]
        return [f"{cell} {interval(found.get(name))}".strip() for cell, found in zip(cells, intervals, strict=True)]

    oracle = any(line.spreads["oracle_c_index"].mean is not None for line in lines)
    columns: list[tuple[str, bool, list[str]]] = [
        ("#", True, [str(line.rank) for line in lines]),
        ("Model", False, [line.label for line in lines]),
        ("Mark", False, [", ".join(marks(ranking, place)) for place in range(len(lines))]),
        ("Source", False, [IMPORTED if line.family == IMPORTED else "run here" for line in lines]),
        ("Reads", False, [reads(line) for line in lines]),
        ("Backbone", False, [line.backbone or NONE for line in lines]),
        ("Loss", False, [line.loss or NONE for line in lines]),
        ("Recipe", False, [line.recipe or NONE for line in lines]),
        ("Seeds", True, [str(len(line.seeds)) for line in lines]),
        ("C-index (selected)", True, [mean_sd(line.selected) for line in lines]),
        ("95 % interval", True, [interval(found.get("selected")) or NONE for found in intervals]),
        ("SD fold / seed", True, [NONE if line.split is None else split(line.split) for line in lines]),
        ("Last", True, reading("last")),
        ("Best", True, reading("best")),
        ("Best \N{MINUS SIGN} selected", True, [signed(line.gap) for line in lines]),
        ("Best \N{MINUS SIGN} last", True, [signed(line.gap_to_last) for line in lines]),
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
    }
    columns = [column for column in columns if not empty.get(column[0])]
    all_notes = (*notes, *size_notes(board, ranking), *baseline_notes(ranking))
    slides = f"; {ranking.slides}" if ranking.slides else ""
    return text_table(f"{board.title}: folds {ranking.folds_name}{slides}", columns, all_notes)


MAY_BE_BEST = "may be best"
"""Of a line that no other is shown to be above."""


def marks(ranking: Ranking, place: int) -> tuple[str, ...]:
    """What to know of a line before its number: that no other is shown to be above it; that it is a baseline or was
    imported; that it is shown to be above or below the clinical baseline; that its prediction is constant."""
    line, evidence = ranking.lines[place], ranking.evidence
    found = [MAY_BE_BEST] if evidence is not None and evidence.pairs and place in evidence.best else []
    found += ["baseline"] if line.family == BASELINE else [IMPORTED] if line.family == IMPORTED else []
    pair = None if evidence is None else evidence.against_baseline(place)
    if pair is not None and pair.shown:
        found.append("above baseline" if pair.difference.value > 0 else "below baseline")
    return (*found, *["constant prediction"] * line.constant)


def foremost(ranking: Ranking, place: int) -> bool:
    """Whether a line is set off: it may be the best, and is not chance itself or a constant."""
    line, evidence = ranking.lines[place], ranking.evidence
    may_be = line.rank == 1 if evidence is None or not evidence.pairs else place in evidence.best
    return may_be and line.model != UNTRAINED and not line.constant


def baseline_notes(ranking: Ranking) -> tuple[str, ...]:
    """The clinical baseline of the ranking, and which models are shown to be above or below it."""
    baseline, evidence, names = ranking.baseline, ranking.evidence, names_of(ranking.lines)
    models = any(line.family != BASELINE for line in ranking.lines)
    if not ranking.covariates:
        return ("No clinical baseline: the tables of this cohort hold no covariates.",) if models else ()
    if baseline is None:
        wanted = f"clinical-cox with {' and '.join(ranking.covariates.rsplit(',', 1)).replace(',', ', ')}"
        return (f"The clinical baseline, {wanted}, was not run on these patients and folds.",) if models else ()
    first = (
        f"Clinical baseline, named beforehand: {names[ranking.lines.index(baseline)]}, {mean(baseline.selected)}; it "
        "sees no slide."
    )
    if evidence is None or not models:
        return (first,)
    words = []
    for sign, word in ((1, "above"), (-1, "below")):
        mine = [names[pair.first] for pair in evidence.baseline if pair.shown and pair.difference.value * sign > 0]
        words += [f"Shown to be {word} it: {', '.join(mine)}."] if mine else []
    rest = [names[pair.first] for pair in evidence.baseline if not pair.shown]
    words += [f"No difference is shown for {', '.join(rest)}."] if rest else []
    return (" ".join((first, *words)),)


def comparison_table(board: Board, ranking: Ranking, evidence: Evidence, wide: bool = False) -> TextTable:
    """The first line of a ranking against every other, and the verdict as notes."""
    notes = [evidence.verdict]
    if evidence.pairs and wide:
        notes.append(how(evidence.compared))
    elif evidence.pairs:
        notes.append(short_how(evidence.compared))
    notes += [f"Left out: {reason}." for reason in evidence.left_out]
    title = f"{board.title}: {ranking.lines[0].label} against the other lines"
    shown = pairs_table if wide else short_pairs_table
    return shown(title, names_of(ranking.lines), evidence.pairs, tuple(notes), leader=True)


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
        ("p", True, [NONE if pair is None else p_value(pair.difference.p) for pair in found]),
        ("p adjusted", True, [NONE if pair is None else p_value(pair.p_adjusted) for pair in found]),
        ("Verdict", False, [NONE if pair is None else pair.verdict for pair in found]),
        ("Inner, default", True, [inner(place, "untuned_c_index") for place in places]),
        ("Inner, chosen", True, [inner(place, "tuned_c_index") for place in places]),
    ]
    notes = (TUNING, *([how(evidence.compared)] if evidence and pairs else []))
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
        ("P(> 0.01)", True, [f"{pair.difference.notable:.2f}" for pair in pairs]),
        ("p", True, [p_value(pair.difference.p) for pair in pairs]),
        ("p adjusted", True, [p_value(pair.p_adjusted) for pair in pairs]),
        ("Detectable", True, [f"{pair.detectable:.3f}" for pair in pairs]),
        ("Verdict", False, [pair.verdict for pair in pairs]),
    ]
    return text_table(title, columns[1:] if leader else columns, notes)


def short_pairs_table(
    title: str, names: Sequence[str], pairs: Sequence[Pair], notes: tuple[str, ...] = (), leader: bool = False
) -> TextTable:
    """Compared pairs in few columns, for a terminal."""
    differences = [f"{signed(p.difference.value)} {interval(p.difference, sign=True)}" for p in pairs]
    columns = [
        ("First", False, [names[pair.first] for pair in pairs]),
        ("Against", False, [names[pair.second] for pair in pairs]),
        ("Difference, 95 % interval", True, differences),
        ("P(>0.01)", True, [f"{pair.difference.notable:.2f}" for pair in pairs]),
        ("p adj.", True, [p_value(pair.p_adjusted) for pair in pairs]),
        ("Shown", False, [("yes" if p.shown else "no") + "*" * p.provisional for p in pairs]),
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
        ("Model", False, [item.row.label for item in items]),
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
