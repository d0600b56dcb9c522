"""`bench heatmap`: where the models of an experiment look, and which patches move their risk."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .evaluate import Foreign, OfFold, Reading
from .mistakes import explained
from .output import print_json


def heatmap(
    experiments: Annotated[
        list[str], typer.Argument(metavar="EXPERIMENT…", help="Finished experiments, by folder or id; several compare.")
    ],
    slide: Annotated[str, typer.Option("--slide", help="The slide, as its file of features is called.")],
    features: o.FeaturesFolders = None,
    slides: Annotated[
        list[Path] | None,
        typer.Option("--slides", help="Folder of slides, or the slide itself: maps are drawn on it. Repeatable."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="Some of attention, occlusion, gradient, integrated.")
    ] = "attention,occlusion,gradient,integrated",
    regions: Annotated[
        int, typer.Option("--regions", help="Regions of a scale to occlude one by one, at most.", min=1)
    ] = 64,
    out: Annotated[Path, typer.Option("--out", help="Folder; one named like the slide is made in it.")] = Path(
        "heatmaps"
    ),
    viewer_px: Annotated[
        int, typer.Option("--viewer-px", help="Longer side of the slide in the viewer, at the deepest zoom.", min=256)
    ] = 4096,
    backbone: o.Backbone = None,
    magnification: o.Magnification = None,
    patch_px: o.PatchPx = None,
    coords: o.Coords = None,
    mpp: o.SlideMpp = None,
    weights: o.EncoderWeights = None,
    fold: OfFold = None,
    reading: Reading = "selected",
    model: Foreign = None,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Draw heatmaps of a slide: attention where the model has it, and attributions that all models have.

    PNG and SVG of every map and scale, sheets of the highest and lowest patches, GeoJSON for QuPath, a table, and
    viewer.html. Without --slides the maps stand on paper; without --features they are extracted from --slides first.
    """
    with explained():
        from ...errors import UsageError
        from ...names import check_choice
        from .. import console
        from ..inference.ensemble import load_ensemble
        from ..inference.heatmap.maps import METHODS, named, slide_maps
        from ..inference.heatmap.writing import slide_file, write_heatmaps
        from ..inference.predict import open_source
        from ..training.device import device_of
        from .extract import number_of_microns
        from .slides import features_of

        methods = tuple(dict.fromkeys(word.strip() for word in method.split(",") if word.strip()))
        for word in methods:
            check_choice("method", word, METHODS)
        if not features and not slides:
            raise UsageError("give --features, or --slides to extract them")
        path = slide_file(slides, slide) if slides else None
        maps = []
        for experiment in experiments:
            ensemble = load_ensemble(experiment, fold or (), reading, model, device_of(device))
            if ensemble.joined:
                console.warn(f"{ensemble.row.label}: maps show its image part alone; covariates are not in them")
            folder = features or features_of(
                ensemble.about, [path] if path else [], out / "features", mpp, weights, device
            )
            source, _, _ = open_source(
                ensemble, folder, backbone=backbone, magnification=magnification, patch_px=patch_px, coords=coords,
                slides=[slide], places=True,
            )  # fmt: skip
            with console.counting(f"{ensemble.row.model}: occluding") as counter:
                found = slide_maps(ensemble, source, methods, regions, progress=counter)
            twice = any(one.model == ensemble.row.model for one in maps)
            maps += named(found, f"{ensemble.row.model} {ensemble.row.experiment}") if twice else found
        written = write_heatmaps(slide, maps, path, out, viewer_px, number_of_microns(mpp) if mpp else None)
        if as_json:
            shown = [
                {"model": one.model, "method": one.method, "map": one.key, "patches": len(one.values)} for one in maps
            ]
            print_json({"slide": slide, "maps": shown, "files": [str(one) for one in written]})
            return
        for one in maps:
            console.say(f"{one.model}: {one.key}, {len(one.values):,} patches")
        console.say(f"Viewer: {written[-1]}")
