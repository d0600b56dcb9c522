"""`bench extract`: whole slide images become features."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json


def extract(
    slides: Annotated[
        list[Path], typer.Option("--slides", help="Folder of slides, with the folders below, or one slide; repeatable.")
    ],
    cohort: Annotated[
        str | None,
        typer.Option("--cohort", help="A cohort: features go where `bench run` looks for them."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for features, instead of --cohort.")] = None,
    backbone: Annotated[
        str, typer.Option("--backbone", help="The patch encoder; the default is installed with milsurv.")
    ] = "efficientnet-lite0",
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Its weights, where not in the Hugging Face cache: file or folder.")
    ] = None,
    magnifications: Annotated[
        str, typer.Option("--magnifications", help="Some of 5, 10, 20 and 40, separated by commas.")
    ] = "20,10,5",
    patch_px: Annotated[int, typer.Option("--patch-px", help="Side of a tile at its magnification.", min=32)] = 256,
    min_tissue: Annotated[
        float, typer.Option("--min-tissue", help="Least share of tissue in a tile.", min=0.0, max=1.0)
    ] = 0.5,
    overlap: Annotated[int, typer.Option("--overlap", help="Of neighbouring tiles, in pixels of a tile.", min=0)] = 0,
    nest: Annotated[
        bool,
        typer.Option(
            "--nest/--no-nest", help="Coarse tiles are those that hold fine ones, or every scale is on its own."
        ),
    ] = True,
    mpp: Annotated[
        str | None,
        typer.Option("--mpp", help="Microns per pixel of slides that do not say it, or a csv with slide and mpp."),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Draw what would be read, one picture a slide, and read no tiles.")
    ] = False,
    data: o.Data = Path("data"),
    workers: Annotated[
        int, typer.Option("--workers", help="Processes that read slides; 0: what suits the machine.", min=0)
    ] = 0,
    device: o.Device = "auto",
    batch: Annotated[int, typer.Option("--batch", help="Tiles at a time; 0: by the device.", min=0, max=4096)] = 0,
    shard: Annotated[
        str, typer.Option("--shard", help="i/n: the i-th of n parts of the slides, for the jobs of a cluster.")
    ] = "1/1",
    as_json: o.AsJson = False,
) -> None:
    """Turn whole slide images into features at several magnifications, ready for `bench run`.

    Typed again, it goes on where it stopped. Exit status 1 if a slide could not be used; it is named with the reason.
    """
    with explained():
        from ...datasets.own_cohorts.cohort_file import folder_of
        from ...errors import UsageError
        from .. import console
        from ..extraction.extract import ExtractionOptions, backbone_folder, extract
        from .inspect_features import read_mpp
        from .predictions import cohort_named

        if cohort is None and out is None:
            raise UsageError("give --cohort, or --out for another folder: features must go somewhere")
        if cohort is not None and out is not None:
            raise UsageError(f"--cohort {cohort} and --out {out} both say where features go: give one of them")
        own = None
        if cohort is not None:
            own = cohort_named(cohort).file
            out = folder_of(own, backbone) if own is not None else backbone_folder(data, cohort.strip(), backbone)
        options = ExtractionOptions(
            slides=tuple(slides),
            out=Path(str(out)),
            backbone=backbone,
            weights=weights,
            magnifications=_numbers("--magnifications", magnifications),
            patch_px=patch_px,
            min_tissue=min_tissue,
            overlap=overlap,
            nest=nest,
            mpp=None if mpp is None else number_of_microns(mpp) or read_mpp(Path(mpp)),
            workers=workers,
            device=device,
            shard=_shard(shard),
            batch=batch,
            preview=preview,
        )
        with console.extracting("previews" if preview else backbone) as watcher:
            try:
                report = extract(options, watcher.started, watcher.slide)
            except KeyboardInterrupt:
                console.warn("interrupted; finished slides are kept. The same command goes on from there")
                raise
        if as_json:
            print_json(
                {"out": str(options.out), "report": str(report.path), "failed": report.failed, "slides": report.rows}
            )
        else:
            found_by = f"--cohort … --labels … --features {options.out}"
            if cohort is not None and own is None:
                found_by = f"--cohort {cohort} --data {data} --backbone {backbone}"
            elif own is not None:
                found_by = f"--cohort {cohort}"
            console.extracted(report.rows, options.out, report.path, found_by)
        if report.failed:
            raise typer.Exit(1)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    from ...errors import UsageError

    try:
        return tuple(int(word.strip().lower().removesuffix("x")) for word in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text}: expected whole numbers, separated by commas") from None


def number_of_microns(text: str) -> float | None:
    """A number of microns that a pixel can have; None for anything else, which is a file's name."""
    from ...errors import UsageError

    try:
        value = float(text)
    except ValueError:
        return None
    if not 0.01 < value < 100:
        raise UsageError(f"--mpp {text}: no size of a pixel in um")
    return value


def _shard(text: str) -> tuple[int, int]:
    from ...errors import UsageError

    part, slash, of = text.partition("/")
    if not (slash and part.isascii() and part.isdigit() and of.isascii() and of.isdigit()):
        raise UsageError(f"--shard {text}: expected i/n, such as 1/4")
    return int(part), int(of)
