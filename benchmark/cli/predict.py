"""`bench predict`: what a finished experiment says of slides."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as o
from .evaluate import Experiment, Foreign, OfFold, Reading
from .mistakes import explained
from .output import json_text, print_json

if TYPE_CHECKING:
    from ..inference.predict import PatientPrediction, Source, Spread


def predict(
    experiment: Experiment,
    features: o.FeaturesFolders = None,
    slides: Annotated[
        list[Path] | None,
        typer.Option("--slides", help="Folder of slides, or one slide: features are extracted first; repeatable."),
    ] = None,
    slide: Annotated[list[str] | None, typer.Option("--slide", help="Only this slide; repeatable.")] = None,
    slide_table: o.SlideTable = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the table and the reports.")] = Path("predictions"),
    report: Annotated[bool, typer.Option("--report", help="Write a page for every patient, ready to print.")] = False,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Put an occlusion map of every slide on these pages; takes minutes.")
    ] = False,
    backbone: o.Backbone = None,
    magnification: o.Magnification = None,
    patch_px: o.PatchPx = None,
    coords: o.Coords = None,
    clinical: Annotated[
        Path | None,
        typer.Option("--clinical", help="Table with the covariates that the model joins slides with, by patient."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="What the columns of that table hold: patient=…,age=…,sex=….")
    ] = None,
    missing: Annotated[str, typer.Option("--missing", help="error, or drop slides that cannot be used.")] = "error",
    mpp: o.SlideMpp = None,
    weights: o.EncoderWeights = None,
    fold: OfFold = None,
    reading: Reading = "selected",
    model: Foreign = None,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Predict patients from their slides with the fold models of an experiment. Not a medical device.

    Writes predictions.csv and predictions.json: risk, percentile within the training cohort, survival at 1, 3 and 5
    years, each with its spread over the folds. Exit status 1 if a slide was left out.
    """
    with explained():
        from ...datasets.labels.columns import parse_columns
        from ...errors import UsageError
        from ...names import check_choice
        from .. import console
        from ..inference.ensemble import load_ensemble
        from ..inference.predict import NOT_A_DEVICE, open_source
        from ..inference.predict import predict as predicted
        from ..results.folder import table, write
        from ..training.device import device_of
        from .slides import features_of

        check_choice("missing", missing, ("error", "drop"))
        if heatmaps and not report:
            raise UsageError("--heatmaps puts maps on the pages of --report: add it")
        if (not features) == (not slides):
            raise UsageError("give --features, or --slides to extract them: one of the two")
        ensemble = load_ensemble(experiment, fold or (), reading, model, device_of(device))
        if clinical is None:
            ensemble.check_image_alone()
        if columns and clinical is None:
            raise UsageError("--columns names the columns of --clinical TABLE: add it")
        of_table = parse_columns(columns) if columns else None
        if slides:
            features = [features_of(ensemble.about, slides, out / "features", mpp, weights, device)]
        assert features
        with console.counting("looking at slides") as counter:
            source, findings, left_out = open_source(
                ensemble, features, backbone=backbone, magnification=magnification, patch_px=patch_px, coords=coords,
                slides=slide or (), slide_table=slide_table, missing=missing, clinical=clinical,
                columns=of_table, counter=counter,
            )  # fmt: skip
        found = predicted(ensemble, source, findings, left_out)
        write(out / "predictions.csv", table(found.lines()))
        write(out / "predictions.json", json_text(found.as_json()) + "\n")
        pages = []
        if report:
            from ..inference.report import write_reports

            pictures = None
            if heatmaps:
                from ..inference.heatmap.of_patients import patient_heatmaps
                from ..inference.heatmap.writing import slide_file
                from .extract import number_of_microns

                if ensemble.joined:
                    console.warn("maps show the image part alone; covariates are not in them")

                def alone(name: str) -> "Source":
                    return open_source(
                        ensemble, features, backbone=backbone, magnification=magnification, patch_px=patch_px,
                        coords=coords, slides=[name], places=True,
                    )[0]  # fmt: skip

                with console.counting("occluding patches") as counter:
                    pictures = patient_heatmaps(
                        found, alone, lambda name: slide_file(slides, name) if slides else None,
                        number_of_microns(mpp) if mpp else None, counter,
                    )  # fmt: skip
            pages = write_reports(found, out / "reports", pictures)
        console.findings(found.findings)
        if found.seen:
            console.warn(
                f"{len(found.seen)} patients are of the training cohort: only the models that had not seen them predict"
            )
        if as_json:
            print_json(found.as_json())
        else:
            console.listing(
                f"{ensemble.row.model} of {ensemble.row.cohort}", [_shown(one) for one in found.patients[:50]]
            )
            if len(found.patients) > 50:
                console.say(f"The first 50 of {len(found.patients)} patients; the files have all")
            console.say(f"Predictions: {out / 'predictions.csv'}")
            if pages:
                console.say(f"Reports:     {out / 'reports'}")
            console.say(NOT_A_DEVICE)
        if left_out:
            console.warn(f"{len(left_out)} slides were left out: {', '.join(list(left_out)[:10])}")
            raise typer.Exit(1)


def _shown(one: "PatientPrediction") -> dict[str, object]:
    """A line of the table on the screen."""
    from .. import console

    def cell(spread: "Spread", digits: int = 3) -> str:
        sd = "" if spread.sd is None else f" ± {spread.sd:.{digits}f}"
        return console.number(spread.value, digits) + sd

    return {
        "patient": one.patient,
        "slides": len(one.slides),
        "risk": cell(one.risk),
        "group": "high" if one.high_risk else "low",
        "percentile": cell(one.percentile, 0),
        **{f"alive at {months // 12} y": cell(found, 2) for months, found in one.survival.items()},
        "models": len(one.models),
    }
