"""Boards as Markdown tables, readable on a forge and in a terminal."""

import re
from collections.abc import Sequence

from ..ranking.across import across
from ..ranking.board import Board
from ..rows import Problem
from .text_tables import TextTable, across_table, board_tables

HOW_TO_READ = (
    "Ranked by the C-index at `selected`: the epoch is chosen on a validation split, the test fold chooses "
    "nothing. `Last` is the last epoch; `Best` is the best epoch on the test fold, as many papers report it. "
    "Mean ± sample standard deviation over folds; several seeds are averaged within each fold first. Brackets: 95 % "
    "interval of the mean over other patients and, with three or more seeds, other seeds and training sets. "
    "`may be best`: no other line is shown to be above it."
)


def markdown(boards: Sequence[Board], problems: Sequence[Problem] = ()) -> str:
    """The whole board as one Markdown text. Names from data stay text: markup in them is escaped."""
    parts = ["# Leaderboard", HOW_TO_READ]
    if not boards:
        parts.append("No results yet.")
    for board in boards:
        parts.append(f"## {escape(board.title)}")
        for found in board_tables(board, wide=True):
            parts += _titled(found, "###")
    for found in across(boards):
        parts += _titled(across_table(found), "##")
    if problems:
        parts.append("## Files that were left out")
        parts.append("\n".join(f"- {escape(problem.where)}: {escape(problem.message)}" for problem in problems))
    return "\n\n".join(parts) + "\n"


def _titled(found: TextTable, heading: str) -> list[str]:
    notes = [f"> {escape(note)}" for note in found.notes]
    return [f"{heading} {escape(found.title)}", *notes, *([table(found)] if found.rows else [])]


def table(found: TextTable) -> str:
    """One text table as a pipe table, numbers aligned to the right."""
    head = "| " + " | ".join(escape(column) for column in found.columns) + " |"
    rule = "| " + " | ".join("---:" if right else "---" for right in found.numeric) + " |"
    rows = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in found.safe_rows]
    return "\n".join([head, rule, *rows])


def escape(text: str) -> str:
    """Text that Markdown shows as it is: markup characters are escaped, line breaks become spaces."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text) if text != "#" else "\\#"
