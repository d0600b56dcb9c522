"""`bench import-checkpoint`: models that the public reference trained."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json
from .request_options import parse_settings


def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A checkpoint of the public reference (.pt or .pth).")],
    model: o.Model,
    out: o.Out = Path("results"),
    settings: o.Settings = None,
    features_path: Annotated[
        list[Path] | None,
        typer.Option("--features", help="Features; every slide in them is scored with the checkpoint. Repeatable."),
    ] = None,
    backbone: o.Backbone = None,
    as_json: o.AsJson = False,
) -> None:
    """Load a checkpoint that the public reference trained, keep it in our form, and score slides with it."""
    with explained():
        from .. import console
        from ..external import checkpoint

        imported = checkpoint.import_reference(file, model, parse_settings(settings), out)
        scored = checkpoint.score_slides(imported, features_path, backbone, out) if features_path else None
        summary = imported.summary() | ({"predictions": str(scored)} if scored else {})
        if as_json:
            print_json(summary)
            return
        console.listing("Imported", [summary])
