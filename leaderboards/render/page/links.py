"""Addresses on the page that can be sent: `#brca` is a cohort, `#brca/crossfusion-3f2a9c1b7d` one line of it.

They follow from the names and the experiment's id, so a link stays good when other lines are added.
"""

import re
from collections.abc import Container

from ...ranking.board import Board, Line

OVERVIEW, READ = "overview", "read"
"""Views of the page that are no cohorts."""


def slug(text: str) -> str:
    """Lower-case letters, digits and hyphens, at most 40; never empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-") or "x"


def board_key(board: Board, taken: Container[str]) -> str:
    """The address of a cohort, different from those `taken`."""
    return _free(slug(board.cohort) + "-synthetic" * board.synthetic, taken)


def line_key(board: str, line: Line, taken: Container[str]) -> str:
    """The address of a line of the cohort at `board`, by its first experiment."""
    return _free(f"{board}/{slug(line.model)}-{slug(line.experiments[0])}", taken)


def _free(name: str, taken: Container[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found
