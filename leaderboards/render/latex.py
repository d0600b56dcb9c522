"""Boards as LaTeX tables (booktabs), ready for a paper."""

from collections.abc import Sequence

from ..ranking.board import Board
from .external import external_table
from .text_tables import NONE, TextTable, incomplete_table, ranking_table

# What a paper's table shows; the rest is in the CSV.
_COLUMNS = (
    "Model",
    "Mark",
    "Reads",
    "Backbone",
    "Loss",
    "Seeds",
    "C-index (selected)",
    "95 % interval",
    "Last",
    "Best",
    "Best \N{MINUS SIGN} selected",
    "Uno's C",
    "Oracle C",
)
_EXTERNAL = ("Model", "Trained on", "Scales", "Backbone", "Internal C", "External C", "Drop", "Ensemble C")
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "\"": r"\textquotedbl{}",
    "±": r"$\pm$", "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
}  # fmt: skip


def latex(boards: Sequence[Board]) -> str:
    """One `table` environment per ranking; needs `\\usepackage{booktabs}`. Incomplete experiments stand in comments."""
    parts = ["% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}. Ranked by the C-index at `selected`."]
    for board in boards:
        notes = [board.notes, *[()] * len(board.rankings)]
        parts += [table(ranking_table(board, *one)) for one in zip(board.rankings, notes, strict=False)]
        if board.external:
            outside = external_table(board.title, board.external)
            places = [place for place, name in enumerate(outside.columns) if name in _EXTERNAL]
            caption = " ".join(map(escape, (f"{outside.title}.", *outside.notes)))
            parts.append(tabular(outside, caption, places))
        if board.incomplete:
            last = incomplete_table(board)
            parts.append(
                "\n".join(
                    [
                        f"% {_one_line(last.title)}",
                        *(f"%   {_one_line(' | '.join(row))}" for row in last.rows),
                    ]
                )
            )
    return "\n\n".join(parts) + "\n"


def table(found: TextTable) -> str:
    """One text table as a `table` with a booktabs `tabular`."""
    recipes = {row[found.columns.index("Recipe")] for row in found.rows} - {NONE}
    columns = (*_COLUMNS, "Recipe") if len(recipes) > 1 else _COLUMNS
    shown = [index for index, column in enumerate(found.columns) if column in columns]
    patients, events = (found.rows[0][found.columns.index(name)] for name in ("Patients", "Events"))
    caption = (
        f"{escape(found.title)} ({patients} patients, {events} events). C-index, mean $\\pm$ standard deviation "
        "over folds; the epoch is selected on a validation split."
    )
    caption = " ".join([caption, *(escape(note) for note in found.notes)])
    return tabular(found, caption, shown)


def tabular(found: TextTable, caption: str, shown: Sequence[int]) -> str:
    """Columns of a text table, by place, as a `table` with a booktabs `tabular`. `caption` is LaTeX already."""
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{caption}}}",
            f"  \\begin{{tabular}}{{{''.join('r' if found.numeric[index] else 'l' for index in shown)}}}",
            r"    \toprule",
            f"    {' & '.join(escape(found.columns[index]) for index in shown)} \\\\",
            r"    \midrule",
            *(f"    {' & '.join(escape(row[index]) for index in shown)} \\\\" for row in found.safe_rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_SPECIAL.get(letter, letter) for letter in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
