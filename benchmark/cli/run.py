"""`bench run`: one experiment."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from . import options as o
from .mistakes import explained
from .output import print_json

if TYPE_CHECKING:
    from ..prepare import Request


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
    seed: o.Seed = 0,
    device: o.Device = "auto",
    missing: o.Missing = "error",
    unusable_times: o.UnusableTimes = "error",
    strength: o.Strength = None,
    patients: o.Patients = None,
    tracking: o.Tracking = None,
    as_json: o.AsJson = False,
    dry_run: o.DryRun = False,
) -> None:
    """Run one cross-validated experiment, log it to MLflow and render the leaderboard.

    Finished folds are kept: an interrupted command, typed again, goes on where it stopped.
    """
    with explained():
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
            folds=folds,
            repeats=repeats,
            split_by=split_by,
            slides=slides,
            seed=seed,
            device=device,
            missing=missing,
            unusable_times=unusable_times,
            strength=strength,
            patients=patients,
        )
        session = Session(out, tracking)
        if dry_run:
            dry_run_([request], session, as_json)
            return
        result = session.run(request)
        published = session.publish()
        if as_json:
            print_json(result.summary())
        else:
            session.show(result)
        if not (result.complete and published):
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


def dry_run_(requests: "list[Request]", session, as_json: bool) -> None:
    """Say what would run, and write nothing."""
    from .. import console

    plan = [session.plan(request) for request in requests]
    if as_json:
        print_json({"would_run": plan})
    else:
        console.listing(f"Would run {len(plan)} experiment{'s' * (len(plan) != 1)}", plan)
