"""`bench control`: what can be said of survival without looking at a patch."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json

if TYPE_CHECKING:
    from ...datasets.cohort import Cohort
    from ..without_epochs import Entry


def control(
    name: Annotated[str, typer.Option("--control", help="clinical-cox, site-only, bag-size or random.")],
    cohort: o.CohortName,
    labels: o.LabelsFile = None,
    splits: o.SplitsFolder = None,
    covariates: Annotated[
        str,
        typer.Option("--covariates", help="Of clinical-cox: age, is_female, oncotree_code, site."),
    ] = "age,is_female",
    alpha: Annotated[
        float | None, typer.Option("--alpha", help="Ridge penalty; by default the control's own.", min=0.0)
    ] = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="Of bag-size: the folder whose patches are counted.")
    ] = None,
    backbone: o.Backbone = None,
    data: o.Data = Path("data"),
    out: o.Out = Path("results"),
    folds: o.Folds = 5,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random risks.", min=0)] = 0,
    as_json: o.AsJson = False,
) -> None:
    """Fit a control on every fold and put it on the board; models below the best control are flagged there."""
    with explained():
        import shlex

        from ...datasets.labels import read_labels
        from ...datasets.layout import find_labels, find_splits
        from ...datasets.splits import read_splits, stratified_folds
        from .. import console
        from ..controls import CONTROLS, run_control
        from ..covariates import KNOWN
        from ..patch_counts import count_patches
        from ..prepare import known
        from ..without_epochs import keep

        known("control", name, CONTROLS)
        chosen = tuple(word.strip() for word in covariates.split(",") if word.strip())
        for word in chosen:
            known("covariate", word, KNOWN)
        cohort_name, entry_of_registry = cohort_named(cohort)
        table = labels or find_labels(data, cohort_name)
        folder_of_folds = splits or (None if labels else find_splits(data, cohort_name))
        truth = read_labels(table, entry_of_registry or cohort_name)
        parts = read_splits(folder_of_folds, truth) if folder_of_folds else stratified_folds(truth, folds)
        console.findings((*truth.findings, *parts.findings))
        words = ["bench", "control", "--control", name, "--cohort", cohort_name]
        for option, value, default in (
            ("--labels", labels, None),
            ("--splits", splits, None),
            ("--covariates", ",".join(chosen) if name == "clinical-cox" else None, "age,is_female"),
            ("--alpha", alpha, None),
            ("--features", features if name == "bag-size" else None, None),
            ("--backbone", backbone if name == "bag-size" else None, None),
            ("--data", None if labels else data, Path("data")),
            ("--folds", None if folder_of_folds else folds, 5),
            ("--seed", seed if name == "random" else None, 0),
        ):
            words += [option, str(value)] if value is not None and value != default else []
        counted = count_patches(features, backbone, truth) if name == "bag-size" and features else None
        made = run_control(
            name,
            truth,
            parts,
            chosen,
            alpha,
            seed,
            counted.patches if counted else None,
            counted.fingerprint if counted else None,
            shlex.join(words),
        )
        show(made, keep(made, out), out, as_json, print_json)


def cohort_named(name: str) -> "tuple[str, Cohort | None]":
    """The registry's name and entry of a cohort; a name it does not hold is kept as given, with a warning."""
    from ...datasets import cohorts
    from ...datasets.errors import UnknownCohort
    from .. import console

    try:
        found = cohorts.get(name)
    except UnknownCohort as error:
        console.warn(f"{error} It is taken as a cohort of your own.")
        return name, None
    return found.name, found


def show(made: "Entry", folder: Path, out: Path, as_json: bool, say: Callable[[object], None]) -> None:
    """Render the leaderboard, and print the C-index of every fold as a table or as JSON."""
    from ...leaderboards.memory import of_user
    from ...leaderboards.publish import publish
    from .. import console

    published = publish(out / "experiments", out / "leaderboard", of_user())
    for problem in published.problems:
        console.warn(f"{problem.where}: {problem.message}")
    summary = made.summary()
    if as_json:
        say(summary)
        return
    folds = [{**fold, "c_index": console.number(fold["c_index"])} for fold in _folds(summary)]
    folds.append({"fold": "mean", "patients": "", "events": "", "c_index": console.number(summary["mean"])})
    console.listing(f"{summary['model']} on {summary['cohort']}, experiment {made.experiment}", folds)
    console.say(f"Results:     {folder}")
    console.say(f"Leaderboard: {published.paths['html']}")


def _folds(summary: dict[str, object]) -> list[dict[str, object]]:
    folds = summary["folds"]
    assert isinstance(folds, list)
    return folds
