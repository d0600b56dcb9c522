"""`bench run`: one experiment."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from . import options as o
from .mistakes import explained
from .output import print_json

if TYPE_CHECKING:
    from ..prepare import Request
    from ..session import Session


def run(
    model: o.Model,
    cohort: o.CohortName,
    backbone: o.Backbone = None,
    features: o.Features = None,
    labels: o.LabelsFile = None,
    splits: o.SplitsFolder = None,
    data: o.Data = Path("data"),
    out: o.Out = Path("results"),
    recipe: o.RecipeName = "default",
    loss: o.Loss = None,
    epochs: o.Epochs = None,
    scale: o.Scale = None,
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
    tracking: o.Tracking = None,
    as_json: o.AsJson = False,
    dry_run: o.DryRun = False,
) -> None:
    """Run a model, or a control, in cross-validation, log it to MLflow and render the leaderboard.

    Several seeds are as many experiments and one line of the leaderboard.
    Finished folds are kept: an interrupted command, typed again, goes on where it stopped.
    """
    with explained():
        from ..grid import seeded
        from ..prepare import Request
        from ..session import Session

        request = Request(
            model,
            cohort,
            backbone=backbone,
            features=features,
            labels=labels,
            splits=splits,
            data=data,
            out=out,
            recipe=recipe,
            settings=settings_from(settings, loss=loss, epochs=epochs, scale=scale),
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
        finish(seeded(request, seeds), Session(out, tracking), as_json, dry_run)


def finish(
    requests: "list[Request]",
    session: "Session",
    as_json: bool,
    dry_run: bool,
    one: bool | None = None,
    baseline: str | None = None,
) -> None:
    """Run what was asked for, publish and print it; exit status 1 where something failed.

    one: whether it is a single experiment, shown fold by fold, or cells of a grid, shown as a board; by their number
    where None. baseline: of a grid's table of models by backbones.
    """
    one = len(requests) == 1 if one is None else one
    if dry_run:
        plan = [session.plan(request) for request in requests]
        if as_json:
            print_json({"would_run": plan})
        else:
            from . import console

            console.listing(f"Would run {len(plan)} experiment{'s' * (len(plan) != 1)}", plan)
        return
    if one:
        results, failures = [session.run(requests[0])], []
    else:
        results, failures = session.run_all(requests)
    published = session.publish()
    tables = session.ablation(requests, baseline) if published and not one else ()
    if as_json and one:
        print_json(results[0].summary())
    elif as_json:
        print_json({"cells": [result.summary() for result in results], "failed": failures})
    elif one:
        session.show(results[0])
    else:
        session.show_tables(tables)
    if failures or not published or not all(result.complete for result in results):
        raise typer.Exit(1)


def settings_from(pairs: list[str] | None, **named: object) -> dict[str, str]:
    """`--set` pairs and the options that are short for one."""
    from ..prepare import UsageError

    found = {key: str(value) for key, value in named.items() if value is not None}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {pair}: expected KEY=VALUE")
        found[key.replace("-", "_")] = value
    return found
