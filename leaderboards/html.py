"""The board as one self-contained page: it opens from disk, asks no network, and follows from the rows alone."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .across import across
from .evidence_views import across_view
from .page_views import BoardView, board_view
from .ranking import CONTROL, IMPORTED, Board
from .rows import Problem

_HERE = Path(__file__).parent


def html(boards: Sequence[Board], predictions: Mapping[str, pd.DataFrame], problems: Sequence[Problem] = ()) -> str:
    """The page as text.

    `predictions` maps experiment ids to their out-of-fold predictions; lines without any are shown without curves.
    Names from data stay text: the template escapes everything, and the content security policy forbids every script
    but our own.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_HERE / "page.js.jinja").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    views: list[BoardView] = [board_view(board, f"b{number}", predictions) for number, board in enumerate(boards, 1)]
    page = environment.get_template("page.html.jinja").render(
        boards=views,
        across=[across_view(found, f"a{number}") for number, found in enumerate(across(boards), 1)],
        problems=problems,
        totals=_totals(boards),
        style=Markup((_HERE / "page.css.jinja").read_text(encoding="utf-8").strip()),
        script=Markup(script),
        script_digest=digest,
    )
    return page + "\n" * (not page.endswith("\n"))


def _totals(boards: Sequence[Board]) -> dict[str, int]:
    lines = [line for board in boards for ranking in board.rankings for line in ranking.lines]
    return {
        "cohorts": len(boards),
        "models": len({line.model for line in lines if line.family != CONTROL}),
        "trainings": sum(len(line.rows) for line in lines if line.family not in (CONTROL, IMPORTED)),
        "incomplete": sum(len(board.incomplete) for board in boards),
    }
