"""Opening an encoder by name."""

from importlib.util import find_spec
from pathlib import Path

from ...errors import DataError
from .. import backbones
from .encoder import Encoder, Intake

EMBEDDED = "efficientnet-lite0"

# Why these cannot be run here, though their features are read.
REFUSED = {
    "ctranspath": "its Swin transformer is a changed one that only its authors' fork of timm holds",
    "conch": "its attentional pooling is in its authors' own package alone",
    "conch-v1.5": "its attentional pooling is in its authors' own package alone",
    "quiltnet": "its preprocessing could not be verified",
}


def intake_of(name: str) -> Intake:
    """What an encoder takes in, known without its weights. DataError for one that cannot be run here."""
    backbone = backbones.get(name)
    if backbone.name == EMBEDDED:
        return Intake()
    if backbone.name in REFUSED:
        raise DataError(
            f"{backbone.title} cannot be run by milsurv: {REFUSED[backbone.name]}. Extract with its authors' tool, or "
            f"with TRIDENT: `bench run --features` reads what they write."
        )
    if missing := [package for package in ("timm", "transformers", "huggingface_hub") if find_spec(package) is None]:
        raise DataError(f"{backbone.title} needs {', '.join(missing)}: pip install 'milsurv[encoders]'.")
    from .pathology import RECIPES

    return RECIPES[backbone.name].intake


def open_encoder(name: str, weights: Path | None = None) -> Encoder:
    """The encoder of that name or alias, on the CPU, with `weights` (file or folder) or those of your cache.

    UnknownName for other names; DataError where it cannot be run, or its weights are missing, damaged or of another
    network.
    """
    backbone, intake = backbones.get(name), intake_of(name)
    if backbone.name == EMBEDDED:
        from . import efficientnet_lite

        module, fingerprint = efficientnet_lite.load(weights)
        return Encoder(backbone, module, intake, fingerprint)
    from . import pathology

    module, fingerprint = pathology.load(backbone, weights)
    return Encoder(backbone, module, intake, fingerprint, pathology.RECIPES[backbone.name].precision)
