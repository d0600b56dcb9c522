"""The trained model of a fold in MLflow: its weights, code that loads them, and what goes in and comes out."""

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ....files import scratch
from ....models import registry
from ....version import __version__
from ..weights import TrainedFold, read_weights, weights_name

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient


def register(
    client: "MlflowClient", name: str, experiment: str, run: str, folder: Path, tags: Mapping[str, str]
) -> bool:
    """Log the model of the fold in `folder` to its `run`, and register it as the next version of the model `name`.

    Parameters
    ----------
    experiment
        Id of the MLflow experiment.
    tags
        Of the version.

    Returns
    -------
    bool
        Whether there are weights to register.
    """
    weights = folder / weights_name("selected")
    if not weights.is_file():
        return False
    about, _ = read_weights(weights)
    with scratch() as place:
        logged = client.create_logged_model(experiment, f"{about.model}-fold-{about.fold}", run, dict(tags))
        client.log_model_artifacts(logged.model_id, str(_saved(folder, about, place)))
        client.finalize_logged_model(logged.model_id, "READY")
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    client.create_model_version(name, logged.artifact_location, run, dict(tags), model_id=logged.model_id)
    return True


def signature_of(about: TrainedFold) -> "ModelSignature":
    """What the model of a fold reads, by magnification, and what it gives."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    patches: list[ColSpec | TensorSpec] = [
        TensorSpec(np.dtype(np.float32), (-1, about.dim), str(m)) for m in about.magnifications
    ]
    if registry.get(about.model).places:
        patches += [TensorSpec(np.dtype(np.int64), (-1, 2), f"cells_{m}") for m in about.magnifications]
    bins, number = len(about.inner_edges) + 1, np.dtype(np.float64)
    given = {"risk": (1,), "survival": (1, bins), "months": (bins,)}
    return ModelSignature(Schema(patches), Schema([TensorSpec(number, shape, name) for name, shape in given.items()]))


def _saved(folder: Path, about: TrainedFold, place: Path) -> Path:
    """The folder of an MLflow model, written into `place`."""
    from mlflow import pyfunc

    kept = place / "experiment" / folder.name
    kept.mkdir(parents=True)
    for file in folder.iterdir():
        if file.suffix == ".json" or file.name == weights_name("selected"):
            shutil.copy(file, kept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for type hints and an example; the signature says what they would
        pyfunc.save_model(
            str(place / "model"),
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"experiment": str(kept.parent)},
            signature=signature_of(about),
            pip_requirements=[f"milsurv=={__version__}"],
        )
    return place / "model"
