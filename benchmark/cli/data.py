"""`bench data`: check, fetch, divide and render the data of a cohort."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options as o
from .label_options import with_label_options
from .mistakes import explained
from .output import print_json
from .render import render

data_app = typer.Typer(name="data", help="Check, fetch, divide and render the data of a cohort.", no_args_is_help=True)
data_app.command("render")(render)

Manifest = Annotated[
    Path | None, typer.Option("--manifest", help="A GDC manifest, or any table with filename or slide_id.")
]


@data_app.command("check")
@with_label_options
def check(
    cohort: o.CohortName,
    labels_path: o.LabelsFile = None,
    splits_path: o.SplitsFolder = None,
    features_paths: o.FeaturesFolders = None,
    backbone: o.Backbone = None,
    magnification: o.Magnification = None,
    patch_px: o.PatchPx = None,
    coords: o.Coords = None,
    manifest_path: Manifest = None,
    data: o.Data = Path("data"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Read only the headers of feature files, not their numbers.")
    ] = False,
    as_json: o.AsJson = False,
    **label_words: Any,
) -> None:
    """Find everything that is wrong or odd about labels, folds and features. Exit status 1 for errors."""
    with explained():
        from ...datasets.own_cohorts.typed_options import TypedOptions
        from .. import console
        from .data_commands import check_data, fold_rows

        user_facts = {"magnification": magnification, "patch_px": patch_px, "coords": coords}
        with console.counting("Reading features") as count:
            report = check_data(
                cohort, labels_path, splits_path, features_paths or (), backbone, manifest_path, data,
                TypedOptions(**label_words), user_facts, None if quick else count,
            )  # fmt: skip
        if as_json:
            print_json(report.as_json())
        else:
            counts = f"{report.patients} patients, {report.slides} slides, {report.events} deaths"
            several = f"{report.multi_slide_patients} patients with several slides"
            if report.folds:
                console.listing(f"{report.cohort}: {counts}, {several}", fold_rows(report))
            else:
                console.say(f"{report.cohort}: {counts}, {several}; no folds")
            console.findings(report.findings)
        if report.errors:
            raise typer.Exit(1)


@data_app.command("init")
@with_label_options
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of the cohort; cohort.toml is written there.")],
    labels_path: Annotated[Path, typer.Option("--labels", help="Label table, in any form.")],
    splits_path: o.SplitsFolder = None,
    features_paths: o.FeaturesFolders = None,
    name: Annotated[str, typer.Option("--name", help="On boards.", show_default="that of the folder")] = "",
    title: Annotated[str, typer.Option("--title", help="The cohort in words.")] = "",
    centre: Annotated[str | None, typer.Option("--centre", help="The column of hospitals.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a cohort.toml that is there.")] = False,
    as_json: o.AsJson = False,
    **label_words: Any,
) -> None:
    """Write the cohort.toml of a cohort of your own by looking at its label table; what is unclear is asked.

    Every command then takes the folder: `bench run --cohort FOLDER`.
    """
    with explained():
        from ...datasets.own_cohorts.typed_options import TypedOptions
        from .. import console
        from .data_commands import init_cohort

        done = init_cohort(
            folder, labels_path, TypedOptions(**label_words), console.ask, title=title, name=name, folds=splits_path,
            features=features_paths or (), centre=centre, overwrite=overwrite,
        )  # fmt: skip
        if as_json:
            print_json({"path": str(done.path), "patients": done.patients, "events": done.events, **done.content})
            return
        console.findings(done.findings)
        console.say(done.path.read_text("utf-8").strip())
        counts = f"{done.patients} patients, {done.events} deaths"
        console.say(f"{done.path}: {counts}. Next: bench data check --cohort {folder}")


@data_app.command("folds")
@with_label_options
def folds_(
    cohort: o.CohortName,
    out: Annotated[Path, typer.Option("--out", help="Folder for the folds.")],
    kind: Annotated[str, typer.Option("--kind", help="stratified or site-preserving.")] = "stratified",
    folds: o.Folds = 5,
    repeats: o.Repeats = 1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the division.", min=0)] = 0,
    labels_path: o.LabelsFile = None,
    data: o.Data = Path("data"),
    as_json: o.AsJson = False,
    **label_words: Any,
) -> None:
    """Divide a cohort into folds and save them with the fingerprint of the labels."""
    with explained():
        from ...datasets.own_cohorts.typed_options import TypedOptions
        from .. import console
        from .data_commands import make_folds

        words = TypedOptions(**label_words)
        made, path = make_folds(cohort, out, kind, folds, repeats, seed, labels_path, data, words)
        if as_json:
            found = [{"code": f.code, "severity": f.severity, "message": f.message} for f in made.findings]
            print_json({"name": made.name, "folds": len(made.splits), "fingerprint": made.fingerprint,
                        "path": str(path), "findings": found})  # fmt: skip
            return
        console.findings(made.findings)
        console.say(f"{made.name}: {len(made.splits)} folds in {path}")


@data_app.command("fetch")
def fetch(
    cohort: o.CohortName,
    out: Annotated[Path, typer.Option("--out", help="Data folder; a folder named like the cohort is made in it.")],
    api: Annotated[
        str, typer.Option("--api", envvar="MILSURV_GDC_API", help="Address of the GDC API or of a mirror.")
    ] = "https://api.gdc.cancer.gov",
    refresh: Annotated[bool, typer.Option("--refresh", help="Fetch again what is there.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """Fetch the open clinical data and the slide manifest of a cohort from the GDC. No slides are fetched."""
    with explained():
        from .. import console
        from .data_commands import fetch_data

        with console.counting("Fetching") as count:
            got = fetch_data(cohort, out, api, refresh, count)
        if as_json:
            found = [
                {"code": f.code, "severity": f.severity, "count": f.count, "message": f.message} for f in got.findings
            ]
            counts = {"patients": got.patients, "slides": got.slides, "events": got.events}
            where = {"cohort": cohort, "path": str(got.folder), "release": got.release, "already": got.already}
            print_json(where | counts | {"findings": found})
            return
        console.findings(got.findings)
        there = "was there already" if got.already else "fetched"
        console.say(f"{got.folder}: {got.patients} patients, {got.slides} slides, {got.events} deaths, "
                    f"{got.release}; {there}")  # fmt: skip
