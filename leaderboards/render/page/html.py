"""The board as one self-contained page: it opens from disk, asks no network, and follows from the rows alone."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...cache.store import NO_CACHE, Cache
from ...ranking.across import across
from ...ranking.board import BASELINE, IMPORTED, Board
from ...rows import Problem
from .board_views import board_view
from .datatables import datatables
from .evidence_views import across_view
from .filters import choices
from .group_curve_plots import SIZE, Plot
from .links import OVERVIEW, READ, board_key, line_key
from .overall_views import overall_views
from .overview import overview
from .problem_groups import problem_groups

_TEMPLATES = Path(__file__).parent / "templates"


def html(
    boards: Sequence[Board],
    plots: Mapping[str, Plot],
    problems: Sequence[Problem] = (),
    cache: Cache = NO_CACHE,
) -> str:
    """The page as text.

    `plots` maps experiment ids to the curves of their risk groups; lines without any say so. Names from data stay text:
    the template escapes everything, and the content security policy forbids every script but our own. `cache` may hold
    the figures of an earlier page.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = f"{datatables()}\n{(_TEMPLATES / 'page.js.jinja').read_text(encoding='utf-8').strip()}"
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    keys, links = _addresses(boards)
    views = [board_view(board, key, links, plots, cache) for board, key in zip(boards, keys, strict=True)]
    shown = [item.plot for view in views for table in view.rankings for item in table.lines if item.plot is not None]
    page = environment.get_template("page.html.jinja").render(
        boards=views,
        single=len(boards) == 1,
        overview=overview(boards, keys, links),
        overall=overall_views(boards, keys, links),
        across=[across_view(found, f"across{number}", cache) for number, found in enumerate(across(boards), 1)],
        choices=choices(views),
        frames={plot.key: Markup(plot.frame) for plot in shown},
        frame_size=tuple(72 * inches for inches in SIZE),
        problems=problem_groups(problems),
        totals=_totals(boards),
        style=Markup((_TEMPLATES / "page.css.jinja").read_text(encoding="utf-8").strip()),
        script=Markup(script),
        script_digest=digest,
    )
    return page + "\n" * (not page.endswith("\n"))


def _addresses(boards: Sequence[Board]) -> tuple[list[str], dict[str, str]]:
    """The address of every board, and of every line by its first experiment."""
    keys: list[str] = []
    links: dict[str, str] = {}
    taken = {OVERVIEW, READ}
    for board in boards:
        keys.append(board_key(board, taken))
        taken.add(keys[-1])
        for line in (line for ranking in board.rankings for line in ranking.lines):
            links[line.experiments[0]] = line_key(keys[-1], line, taken)
            taken.add(links[line.experiments[0]])
    return keys, links


def _totals(boards: Sequence[Board]) -> list[tuple[int, str]]:
    """What the page holds, in numbers: what was measured apart from what was simulated."""
    found = []
    for synthetic, kind in ((False, ""), (True, "simulated ")):
        mine = [board for board in boards if board.synthetic == synthetic]
        lines = [line for board in mine for ranking in board.rankings for line in ranking.lines]
        imported = {line.model for line in lines if line.family == IMPORTED}
        trained = [line for line in lines if line.family not in (BASELINE, IMPORTED)]
        models, folds = len({line.model for line in trained}), sum(len(line.rows) for line in trained)
        found += [(len(mine), f"{kind}cohort{'s' * (len(mine) != 1)}")] if mine else []
        found += [(len(imported), f"imported model{'s' * (len(imported) != 1)} on them")] if imported else []
        found += [(models, f"model{'s' * (models != 1)} trained on them, in {folds:,} folds")] if models else []
    incomplete = sum(len(board.incomplete) for board in boards)
    return found + [(incomplete, "incomplete, not ranked")] * bool(incomplete)
