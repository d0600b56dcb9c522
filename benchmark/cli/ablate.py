"""`bench ablate`: a grid of experiments."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options as o
from .mistakes import explained
from .request_options import engine_from, request_from, tracking_from, with_request_options


@with_request_options
def ablate(
    model: Annotated[str | None, typer.Option("--model", help="Models and baselines, separated by commas.")] = None,
    cohort: Annotated[str | None, typer.Option("--cohort", help="Cohorts, separated by commas.")] = None,
    grid_file: Annotated[
        str | None,
        typer.Option(
            "--grid", help="A file of tables, or crossfusion-paper or planted; the other options pick from it."
        ),
    ] = None,
    printed: Annotated[
        Path | None,
        typer.Option("--printed", help="Figures of a published table, as csv, shown beside those of --grid."),
    ] = None,
    backbone: Annotated[str | None, typer.Option("--backbone", help="Backbones, separated by commas.")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="Losses, separated by commas.")] = None,
    epochs: o.Epochs = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="Scales of single-scale models, separated by commas.")
    ] = None,
    patches: o.Patches = None,
    refit: o.Refit = None,
    settings: o.Settings = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="How to train: default, or reference.", show_default="default")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", "--seed", help="Seeds, separated by commas.", show_default="0"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            help="Model, or MODEL@BACKBONE, that every cell is compared with.",
            show_default="the first of the board",
        ),
    ] = None,
    as_json: o.AsJson = False,
    dry_run: o.DryRun = False,
    **shared: Any,
) -> None:
    """Run a grid of models, backbones, losses, scales and seeds; finished cells are skipped, tables end it.

    Models and backbones are the two axes of one table, each cell compared with --baseline over the same patients and
    folds; it is written as Markdown and LaTeX beside the leaderboard. --grid takes several such tables from a file, and
    --dry-run then says what is finished, what is missing and what the rest costs.
    """
    with explained():
        from ...errors import UsageError
        from ...models.registry import adopt
        from ..planning.grid import check_compared_with, grid
        from ..planning.grid_file import NARROWED, grid_path, read_grid, read_printed, requests_of

        if baseline is not None:
            check_compared_with(baseline)
        short = {"epochs": epochs, "train_patches": patches, "refit": refit}
        first = replace(request_from("", "", shared, settings, **short), recipe=recipe or "default")
        engine, beside = engine_from(shared), None
        if grid_file is not None:
            given = (model, cohort, backbone, loss, scale, recipe, seeds)
            picked = {option: text for option, text in zip(NARROWED, given, strict=True) if text is not None}
            path = grid_path(grid_file)
            file = read_grid(path)
            adopt({name for table in file.table for name in table.models} | set((model or "").split(",")))
            requests = requests_of(file, first, picked)
            from .grids import printed_tables, show_survey

            if dry_run:
                show_survey(requests, as_json)
                return
            figures = read_printed(file, path, first.data, printed)
            beside = partial(printed_tables, file.title or path.stem, file.source, figures) if figures else None
        elif model is None or cohort is None:
            raise UsageError("say what to compare: --model and --cohort, or --grid FILE")
        else:
            adopt(model.split(","))
            requests = grid(first, model, cohort, backbone, loss, scale, seeds or "0")

        from .experiments import run_and_show

        tracking = tracking_from(shared)
        run_and_show(requests, tracking, as_json, dry_run, one=False, baseline=baseline, engine=engine, beside=beside)
