"""Trained weights as files: safetensors, which are read as data and never run, with all that builds the model again.

One file holds one reading of one fold. Its tensors are the model's state dict, parameters and buffers; its metadata are
one JSON object, a `TrainedFold`. The same training gives the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import DataError
from ...version import __version__

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""Version of the metadata."""
_KEY = "milsurv"


@dataclass(frozen=True, kw_only=True)
class TrainedFold:
    """All that builds the model of a fold again and makes risks and survival curves of its scores.

    Attributes
    ----------
    experiment, fold, reading, epoch
        Which training it is, and which epoch of it.
    protocol
        Version of the protocol; with another one the same weights may give other numbers.
    model, hyperparameters, dim, n_out
        A name of the registry, and what it is built with: `dim` is the width of the features, `n_out` that of the head.
    magnifications, backbone, patch_px
        The features it reads; the side of their patches in pixels by magnification, where the files say it.
    loss, inner_edges, end, baseline
        The training loss; the edges between time bins and the end of follow-up, in months; what the loss needs of the
        training set to make survival curves.
    median_risk
        Median risk of the training set, or of the validation split where covariates are joined: patients above it are
        the high-risk group.
    cohort, cohort_version, endpoint, slides, synthetic
        What it was trained on and for; `slides` says what a bag is.
    precision
        Of the arithmetic in training.
    fusion
        A `training.fusion.Fusion` as plain numbers, which joins the risk of these weights with covariates; None where
        the model is the image alone.
    milsurv, format
        The version that wrote it, and that of these metadata.
    """

    experiment: str
    fold: int
    reading: str
    epoch: int
    protocol: int
    model: str
    hyperparameters: dict[str, Any]
    dim: int
    n_out: int
    magnifications: tuple[int, ...]
    backbone: str | None
    patch_px: dict[str, float]
    loss: str
    inner_edges: tuple[float, ...]
    end: float
    baseline: tuple[float, ...]
    median_risk: float
    cohort: str
    cohort_version: str
    endpoint: str
    slides: str
    synthetic: bool
    precision: str
    fusion: dict[str, Any] | None = None
    milsurv: str = field(default=__version__)
    format: int = field(default=FORMAT)


def weights_name(reading: str) -> str:
    """The name of a reading's file in the folder of its fold."""
    return f"weights-{reading}.safetensors"


def weights_file(state: "Mapping[str, Tensor]", about: TrainedFold) -> bytes:
    """The bytes of a weights file. Tensors that share memory are written each on its own."""
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    described = asdict(about)
    if about.fusion is None:  # files without it are the same as before there was any
        del described["fusion"]
    # One key: the library writes several of them in no certain order.
    return save(tensors, {_KEY: json.dumps(described, sort_keys=True)})


def read_weights(path: Path, fingerprint: str | None = None) -> "tuple[TrainedFold, dict[str, Tensor]]":
    """What a weights file holds: its description and its state dict.

    Parameters
    ----------
    fingerprint
        The SHA-256 that it must have; None to trust the file as it is.

    Raises
    ------
    DataError
        The file is missing, damaged or no weights file of ours, or another version wrote it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    if fingerprint is not None and hashlib.sha256(data).hexdigest() != fingerprint:
        raise DataError(f"{path} is damaged: its SHA-256 is not that of its result. Run the fold again")
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        described = json.loads(header["__metadata__"][_KEY])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no weights of milsurv ({error}); it is damaged or another program's") from error
    if described.get("format") != FORMAT:
        raise DataError(
            f"{path} was written by milsurv {described.get('milsurv')} in a form that version {__version__} does not "
            "read: use that version, or run the fold again"
        )
    try:
        return msgspec.convert(described, TrainedFold), tensors
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: its description cannot be read ({error})") from error
