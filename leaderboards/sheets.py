"""A board as plain text cells: what the terminal, Markdown and LaTeX print."""

from collections.abc import Iterable
from dataclasses import dataclass

from .ranking import Board, Line, Ranking, Spread, boards
from .rows import Row

NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Sheet:
    """A titled table of text: `rows` hold one cell per column; `numeric` says which columns align to the right."""

    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def tables(rows: Iterable[Row]) -> tuple[Sheet, ...]:
    """The boards of these rows as sheets, ready for a terminal: rankings first, then what is incomplete, per cohort."""
    return tuple(sheet for board in boards(rows) for sheet in board_sheets(board))


def board_sheets(board: Board) -> tuple[Sheet, ...]:
    """One sheet per ranking of the board, then one of the incomplete experiments where there are any."""
    sheets = [
        ranking_sheet(board, ranking, notes=board.notes if number == 0 else ())
        for number, ranking in enumerate(board.rankings)
    ]
    if board.incomplete:
        sheets.append(incomplete_sheet(board, notes=() if sheets else board.notes))
    return tuple(sheets)


def ranking_sheet(board: Board, ranking: Ranking, notes: tuple[str, ...] = ()) -> Sheet:
    """The lines of one ranking. Columns whose value is the same word in all lines stay: tables are read alone."""
    lines = ranking.lines
    oracle = any(line.spreads["oracle_c_index"].mean is not None for line in lines)
    columns: list[tuple[str, bool, list[str]]] = [
        ("#", True, [str(line.rank) for line in lines]),
        ("Model", False, [line.label for line in lines]),
        ("Scales", False, [scales(line.scales) for line in lines]),
        ("Backbone", False, [line.backbone or NONE for line in lines]),
        ("Loss", False, [line.loss or NONE for line in lines]),
        ("Recipe", False, [line.recipe or NONE for line in lines]),
        ("Seeds", True, [str(len(line.seeds)) for line in lines]),
        ("C-index (selected)", True, [mean_sd(line.selected) for line in lines]),
        ("Last", True, [mean(line.spreads["c_index_last"]) for line in lines]),
        ("Best", True, [mean(line.spreads["c_index_best"]) for line in lines]),
        ("Optimism", True, [signed(line.gap) for line in lines]),
        ("Uno's C", True, [mean(line.spreads["uno_c_selected"]) for line in lines]),
        ("AUC 12/36/60", True, [aucs(line) for line in lines]),
        ("IBS (KM)", True, [ibs(line) for line in lines]),
        ("Oracle C", True, [mean(line.spreads["oracle_c_index"]) for line in lines]),
        ("Parameters", True, [quantity(line.parameters) for line in lines]),
        ("s/fold", True, [seconds(line.seconds) for line in lines]),
        ("Patients", True, [str(line.patients) for line in lines]),
        ("Events", True, [str(line.events) for line in lines]),
    ]
    if not oracle:
        columns = [column for column in columns if column[0] != "Oracle C"]
    return _sheet(f"{board.title}: folds {ranking.folds_name}", columns, notes)


def incomplete_sheet(board: Board, notes: tuple[str, ...] = ()) -> Sheet:
    """The experiments of the board that are not ranked, with what is missing and why."""
    items = board.incomplete
    columns = [
        ("Model", False, [item.model for item in items]),
        ("Scales", False, [scales(item.scales) for item in items]),
        ("Backbone", False, [item.backbone or NONE for item in items]),
        ("Loss", False, [item.loss or NONE for item in items]),
        ("Seed", True, [str(item.seed) for item in items]),
        ("Experiment", False, [item.experiment for item in items]),
        ("Folds", True, [f"{item.finished} of {item.n_folds}" for item in items]),
        ("What is missing, and why", False, ["; ".join(item.reasons) for item in items]),
    ]
    return _sheet(f"{board.title}: incomplete, not ranked", columns, notes)


def _sheet(title: str, columns: list[tuple[str, bool, list[str]]], notes: tuple[str, ...]) -> Sheet:
    names, numeric, cells = zip(*columns, strict=True)
    return Sheet(title, names, numeric, tuple(zip(*cells, strict=True)), notes)


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


def aucs(line: Line) -> str:
    """Time-dependent AUC at 12, 36 and 60 months; `0.61*` is a mean over fewer than all folds."""
    spreads = [line.spreads[f"auc_{months}_selected"] for months in (12, 36, 60)]
    if all(spread.mean is None for spread in spreads):
        return NONE
    return " / ".join(
        NONE if spread.mean is None else f"{spread.mean:.2f}{'' if spread.n == spread.of else '*'}"
        for spread in spreads
    )


def ibs(line: Line) -> str:
    """Integrated Brier score, and in brackets that of the Kaplan-Meier estimate, which knows no patient."""
    model, null = line.spreads["ibs_selected"], line.spreads["ibs_km"]
    return NONE if model.mean is None else f"{mean(model)} ({mean(null)})"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign; never `-0.000`."""
    if value is None:
        return NONE
    value = round(value, digits) + 0.0
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}") if value else f"{value:.{digits}f}"


def scales(text: str | None) -> str:
    """`5,10,20` as `5× 10× 20×`."""
    return NONE if not text else " ".join(f"{scale.strip()}\N{MULTIPLICATION SIGN}" for scale in text.split(","))


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
