"""`bench ablate`: a grid of experiments."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .mistakes import explained
from .run import finish, settings_from


def ablate(
    model: Annotated[str, typer.Option("--model", help="Models and controls, separated by commas.")],
    cohort: Annotated[str, typer.Option("--cohort", help="Cohorts, separated by commas.")],
    backbone: Annotated[str | None, typer.Option("--backbone", help="Backbones, separated by commas.")] = None,
    features: o.Features = None,
    labels: o.LabelsFile = None,
    splits: o.SplitsFolder = None,
    data: o.Data = Path("data"),
    out: o.Out = Path("results"),
    recipe: o.RecipeName = "default",
    loss: Annotated[str | None, typer.Option("--loss", help="Losses, separated by commas.")] = None,
    epochs: o.Epochs = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="Scales of single-scale models, separated by commas.")
    ] = None,
    settings: o.Settings = None,
    endpoint: o.Endpoint = "os",
    columns: o.Columns = None,
    magnification: o.Magnification = None,
    patch_px: o.PatchPx = None,
    coords: o.Coords = None,
    folds: o.Folds = 5,
    repeats: o.Repeats = 1,
    split_by: o.SplitBy = "event",
    slides: o.Slides = "concat",
    covariates: o.Covariates = None,
    seeds: o.Seeds = "0",
    device: o.Device = "auto",
    missing: o.Missing = "error",
    unusable_times: o.UnusableTimes = "error",
    strength: o.Strength = None,
    patients: o.Patients = None,
    cohort_seed: o.CohortSeed = 0,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            help="Model, or MODEL@BACKBONE, that every cell is held against.",
            show_default="the first of the board",
        ),
    ] = None,
    tracking: o.Tracking = None,
    as_json: o.AsJson = False,
    dry_run: o.DryRun = False,
) -> None:
    """Run a grid of models, backbones, losses, scales and seeds; finished cells are skipped, tables end it.

    Models and backbones are the two axes of one table, each cell held against --baseline over the same patients and
    folds; it is written as Markdown and LaTeX beside the leaderboard.
    """
    with explained():
        from ..grid import check_baseline, grid
        from ..prepare import Request
        from ..session import Session

        first = Request(
            "",
            "",
            features=features,
            labels=labels,
            splits=splits,
            data=data,
            out=out,
            recipe=recipe,
            settings=settings_from(settings, epochs=epochs),
            endpoint=endpoint,
            columns=columns,
            magnification=magnification,
            patch_px=patch_px,
            coords=coords,
            covariates=covariates,
            folds=folds,
            repeats=repeats,
            split_by=split_by,
            slides=slides,
            device=device,
            missing=missing,
            unusable_times=unusable_times,
            strength=strength,
            patients=patients,
            cohort_seed=cohort_seed,
        )
        if baseline is not None:
            check_baseline(baseline)
        requests = grid(first, model, cohort, backbone, loss, scale, seeds)
        finish(requests, Session(out, tracking), as_json, dry_run, one=False, baseline=baseline)
