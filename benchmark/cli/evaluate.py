"""`bench evaluate`: the fold models of a finished experiment on a cohort that they never saw."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as o
from .label_options import with_label_options
from .mistakes import explained
from .output import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..inference.evaluate import Evaluation

Experiment = Annotated[str, typer.Argument(help="Folder of a finished experiment (results/experiments/ID), or its id.")]
Foreign = Annotated[
    str | None,
    typer.Option("--model", help="The model's name, to allow other people's code to run (package.module:Class)."),
]
OfFold = Annotated[
    list[int] | None, typer.Option("--fold", help="Only the model of this fold; repeatable.", show_default="all")
]
Reading = Annotated[str, typer.Option("--reading", help="selected; last or best where they are kept.")]


@with_label_options
def evaluate(
    experiment: Experiment,
    cohort: o.CohortName,
    features_path: o.Features = None,
    labels_path: o.LabelsFile = None,
    data: o.Data = Path("data"),
    backbone: o.Backbone = None,
    magnification: o.Magnification = None,
    patch_px: o.PatchPx = None,
    coords: o.Coords = None,
    missing: o.Missing = "error",
    seen: Annotated[
        str, typer.Option("--seen", help="error, or drop patients on whom the experiment was trained.")
    ] = "error",
    strength: o.Strength = None,
    patients: o.Patients = None,
    cohort_seed: o.CohortSeed = 0,
    dial: o.Dial = None,
    fold: OfFold = None,
    reading: Reading = "selected",
    model: Foreign = None,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
    **label_words: Any,
) -> None:
    """Validate an experiment on an external cohort: its fold models, single and as an ensemble, as they were trained.

    Writes external/COHORT-… into the experiment's folder, and renders the leaderboard of the results it lies in.
    """
    with explained():
        from ...names import check_choice
        from .. import console
        from ..inference.ensemble import load_ensemble
        from ..inference.evaluate import evaluate as validate
        from ..inference.evaluate import request_for
        from ..planning.request import features_given
        from ..training.device import device_of

        check_choice("seen", seen, ("error", "drop"))
        ensemble = load_ensemble(experiment, fold or (), reading, model, device_of(device))
        out = ensemble.folder.parent.parent
        request = request_for(
            ensemble, cohort, features_path=features_given(features_path), labels_path=labels_path, data=data,
            backbone=backbone,
            magnification=magnification, patch_px=patch_px, coords=coords, missing=missing, strength=strength,
            patients=patients, cohort_seed=cohort_seed, dial=tuple(dial or ()), out=out, device=device, **label_words,
        )  # fmt: skip
        with (
            console.counting(f"simulating {cohort}") as simulating,
            console.counting("looking at slides") as checking,
        ):
            found = validate(ensemble, request, seen, simulating=simulating, checking=checking)
        console.findings(found.findings)
        _show_and_publish([found], out, as_json)


def _show_and_publish(found: "Sequence[Evaluation]", out: Path, as_json: bool) -> None:
    from .experiments import publish_results, show_evaluations

    published = publish_results(out) if (out / "experiments").is_dir() else None
    if as_json:
        print_json([one.result.to_json() | {"folder": str(one.folder)} for one in found])
    else:
        show_evaluations(found)
        from .. import console

        if published:
            console.say(f"Leaderboard: {published.paths['html']}")
