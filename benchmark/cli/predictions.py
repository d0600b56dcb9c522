"""`bench import-predictions`: what others predicted, checked and put on the board."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json


def import_predictions(
    file: Annotated[Path, typer.Argument(help="A csv or csv.gz table: patient, fold, risk, and optionally more.")],
    model: Annotated[str, typer.Option("--model", help="Its name on the board; picks rows where the file has models.")],
    cohort: o.CohortName,
    labels: o.LabelsFile = None,
    splits: o.SplitsFolder = None,
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

        from ...datasets.errors import some
        from ...datasets.labels import read_labels
        from ...datasets.splits import read_splits
        from .. import console
        from ..foreign_table import read_foreign
        from ..imported import check, folds_of, imported, labels_of
        from ..prepare import known
        from ..without_epochs import keep
        from .controls import cohort_named, show

        known("missing", missing, ("error", "drop"))
        name, entry_of_registry = cohort_named(cohort)
        table = read_foreign(file, model, cohort)
        truth = read_labels(labels, entry_of_registry or name) if labels else labels_of(table, name)
        folds = read_splits(splits, truth) if splits else folds_of(table)
        checked = check(table, truth, folds, missing)
        if checked.dropped:
            console.warn(f"{len(checked.dropped)} test patients have no prediction: {some(checked.dropped, 20)}")
        words = ["bench", "import-predictions", file.name, "--model", model, "--cohort", name]
        words += [
            word
            for option, given in (("--labels", labels), ("--splits", splits))
            if given
            for word in (option, str(given))
        ]
        words += ["--missing", missing] if missing != "error" else []
        made = imported(checked, model, shlex.join(words))
        folder = keep(made, out)
        show(made, folder, out, as_json, print_json)
