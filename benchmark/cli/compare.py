"""`bench compare`: which differences on the board are shown."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json


def compare(
    results: Annotated[list[Path], typer.Argument(help="Folders with results.")],
    cohort: o.CohortName,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model, a line or an experiment; give two, one against all others, or none."),
    ] = None,
    wide: o.Wide = False,
    as_json: o.AsJson = False,
) -> None:
    """Compare lines of a cohort in pairs, on the same patients and folds.

    p-values are adjusted for all pairs of the ranking, whichever are asked for: a pair has one verdict everywhere.
    """
    with explained():
        from ...leaderboards.publish import gather
        from ...leaderboards.ranking.pairwise import pairwise
        from ...leaderboards.render.text_tables import pairs_table, short_pairs_table
        from .. import console

        folders = [inside if (inside := path / "experiments").is_dir() else path for path in results]
        found = gather(folders, evidence=False)
        for problem in found.problems:
            console.warn(f"{problem.where}: {problem.message}")
        tables = pairwise(found.boards, found.predictions, cohort, tuple(model or ()), found.published)
        if as_json:
            print_json({"cohort": cohort, "tables": [table.as_json() for table in tables]})
            return
        of = pairs_table if wide else short_pairs_table
        shown = [of(table.title, table.names, table.pairs, table.notes) for table in tables]
        console.text_tables(one for one in shown if one.rows)
        for table in tables:
            if not table.pairs:
                console.say(f"{table.title}: {' '.join(table.notes)}")
