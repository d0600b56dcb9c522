"""The board as one self-contained page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined

from . import sheets
from .ranking import Board
from .rows import Problem

_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def html(
    boards: Sequence[Board], predictions: Mapping[str, pd.DataFrame], problems: Sequence[Problem] = ()
) -> str:
    """The page as text."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        boards=[(board, sheets.board_sheets(board)) for board in boards], problems=problems
    )
