"""`bench import-predictions`: what others predicted, checked and put on the board."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json

if TYPE_CHECKING:
    from ...datasets.cohorts import Cohort
    from ..run import Finished


def import_predictions(
    file: Annotated[Path, typer.Argument(help="A csv or csv.gz table: patient, fold, risk, and optionally more.")],
    model: Annotated[str, typer.Option("--model", help="Its name on the board; picks rows where the file has models.")],
    cohort: o.CohortName,
    labels_path: o.LabelsFile = None,
    splits_path: o.SplitsFolder = None,
    missing: Annotated[
        str, typer.Option("--missing", help="error, or drop test patients without a prediction (they are listed).")
    ] = "error",
    out: o.Out = Path("results"),
    as_json: o.AsJson = False,
) -> None:
    """Check other people's out-of-fold predictions against labels and folds, and make them rows of the board.

    --labels and --splits may be left out where the file carries time, event and fold.
    """
    with explained():
        import shlex

        from ...datasets.folds.read import read_splits
        from ...datasets.labels.read import read_labels
        from ...errors import some
        from ...names import check_choice
        from .. import console
        from ..external.prediction_table import read_foreign
        from ..external.predictions import check, folds_of, import_checked, labels_of

        check_choice("missing", missing, ("error", "drop"))
        name, cohort_of_registry = cohort_named(cohort)
        table = read_foreign(file, model, cohort)
        labels = read_labels(labels_path, cohort_of_registry or name) if labels_path else labels_of(table, name)
        folds = read_splits(splits_path, labels) if splits_path else folds_of(table)
        checked = check(table, labels, folds, missing)
        if checked.dropped:
            console.warn(f"{len(checked.dropped)} test patients have no prediction: {some(checked.dropped, 20)}")
        words = ["bench", "import-predictions", file.name, "--model", model, "--cohort", name]
        words += [
            word
            for option, given in (("--labels", labels_path), ("--splits", splits_path))
            if given
            for word in (option, str(given))
        ]
        words += ["--missing", missing] if missing != "error" else []
        with console.Terminal().computing(f"{model} on {name}", len(checked.folds.splits)) as watcher:
            finished = import_checked(checked, model, out, shlex.join(words), watcher)
        _show(finished, out, as_json)


def cohort_named(name: str) -> "tuple[str, Cohort | None]":
    """The registry's name and entry of a cohort; a name it does not hold is kept as given, with a warning."""
    from ...datasets import cohorts
    from ...errors import UnknownName
    from .. import console

    try:
        found = cohorts.get(name)
    except UnknownName as error:
        console.warn(f"{error} It is taken as a cohort of your own.")
        return name, None
    return found.name, found


def _show(finished: "Finished", out: Path, as_json: bool) -> None:
    """Render the leaderboard, and print the C-index of every fold as a table or as JSON."""
    from .. import console
    from .experiments import publish_results, show_places

    published = publish_results(out)
    experiment, mean = finished.experiment, finished.mean("c_index_selected")
    folds = [
        {"fold": row.fold, "patients": row.n_test, "events": row.events_test, "c_index": row.score("c_index_selected")}
        for row in finished.rows
    ]
    if as_json:
        print_json({"model": experiment.model, "cohort": experiment.cohort, "folds": folds, "mean": mean})
    else:
        shown = [{**fold, "c_index": console.number(fold["c_index"])} for fold in folds]
        shown.append({"fold": "mean", "patients": "", "events": "", "c_index": console.number(mean)})
        console.listing(f"{experiment.title}, experiment {experiment.id}", shown)
        console.say(f"Results:     {out / 'experiments' / experiment.id}")
        show_places(published, out, "none")
    if not published or not finished.complete:
        raise typer.Exit(1)
