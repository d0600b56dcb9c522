"""`bench leaderboard`: pages from results, and entries that can be sent and checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import options as o
from .label_options import with_label_options
from .mistakes import Failure, explained
from .output import print_json


class _BuildUnlessNamed(TyperGroup):
    """`bench leaderboard FOLDER` is `bench leaderboard build FOLDER`: the first word need not name a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `build` before words that name no command; help stays that of the group."""
        named = bool(args) and (args[0] in self.commands or args[0] in ("--help", "-h"))
        return super().parse_args(ctx, args if named else ["build", *args])


leaderboard_app = typer.Typer(
    name="leaderboard",
    cls=_BuildUnlessNamed,
    help="Pages from results (`build`, the default), and entries: what is published, sent and verified.",
)


@leaderboard_app.command("build")
def build(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Folders with results or entries.", show_default="results")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the pages.", show_default="RESULTS/leaderboard")
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="With the entries that come with milsurv.")] = False,
    tracking: Annotated[str | None, typer.Option("--tracking", help="Read an MLflow store instead of folders.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check that the pages in a checkout follow from its entries; write nothing.")
    ] = False,
    update: Annotated[bool, typer.Option("--update", help="Write the pages of a checkout from its entries.")] = False,
    root: Annotated[
        Path | None, typer.Option("--root", help="The checkout of --check and --update.", show_default="milsurv's own")
    ] = None,
    wide: o.Wide = False,
    as_json: o.AsJson = False,
) -> None:
    """Render Markdown, CSV, LaTeX and one HTML page from results and entries, or from an MLflow store."""
    with explained():
        if check or update:
            _committed(update, root or Path(__file__).resolve().parents[2], as_json)
            return
        from ...errors import UsageError
        from ...files import scratch
        from ...leaderboards.cache.store import user_cache
        from ...leaderboards.entries.joined import PUBLISHED
        from ...leaderboards.publish import publish
        from ...leaderboards.render.text_tables import tables
        from .. import console
        from ..results.reason import reason

        if tracking and results:
            raise UsageError("give folders with results or --tracking, not both")
        given = results or ([] if published else [Path("results")])
        target = out or (given[0] if given else Path("results")) / "leaderboard"
        folders = _experiments_of(given)
        with scratch() as fetched:
            if tracking:
                from ..results.tracking.fetch import fetch

                try:
                    fetch(tracking, fetched)
                except Exception as error:
                    raise Failure(f"MLflow at {tracking} cannot be read: {reason(error)}", 1) from error
                folders = [fetched]
            done = publish([*folders, *([PUBLISHED] if published and PUBLISHED.is_dir() else [])], target, user_cache())
        for problem in done.problems:
            console.warn(f"{problem.where}: {problem.message}")
        if as_json:
            print_json({
                "paths": {kind: str(path) for kind, path in done.paths.items()},
                "problems": [{"where": p.where, "message": p.message} for p in done.problems],
            })  # fmt: skip
            return
        console.text_tables(tables(done.gathered.boards, wide=True) if wide else done.tables)
        console.say(f"Leaderboard: {done.paths['html']}")


@leaderboard_app.command("submit")
def submit(
    results: Annotated[list[Path], typer.Argument(help="Folders with results.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the entry; its name is the entry's name.")],
    title: Annotated[str, typer.Option("--title", help="What was run, in a line.")],
    who: Annotated[str, typer.Option("--who", help="Whom to ask: a name, a group, an address.")],
    cohort: Annotated[list[str] | None, typer.Option("--cohort", help="Only these cohorts.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Only these models or experiments.")] = None,
    patients: Annotated[
        bool | None,
        typer.Option(
            "--with-patients/--without-patients",
            help="Whether times, events and risks of observed patients are sent; those of simulated ones always are.",
        ),
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of the entry, if it has one.")] = "",
    notes: Annotated[str, typer.Option("--notes", help="What a reader should know.")] = "",
    when: Annotated[str | None, typer.Option("--when", help="Date of the entry.", show_default="today")] = None,
    as_json: o.AsJson = False,
) -> None:
    """Write complete experiments as an entry: a folder of plain files that another group can verify."""
    with explained():
        from datetime import UTC, datetime

        from ...version import __version__
        from .. import console
        from ..verify.submit import submit as send

        day = when or datetime.now(UTC).date().isoformat()
        head = {"title": title, "who": who, "when": day, "milsurv": __version__, "licence": licence, "notes": notes}
        sent = send(_experiments_of(results), out, head, tuple(cohort or ()), tuple(model or ()), patients)
        if as_json:
            print_json(sent.as_json())
            return
        console.say(
            f"Entry: {out} ({sent.experiments} experiments, {sent.rows} rows, {sent.bytes / 1e6:.2f} MB; predictions "
            f"of {sent.shared} experiments, evidence only of {sent.withheld})"
        )
        console.say(f"Verify: bench leaderboard verify {out}")


@leaderboard_app.command("verify")
@with_label_options
def verify(
    entries: Annotated[list[Path], typer.Argument(help="Folders of entries, or folders that hold some.")],
    labels_path: o.LabelsFile = None,
    splits_path: o.SplitsFolder = None,
    cohort: Annotated[str | None, typer.Option("--cohort", help="The cohort of --labels.")] = None,
    as_json: o.AsJson = False,
    **label_words: Any,
) -> None:
    """Score an entry again from its predictions, simulate its cohorts again, refuse it if its numbers do not follow.

    Exit status 1 where anything is wrong. What cannot be checked is listed.
    """
    with explained():
        from ...datasets.folds.read import read_splits
        from ...datasets.labels.read import read_labels
        from ...datasets.own_cohorts.label_options import label_options
        from ...datasets.own_cohorts.typed_options import TypedOptions
        from ...errors import UsageError
        from ...leaderboards.entries.entry import HEAD
        from .. import console
        from ..verify.entry import verify as check
        from .predictions import cohort_named

        labels = folds = None
        named = cohort_named(cohort) if cohort is not None else None
        own = named.file if named is not None else None
        tables = labels_path or (own and own.path(own.labels))
        if (tables is None) != (named is None) or (splits_path is not None and tables is None):
            raise UsageError("--labels goes with --cohort, and --splits with both")
        if tables is not None and named is not None:
            labels = read_labels(tables, named.cohort, label_options(TypedOptions(**label_words), own))
            splits_path = splits_path or (own and labels_path is None and own.path(own.folds)) or None
            folds = read_splits(splits_path, labels) if splits_path else None
        folders = sorted({path.parent for entry in entries for path in entry.rglob(HEAD)})
        if not folders:
            raise Failure(f"{entries[0]}: there is no entry; give a folder that holds {HEAD}", 1)
        found = {str(folder): check(folder, labels, folds) for folder in folders}
        if as_json:
            print_json({
                name: {"faults": r.faults, "checked": r.checked, "unchecked": r.unchecked} for name, r in found.items()
            })  # fmt: skip
        else:
            for name, report in found.items():
                console.verdict(name, report.faults, report.checked, report.unchecked)
        if any(report.faults for report in found.values()):
            raise typer.Exit(1)


def _committed(update: bool, root: Path, as_json: bool) -> None:
    """Write, or check, the pages that are committed with milsurv."""
    from ...leaderboards import committed
    from .. import console

    if update:
        changed = [str(path) for path in committed.update(root)]
        print_json({"changed": changed}) if as_json else console.say(f"Changed: {', '.join(changed) or 'nothing'}")
        return
    faults = committed.stale(root)
    if as_json:
        print_json({"faults": faults})
    for fault in faults if not as_json else ():
        console.fail(f"{fault}; run `bench leaderboard --update` and look at what changes")
    if faults:
        raise typer.Exit(1)
    if not as_json:
        console.say("Every committed page follows from the rows.")


def _experiments_of(folders: Sequence[Path]) -> list[Path]:
    """Where a results folder keeps its experiments; any other folder as it is."""
    return [inside if (inside := path / "experiments").is_dir() else path for path in folders]
