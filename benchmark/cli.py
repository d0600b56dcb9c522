"""The `bench` command line. Heavy imports stay inside the commands, so that `bench --help` is quick.

Exit status: 0 done, 1 something failed, 2 the request or its input cannot be used as given.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from .prepare import Request

app = typer.Typer(
    name="bench",
    help="Compare multiple-instance-learning survival models on whole slide images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[str, typer.Option("--model", help="A model; `bench list models` names them.")]
CohortName = Annotated[str, typer.Option("--cohort", help="A cohort; `bench list cohorts` names them.")]
Backbone = Annotated[
    str | None, typer.Option("--backbone", help="The patch encoder; not needed where only one lies there.")
]
Features = Annotated[
    str | None,
    typer.Option("--features", help="Folder of patch features, or `synthetic` for a drawn twin of the cohort."),
]
LabelsFile = Annotated[Path | None, typer.Option("--labels", help="Label table: csv, or zipped csv.")]
SplitsFolder = Annotated[Path | None, typer.Option("--splits", help="Folder with splits_0.csv, splits_1.csv, …")]
Data = Annotated[
    Path,
    typer.Option("--data", help="Folder with COHORT/labels.csv, COHORT/splits/, COHORT/features/BACKBONE/."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for everything that is written.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="How to train: default, or reference.")]
Loss = Annotated[str | None, typer.Option("--loss", help="nll, cox or ce.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="At most so many epochs.")]
Scale = Annotated[
    int | None, typer.Option("--scale", help="The magnification a single-scale model reads: 5, 10 or 20.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a field of the recipe or a hyperparameter."),
]
Folds = Annotated[int, typer.Option("--folds", help="Folds to draw where none are given.", min=2, max=100)]
Seed = Annotated[int, typer.Option("--seed", help="Seed of weights, batches and the inner validation part.", min=0)]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Missing = Annotated[str, typer.Option("--missing", help="error, or drop patients without features (they are listed).")]
Strength = Annotated[
    str | None,
    typer.Option(
        "--strength", help="Hazard planted by `--features synthetic`: none, weak, medium, strong or a number."
    ),
]
Patients = Annotated[int | None, typer.Option("--patients", help="Patients drawn by `--features synthetic`.", min=20)]
Tracking = Annotated[
    str | None,
    typer.Option("--tracking", help="MLflow address; by default a local file in --out; `none` = off."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")]


class Failure(Exception):
    """Ends the command with a message and an exit status; every kind of mistake becomes one."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def _mistakes_explained() -> Iterator[None]:
    """Turn what users can mend into one line and an exit status; what is our fault keeps its traceback."""
    from ..datasets.errors import DataError, UnknownBackbone, UnknownCohort
    from ..leaderboards.rows import RowError
    from ..models.registry import UnknownModel
    from .prepare import UsageError
    from .results import CannotWrite

    try:
        yield
    except (UsageError, UnknownModel, UnknownCohort, UnknownBackbone) as error:
        raise Failure(str(error), 2) from error
    except (DataError, RowError, CannotWrite) as error:
        raise Failure(str(error), 1) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise Failure(f"{error.filename}: {error.strerror}", 1) from error


def _settings(pairs: list[str] | None, **named: object) -> dict[str, str]:
    """`--set` pairs and the options that are short for one."""
    from .prepare import UsageError

    found = {key: str(value) for key, value in named.items() if value is not None}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {pair}: expected KEY=VALUE")
        found[key.replace("-", "_")] = value
    return found


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


@app.command()
def run(
    model: Model,
    cohort: CohortName,
    backbone: Backbone = None,
    features: Features = None,
    labels: LabelsFile = None,
    splits: SplitsFolder = None,
    data: Data = Path("data"),
    out: Out = Path("results"),
    recipe: RecipeName = "default",
    loss: Loss = None,
    epochs: Epochs = None,
    scale: Scale = None,
    settings: Settings = None,
    folds: Folds = 5,
    seed: Seed = 0,
    device: Device = "auto",
    missing: Missing = "error",
    strength: Strength = None,
    patients: Patients = None,
    tracking: Tracking = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Run one cross-validated experiment, log it to MLflow and render the leaderboard.

    Finished folds are kept: an interrupted command, typed again, goes on where it stopped.
    """
    with _mistakes_explained():
        from .prepare import Request
        from .session import Session

        request = Request(
            model, cohort, backbone, features, labels, splits, data, out, recipe,
            _settings(settings, loss=loss, epochs=epochs, scale=scale), folds, seed, device, missing, strength, patients,
        )  # fmt: skip
        session = Session(out, tracking)
        if dry_run:
            _dry_run([request], session, as_json)
            return
        result = session.run(request)
        session.publish()
        if as_json:
            _print_json(result.summary())
        else:
            session.show(result)
        if not result.complete:
            raise typer.Exit(1)


@app.command()
def ablate(
    model: Annotated[str, typer.Option("--model", help="Models, separated by commas.")],
    cohort: Annotated[str, typer.Option("--cohort", help="Cohorts, separated by commas.")],
    backbone: Annotated[str | None, typer.Option("--backbone", help="Backbones, separated by commas.")] = None,
    features: Features = None,
    labels: LabelsFile = None,
    splits: SplitsFolder = None,
    data: Data = Path("data"),
    out: Out = Path("results"),
    recipe: RecipeName = "default",
    loss: Annotated[str | None, typer.Option("--loss", help="Losses, separated by commas.")] = None,
    epochs: Epochs = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="Scales of single-scale models, separated by commas.")
    ] = None,
    settings: Settings = None,
    folds: Folds = 5,
    seed: Annotated[str, typer.Option("--seed", help="Seeds, separated by commas.")] = "0",
    device: Device = "auto",
    missing: Missing = "error",
    strength: Strength = None,
    patients: Patients = None,
    tracking: Tracking = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Run a grid of models, backbones, losses, scales and seeds; finished cells are skipped, one table ends it."""
    with _mistakes_explained():
        from .prepare import Request
        from .session import Session, grid

        first = Request(
            "", "", None, features, labels, splits, data, out, recipe,
            _settings(settings, epochs=epochs), folds, 0, device, missing, strength, patients,
        )  # fmt: skip
        requests = grid(first, model=model, cohort=cohort, backbone=backbone, loss=loss, scale=scale, seed=seed)
        session = Session(out, tracking)
        if dry_run:
            _dry_run(requests, session, as_json)
            return
        results, failures = session.run_all(requests)
        session.publish()
        if as_json:
            _print_json({"cells": [result.summary() for result in results], "failed": failures})
        else:
            session.show_tables()
        if failures or not all(result.complete for result in results):
            raise typer.Exit(1)


@app.command()
def leaderboard(
    results: Annotated[list[Path] | None, typer.Argument(help="Folders with results.", show_default="results")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the pages.", show_default="RESULTS/leaderboard")
    ] = None,
    tracking: Annotated[str | None, typer.Option("--tracking", help="Read an MLflow store instead of folders.")] = None,
    as_json: AsJson = False,
) -> None:
    """Render Markdown, CSV, LaTeX and one HTML page from results, or from an MLflow store."""
    with _mistakes_explained():
        import tempfile

        from ..leaderboards.publish import publish
        from . import console
        from .prepare import UsageError

        if tracking and results:
            raise UsageError("give folders with results or --tracking, not both")
        given = results or [Path("results")]
        target = out or given[0] / "leaderboard"
        folders = [inside if (inside := path / "experiments").is_dir() else path for path in given]
        with tempfile.TemporaryDirectory() as fetched:
            if tracking:
                from .tracking import fetch

                try:
                    fetch(tracking, Path(fetched))
                except Exception as error:
                    raise Failure(f"MLflow at {tracking} cannot be read: {str(error).splitlines()[0]}", 1) from error
                folders = [Path(fetched)]
            published = publish(folders, target)
        for problem in published.problems:
            console.warn(f"{problem.where}: {problem.message}")
        if as_json:
            _print_json({
                "paths": {kind: str(path) for kind, path in published.paths.items()},
                "problems": [{"where": p.where, "message": p.message} for p in published.problems],
            })  # fmt: skip
            return
        console.sheets(published.tables)
        console.say(f"Leaderboard: {published.paths['html']}")


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(help="models, cohorts, backbones, losses, recipes or metrics; all when left out.")
    ] = "all",
    as_json: AsJson = False,
) -> None:
    """List what is known: models, cohorts, backbones, losses, recipes, metrics."""
    with _mistakes_explained():
        from . import catalogue, console
        from .prepare import known

        if what != "all":
            known("list", what, catalogue.LISTS)
        chosen = list(catalogue.LISTS) if what == "all" else [what]
        listed = {name: catalogue.LISTS[name]() for name in chosen}
        if as_json:
            _print_json(listed)
            return
        for name, rows in listed.items():
            console.listing(name.capitalize(), rows)


@app.command("import-checkpoint")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A checkpoint of the public reference (.pt or .pth).")],
    model: Model,
    out: Out = Path("results"),
    settings: Settings = None,
    features: Annotated[
        Path | None,
        typer.Option("--features", help="Folder of features; every slide in it is scored with the checkpoint."),
    ] = None,
    backbone: Backbone = None,
    as_json: AsJson = False,
) -> None:
    """Load a checkpoint that the public reference trained, keep it in our form, and score slides with it."""
    with _mistakes_explained():
        from . import checkpoint, console

        imported = checkpoint.import_reference(file, model, _settings(settings), out)
        scored = checkpoint.score_slides(imported, features, backbone, out) if features else None
        summary = imported.summary() | ({"predictions": str(scored)} if scored else {})
        if as_json:
            _print_json(summary)
            return
        console.listing("Imported", [summary])


def _dry_run(requests: "list[Request]", session, as_json: bool) -> None:
    from . import console

    plan = [session.plan(request) for request in requests]
    if as_json:
        _print_json({"would_run": plan})
    else:
        console.listing(f"Would run {len(plan)} experiment{'s' * (len(plan) != 1)}", plan)


def _stop(signum: int, frame: object) -> NoReturn:
    """A scheduler's SIGTERM ends a run as Ctrl-C does: what is finished stays, and MLflow is told."""
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of `bench`."""
    # Asked for before torch starts: reproducible matrix products on a GPU need it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except Failure as failure:
        from .console import fail

        fail(str(failure))
        sys.exit(failure.status)


if __name__ == "__main__":
    main()
