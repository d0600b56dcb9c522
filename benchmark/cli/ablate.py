"""`bench ablate`: a grid of experiments."""

from typing import Annotated, Any

import typer

from . import options as o
from .mistakes import explained
from .request_options import engine_from, request_from, with_request_options


@with_request_options
def ablate(
    model: Annotated[str, typer.Option("--model", help="Models and baselines, separated by commas.")],
    cohort: Annotated[str, typer.Option("--cohort", help="Cohorts, separated by commas.")],
    backbone: Annotated[str | None, typer.Option("--backbone", help="Backbones, separated by commas.")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="Losses, separated by commas.")] = None,
    epochs: o.Epochs = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="Scales of single-scale models, separated by commas.")
    ] = None,
    settings: o.Settings = None,
    seeds: o.Seeds = "0",
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            help="Model, or MODEL@BACKBONE, that every cell is compared with.",
            show_default="the first of the board",
        ),
    ] = None,
    tracking: o.Tracking = None,
    as_json: o.AsJson = False,
    dry_run: o.DryRun = False,
    **shared: Any,
) -> None:
    """Run a grid of models, backbones, losses, scales and seeds; finished cells are skipped, tables end it.

    Models and backbones are the two axes of one table, each cell compared with --baseline over the same patients and
    folds; it is written as Markdown and LaTeX beside the leaderboard.
    """
    with explained():
        from ...models.foreign import adopt
        from ..planning.grid import check_compared_with, grid
        from .experiments import run_and_show

        if baseline is not None:
            check_compared_with(baseline)
        adopt(model.split(","))
        first = request_from("", "", shared, settings, epochs=epochs)
        requests = grid(first, model, cohort, backbone, loss, scale, seeds)
        engine = engine_from(shared)
        run_and_show(requests, tracking, as_json, dry_run, one=False, baseline=baseline, engine=engine)
