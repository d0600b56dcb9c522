"""`bench import-predictions`: what others predicted, checked and put on the board."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as o
from .label_options import with_label_options
from .mistakes import explained
from .output import print_json

if TYPE_CHECKING:
    from ...datasets.own_cohorts.find import Found
    from ..run import Finished


@with_label_options
def import_predictions(
    file: Annotated[Path, typer.Argument(help="A csv or csv.gz table: patient, fold, risk, and optionally more.")],
    model: Annotated[str, typer.Option("--model", help="Its name on the board; picks rows where the file has models.")],
    cohort: o.CohortName,
    labels_path: o.LabelsFile = None,
    splits_path: o.SplitsFolder = None,
    reads: Annotated[
        str | None, typer.Option("--reads", help="What the model reads, in words: `slides and genes`.")
    ] = None,
    missing: Annotated[
        str, typer.Option("--missing", help="error, or drop test patients without a prediction (they are listed).")
    ] = "error",
    out: o.Out = Path("results"),
    as_json: o.AsJson = False,
    **label_words: Any,
) -> None:
    """Check other people's out-of-fold predictions against labels and folds, and make them rows of the board.

    --labels and --splits may be left out where the file carries time, event and fold.
    """
    with explained():
        import shlex

        from ...datasets.folds.read import read_splits
        from ...datasets.labels.read import read_labels
        from ...datasets.own_cohorts.label_options import label_options
        from ...datasets.own_cohorts.typed_options import TypedOptions
        from ...errors import some
        from ...names import check_choice
        from .. import console
        from ..external.prediction_table import named_as, read_foreign
        from ..external.predictions import check, folds_of, import_checked, labels_of

        check_choice("missing", missing, ("error", "drop"))
        found = cohort_named(cohort)
        name, own = found.cohort.name, found.file
        table = read_foreign(file, model, name)
        words_of_labels = TypedOptions(**label_words)
        tables = labels_path or (own and own.path(own.labels))
        if tables:
            labels = read_labels(tables, found.cohort, label_options(words_of_labels, own))
            table = named_as(table, labels.by_id)
        else:
            labels = labels_of(table, name)
        name = labels.cohort
        folds_path = splits_path or (own and labels_path is None and own.path(own.folds)) or None
        folds = read_splits(folds_path, labels) if folds_path else folds_of(table)
        checked = check(table, labels, folds, missing)
        if checked.dropped:
            console.warn(f"{len(checked.dropped)} test patients have no prediction: {some(checked.dropped, 20)}")
        words = ["bench", "import-predictions", file.name, "--model", model, "--cohort", cohort if own else name]
        words += [
            word
            for option, given in (("--labels", labels_path), ("--splits", splits_path))
            if given
            for word in (option, str(given))
        ]
        words += ["--missing", missing] if missing != "error" else []
        words += ["--reads", reads] if reads else []
        words += words_of_labels.command
        with console.Terminal().computing(f"{model} on {name}", len(checked.folds.splits)) as watcher:
            finished = import_checked(checked, model, out, shlex.join(words), watcher, reads)
        _show(finished, out, as_json)


def cohort_named(word: str) -> "Found":
    """The cohort that a word names; a name that is not registered is one's own, with a warning."""
    from ...datasets.own_cohorts.find import find_cohort, registered_names
    from ...names import did_you_mean
    from .. import console

    found = find_cohort(word)
    if not found.registered and found.file is None:
        near = did_you_mean(word, registered_names())
        console.warn(f"{word!r} is no registered cohort.{near} It is taken as a cohort of your own.")
    return found


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
