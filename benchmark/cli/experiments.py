"""Run experiments from the command line, and show what came of them."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from ...datasets.labels.read import OWN
from ...datasets.own_cohorts.find import find_cohort
from ...files import write_whole
from ...leaderboards.cache.store import user_cache
from ...leaderboards.publish import Published, publish
from ...leaderboards.render.ablation import (
    ablation_latex,
    ablation_markdown,
    ablation_table,
    ablations,
    differences_table,
)
from ...leaderboards.render.external import models_table, summary
from ...leaderboards.render.text_tables import TextTable
from .. import console
from ..engines.options import SERIAL, Options
from ..inference.evaluate import Evaluation
from ..inference.external_test import ExternalTest
from ..planning.request import Request
from ..results.tracking.options import Tracking
from ..results.tracking.store import local_store
from ..run import Finished, plan, run, run_all
from .grids import write_printed
from .output import print_json


def run_and_show(
    requests: Sequence[Request],
    tracking: Tracking,
    as_json: bool,
    dry_run: bool,
    one: bool | None = None,
    baseline: str | None = None,
    engine: Options = SERIAL,
    beside: Callable[[Sequence[Finished]], Sequence[TextTable]] | None = None,
    test_cohorts: Sequence[str] = (),
) -> None:
    """Run what was asked for, render the leaderboard and print it; exit status 1 where something failed.

    one: whether it is a single experiment, shown fold by fold, or cells of a grid, shown as a board; by their number
    where None. baseline: what the cells of a grid are compared with. engine: how folds are computed. beside: makes
    tables of what finished, which are shown in place of the boards. test_cohorts: external cohorts that every finished
    experiment is tested on.
    """
    outside = [ExternalTest(request, word) for request in requests for word in test_cohorts]
    for test in outside[: len(test_cohorts)]:  # of the first request: the others differ in the seed
        test.check()
    if dry_run:
        show_plan(requests, as_json)
        return
    one = len(requests) == 1 if one is None else one
    out, terminal = requests[0].out, console.Terminal()
    if one:
        finished, failures = [run(requests[0], terminal, tracking, engine)], []
    else:
        finished, failures = run_all(requests, terminal, tracking, engine)
    validated = [test.evaluate(one) for test in outside for one in finished if one.complete and test.is_of(one)]
    published = publish_results(out)
    tables = ablation(requests, published, baseline) if published and not one else ()
    shown = () if published is None else (*published.tables, *tables)
    if beside is not None:
        shown = beside(finished)
        console.say(f"Printed figures beside ours: {write_printed(shown, out)}")
    if as_json:
        summaries = [result.summary() for result in finished]
        found = summaries[0] if one else {"cells": summaries, "failed": failures}
        print_json(found | ({"external": [v.result.to_json() for v in validated]} if outside else {}))
    else:
        if one:
            show_folds(finished[0], out)
        else:
            console.text_tables(shown)
        show_evaluations(validated)
        show_places(published, out, tracking.address)
    lacking = sum(test.is_of(one) for test in outside for one in finished) > len(validated)
    if failures or lacking or not published or not all(result.complete for result in finished):
        raise typer.Exit(1)


def show_plan(requests: Sequence[Request], as_json: bool) -> None:
    """Print what would run."""
    planned = [plan(request) for request in requests]
    if as_json:
        print_json({"would_run": planned})
    else:
        console.listing(f"Would run {len(planned)} experiment{'s' * (len(planned) != 1)}", planned)


def publish_results(out: Path) -> Published | None:
    """Render the leaderboard of everything in the output folder; None, with a word why, where it cannot be."""
    try:
        published = publish(out / "experiments", out / "leaderboard", user_cache())
    except OSError as error:
        console.fail(f"the leaderboard cannot be written: {error.filename}: {error.strerror}. The results are kept")
        return None
    for problem in published.problems:
        console.warn(f"{problem.where}: {problem.message}")
    return published


def show_folds(result: Finished, out: Path) -> None:
    """Print one experiment, fold by fold, and where its files lie."""
    experiment = result.experiment
    words = [experiment.title, *[experiment.backbone] * bool(experiment.backbone), f"experiment {experiment.id}"]
    console.folds_table(", ".join(words), result.rows)
    console.say(f"Results:     {out / 'experiments' / experiment.id}")


def show_evaluations(found: Sequence[Evaluation]) -> None:
    """Print external validations: every fold model and the ensemble, and the drop from the internal C-index."""
    for one in found:
        console.text_tables([models_table(one.result)])
        console.say(summary(one.result))
        console.say(f"Results: {one.folder}")


def show_places(published: Published | None, out: Path, tracking: str | None) -> None:
    """Print where the leaderboard and the MLflow store are."""
    if published:
        console.say(f"Leaderboard: {published.paths['html']}")
    if tracking != "none":
        address = tracking or (local_store(out) if set(str(out)) & set("?#%") else f"sqlite:///{out}/mlflow.db")
        console.say(f"MLflow:      mlflow ui --backend-store-uri {shlex.quote(address)}")


def ablation(requests: Sequence[Request], published: Published, baseline: str | None) -> tuple[TextTable, ...]:
    """Models by backbones on the cohorts of a grid; written beside the leaderboard as Markdown and LaTeX, too.

    Errors: `RowError` for a baseline that is on no board, `OSError` where the files cannot be written.
    """
    found = published.gathered
    names = {find_cohort(request.cohort).cohort.name for request in requests}
    names |= {f"{OWN}{name}" for name in names}
    boards = [board for board in found.boards if board.cohort in names]
    tables = ablations(boards, found.predictions, baseline, found.published)
    if tables:
        folder = requests[0].out / "leaderboard"
        write_whole(folder / "ablation.md", ablation_markdown(tables))
        write_whole(folder / "ablation.tex", ablation_latex(tables))
    return tuple(table for one in tables for table in (ablation_table(one), differences_table(one)))
