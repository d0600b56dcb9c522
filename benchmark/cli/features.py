"""`bench features`: say what a folder of features holds, convert it into our store, and fetch public sets."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options as o
from .label_options import with_label_options
from .mistakes import explained
from .output import print_json

features_app = typer.Typer(name="features", help="Inspect, convert and fetch features.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of features, in any layout that milsurv knows.")]


@features_app.command("inspect")
@with_label_options
def inspect(
    folder: Folder,
    backbone: o.Backbone = None,
    cohort: Annotated[str | None, typer.Option("--cohort", help="Say how much of this cohort is there.")] = None,
    labels_path: o.LabelsFile = None,
    magnification: o.Magnification = None,
    patch_px: o.PatchPx = None,
    coords: o.Coords = None,
    mpp: Annotated[
        Path | None, typer.Option("--mpp", help="csv with columns slide and mpp, where files do not say it.")
    ] = None,
    numbers: Annotated[
        bool, typer.Option("--numbers", help="Read all numbers (NaN, damage), not headers and coordinates alone.")
    ] = False,
    as_json: o.AsJson = False,
    **label_words: Any,
) -> None:
    """Say what a folder of features holds, and whether its scales nest. Exit status 1 for errors."""
    with explained():
        from ...errors import UsageError
        from .. import console
        from . import inspect_features as features

        labels = None
        if cohort is not None or labels_path is not None:
            from ...datasets.labels.read import read_labels
            from ...datasets.own_cohorts.find import find_cohort
            from ...datasets.own_cohorts.label_options import label_options
            from ...datasets.own_cohorts.typed_options import TypedOptions

            found = find_cohort(cohort) if cohort is not None else None
            path = labels_path or (found and found.file and found.file.path(found.file.labels))
            if found is None or path is None:
                raise UsageError("--cohort and --labels belong together: the labels say whose slides to look for")
            labels = read_labels(path, found.cohort, label_options(TypedOptions(**label_words), found.file))
        user_facts = {"magnification": magnification, "patch_px": patch_px, "coords": coords}
        given = None if mpp is None else features.read_mpp(mpp)
        reports = []
        for reader in features.readers(folder, backbone, **user_facts):
            with console.counting(f"Inspecting {reader.backbone}") as count:
                reports.append(features.inspect(reader, labels, given, count, numbers))
        if as_json:
            print_json({"folder": str(folder), "sets": reports})
        else:
            for report in reports:
                features.show(report)
        if any(features.errors(report) for report in reports):
            raise typer.Exit(1)


@features_app.command("convert")
def convert(
    folder: Folder,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder for our own files, one a slide.")],
    backbone: o.Backbone = None,
    magnification: o.Magnification = None,
    patch_px: o.PatchPx = None,
    coords: o.Coords = None,
    as_json: o.AsJson = False,
) -> None:
    """Write features into our store: float16, checksums, one file a slide. Run it again to go on after a stop.

    Exit status 1 if any slide could not be converted; it is then named with the reason.
    """
    with explained():
        from ...datasets.features.convert import convert as convert_slides
        from ...datasets.features.opening import open_features
        from .. import console
        from . import inspect_features as features

        reader = open_features(folder, backbone, magnification=magnification, patch_px=patch_px, coords=coords)
        with console.counting(f"Converting {reader.backbone}") as count:
            done = convert_slides(reader, store, count)
        saved = done.bytes_before - done.bytes_after
        if as_json:
            from dataclasses import asdict

            print_json({"store": str(store), "backbone": reader.backbone, "saved": saved, **asdict(done)})
        else:
            console.listing(
                f"Converted {reader.backbone} into {store}",
                [
                    {
                        "written": len(done.written),
                        "finished before": len(done.skipped),
                        "bad": len(done.bad),
                        "before": features.size_of(done.bytes_before),
                        "now": features.size_of(done.bytes_after),
                        "saved": f"{features.size_of(saved)} ({saved / max(done.bytes_before, 1):.0%})",
                    }
                ],
            )
            console.findings(done.findings)
            for slide, why in done.bad.items():
                console.fail(f"{slide}: {why}")
        if done.bad:
            raise typer.Exit(1)


@features_app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="SET", help="A public set; `bench list feature-sets` names them.")],
    cohort: o.CohortName,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for it; one named like the set is made in it.",
                     show_default="data/COHORT/features"),
    ] = None,
    backbone: o.Backbone = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:  # fmt: skip
    """Fetch the features of a cohort out of a public set on the hub. What is there already is not fetched again.

    Gated sets need terms that you accept on their page, and a login: `hf auth login`, or the token in HF_TOKEN.
    """
    with explained():
        from ...datasets.features import hub
        from ...datasets.own_cohorts.find import find_cohort
        from .. import console

        known = hub.known_set(name)
        chosen = find_cohort(cohort).cohort
        place = out or Path("data") / chosen.name / "features"
        planned = hub.plan(known, chosen, place, backbone)
        facts = {
            "set": known.name, "repository": known.repository, "licence": known.licence, "commit": planned.commit,
            "cohort": chosen.name, "files": len(planned.files), "bytes": planned.size, "bytes_missing": planned.missing,
            "folder": str(planned.folder),
        }  # fmt: skip
        if not as_json:
            console.say(f"{known.repository} ({known.licence}): {len(planned.files)} files of {chosen.name}, "
                        f"{hub.size_of(planned.size)}, {hub.size_of(planned.missing)} of it to fetch into "
                        f"{planned.folder}")  # fmt: skip
            if planned.archives:
                console.say(f"{planned.archives} of them are archives: they need about their size again when they are "
                            "first read (MILSURV_CACHE says where)")  # fmt: skip
        if not dry_run:
            with console.counting("Fetching files") as count:
                hub.fetch(planned, count)
        if as_json:
            print_json(facts | {"fetched": not dry_run})
        elif not dry_run and known.pickled:
            console.warn("this set is a pickle, which can run code and is not read. Where you trust it, write its "
                         "arrays once as .npz: numpy.savez(path, filenames=…, embeddings=…)")  # fmt: skip
        elif not dry_run:
            console.say(f"Next: bench features inspect {planned.folder} --cohort {chosen.name} --labels FILE")
