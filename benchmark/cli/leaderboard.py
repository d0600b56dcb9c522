"""`bench leaderboard`: pages from results."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .mistakes import Failure, explained
from .output import print_json


def leaderboard(
    results: Annotated[list[Path] | None, typer.Argument(help="Folders with results.", show_default="results")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the pages.", show_default="RESULTS/leaderboard")
    ] = None,
    tracking: Annotated[str | None, typer.Option("--tracking", help="Read an MLflow store instead of folders.")] = None,
    as_json: o.AsJson = False,
) -> None:
    """Render Markdown, CSV, LaTeX and one HTML page from results, or from an MLflow store."""
    with explained():
        import tempfile

        from ...leaderboards.memory import of_user
        from ...leaderboards.publish import publish
        from .. import console
        from ..prepare import UsageError
        from ..reason import reason

        if tracking and results:
            raise UsageError("give folders with results or --tracking, not both")
        given = results or [Path("results")]
        target = out or given[0] / "leaderboard"
        folders = [inside if (inside := path / "experiments").is_dir() else path for path in given]
        with tempfile.TemporaryDirectory() as fetched:
            if tracking:
                from ..tracking import fetch

                try:
                    fetch(tracking, Path(fetched))
                except Exception as error:
                    raise Failure(f"MLflow at {tracking} cannot be read: {reason(error)}", 1) from error
                folders = [Path(fetched)]
            published = publish(folders, target, of_user())
        for problem in published.problems:
            console.warn(f"{problem.where}: {problem.message}")
        if as_json:
            print_json({
                "paths": {kind: str(path) for kind, path in published.paths.items()},
                "problems": [{"where": p.where, "message": p.message} for p in published.problems],
            })  # fmt: skip
            return
        console.sheets(published.tables)
        console.say(f"Leaderboard: {published.paths['html']}")
