"""Trained models to share: a folder as huggingface_hub pushes and pulls it, with weights, config and model card.

README.md                                   the model card
config.json                                 the rows of all folds, without what belongs to the machine
fold-<k>/weights-selected.safetensors       the weights, with all that builds the model again
fold-<k>/model.torchscript                  where asked for: the model for programs without milsurv
reference-risks.json                        risks of the training cohort, out of fold, ascending: no patient is named

Nothing in it is a patient's, and nothing that `import_model` reads is code.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...datasets import backbones
from ...errors import CannotWrite, DataError, RowError, UnknownName, UsageError
from ...files import write_whole
from ...leaderboards.result_row import ResultRow, parse_row
from ...survival.metrics import METRICS
from ...version import __version__
from ..experiment import PROTOCOL
from ..results.manifest import MANIFEST, manifest
from ..results.weights import read_weights, weights_name
from . import torchscript
from .ensemble import REFERENCE_RISKS, FoldEnsemble, out_of_fold
from .evaluate import internal_estimate
from .predict import NOT_A_DEVICE
from .report import environment

CONFIG, RISKS, CARD = "config.json", REFERENCE_RISKS, "README.md"
FORMAT = 1
_OF_MACHINE = ("command", "hardware", "source", "created", "error")


@dataclass(frozen=True)
class SharedModel:
    """What config.json holds."""

    format: int
    milsurv: str
    experiment: str
    reading: str
    rows: list[dict[str, Any]]


def export(ensemble: FoldEnsemble, to: Path, licence: str = "other", script: bool = False) -> list[Path]:
    """Write a model to share, and return its files.

    licence: of the weights, as the hub writes it (`mit`, `cc-by-nc-4.0`). script: with TorchScript beside the weights.
    Errors: `CannotWrite` where the folder holds other files; `UsageError` as `torchscript`, and where risks join
    slides with covariates.
    """
    ensemble.check_image_alone()
    known = {CONFIG, RISKS, CARD, ".gitattributes"}
    if to.is_dir() and any(not (p.name in known or p.name.startswith("fold-")) for p in to.iterdir()):
        raise CannotWrite(f"{to} holds other files: choose an empty folder")
    name = weights_name(ensemble.about.reading)
    if ensemble.about.reading != "selected":
        raise UsageError("a model is shared at the reading selected: `best` was chosen on test folds")
    files: dict[str, str | bytes] = {}
    for row in ensemble.rows:
        files[f"fold-{row.fold}/{name}"] = (ensemble.folder / f"fold-{row.fold}" / name).read_bytes()
    if script:
        for row, model in zip(ensemble.rows, ensemble.models, strict=True):
            files[f"fold-{row.fold}/{torchscript.NAME}"] = torchscript.torchscript(model)
    rows = [replace(row, **dict.fromkeys(_OF_MACHINE)).to_json() for row in ensemble.rows]
    shared = SharedModel(FORMAT, __version__, ensemble.row.experiment, ensemble.about.reading, rows)
    files[CONFIG] = json.dumps({"model_type": "milsurv", **msgspec.to_builtins(shared)}, indent=2) + "\n"
    risks = {str(fold): risk.tolist() for fold, risk in out_of_fold(ensemble.folder).risks.items()}
    files[RISKS] = json.dumps(risks) + "\n"
    files[CARD] = card(ensemble, licence)
    return [write_whole(to / path, content) for path, content in files.items()]


def card(ensemble: FoldEnsemble, licence: str) -> str:
    """The model card: what it is, how well it does, on whom, and where it must not be used."""
    row, about = ensemble.row, ensemble.about
    try:
        encoder = backbones.get(row.backbone) if row.backbone else None
    except UnknownName:
        encoder = None
    metrics = []
    for name, metric in METRICS.items():
        values = [value for one in ensemble.rows if (value := one.score(f"{name}_selected")) is not None]
        if values and not name.endswith("_p"):
            spread = f"{np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            metrics.append((metric.title, f"{np.mean(values):.3f}", spread, len(values)))
    return (
        environment()
        .get_template("card.md.jinja")
        .render(row=row, about=about, licence=licence, encoder=encoder, metrics=metrics,
                internal=internal_estimate(ensemble), folds=len(ensemble.models), note=NOT_A_DEVICE)
    )  # fmt: skip


def import_model(source: Path, out: Path) -> Path:
    """Bring a shared model back as an experiment of `out`, and return its folder.

    Every weights file is read as data and compared with its SHA-256. An experiment that is there stays as it is.

    Raises
    ------
    DataError
        The folder holds no shared model, or a damaged one, or one of another protocol.
    CannotWrite
        The experiment is in `out` already.
    """
    try:
        content = msgspec.json.decode((source / CONFIG).read_bytes(), type=dict[str, Any])
        shared = msgspec.convert(content, SharedModel)
    except OSError as error:
        raise DataError(f"{source} holds no {CONFIG} ({error.strerror}): it is no model that was exported") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DataError(f"{source / CONFIG} cannot be read ({error})") from error
    if shared.format != FORMAT:
        raise DataError(f"{source} was exported by milsurv {shared.milsurv} in a form that {__version__} does not read")
    try:
        rows = [parse_row(row, f"{CONFIG}, row {number}", "Export it again") for number, row in enumerate(shared.rows)]
    except RowError as error:
        raise DataError(f"{source}: {error}") from error
    if not rows or any(row.experiment != shared.experiment or row.protocol != PROTOCOL for row in rows):
        raise DataError(f"{source}: its rows are not those of one experiment of protocol {PROTOCOL}")
    if not shared.experiment.isalnum():
        raise DataError(f"{source}: {shared.experiment!r} names no experiment")
    folder = out / "experiments" / shared.experiment
    if folder.exists():
        raise CannotWrite(f"{folder} is there already: the experiment needs no import, or choose another --out")
    files: dict[Path, str | bytes] = {}
    for row in rows:
        files |= _fold(source, folder, row, weights_name(shared.reading))
    if (source / RISKS).is_file():
        files[folder / RISKS] = json.dumps(_risks(source / RISKS))
    files[folder / "experiment.json"] = json.dumps({"id": shared.experiment, "imported": True}, indent=2) + "\n"
    for path, data in files.items():
        write_whole(path, data)
    return folder


def _fold(source: Path, folder: Path, row: ResultRow, name: str) -> Mapping[Path, str | bytes]:
    """The files of one fold, checked."""
    path = source / f"fold-{row.fold}" / name
    if row.weights_fingerprint is None:
        raise DataError(f"{source}: fold {row.fold} names no SHA-256 of its weights")
    about, _ = read_weights(path, row.weights_fingerprint)
    if (about.experiment, about.fold) != (row.experiment, row.fold):
        raise DataError(f"{path} holds the weights of fold {about.fold} of {about.experiment}")
    data, place = path.read_bytes(), folder / f"fold-{row.fold}"
    assert hashlib.sha256(data).hexdigest() == row.weights_fingerprint
    result = json.dumps(row.to_json(), indent=2, allow_nan=False) + "\n"
    return {
        place / name: data,
        place / MANIFEST: manifest({name: data}, result),
        place / "result.json": result,
    }


def _risks(path: Path) -> dict[str, list[float]]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, list[float]])
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} cannot be read ({error})") from error


def push(folder: Path, repository: str, endpoint: str | None = None) -> str:
    """Upload an exported model to a hub, and return its address.

    The token is the hub's own (`HF_TOKEN`, or `hf auth login`). Errors: `UsageError` where huggingface_hub is missing,
    or the hub refuses.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise UsageError("--push needs huggingface_hub: pip install 'milsurv[encoders]'") from error
    api = HfApi(endpoint=endpoint)
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="A milsurv model")
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UsageError(f"--push {repository}: {str(error).strip().splitlines()[0]}") from error
    return f"{api.endpoint}/{repository}"


def pull(repository: str, folder: Path, endpoint: str | None = None) -> Path:
    """Download an exported model from a hub into `folder`. Errors: as `push`."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise UsageError("models of a hub need huggingface_hub: pip install 'milsurv[encoders]'") from error
    wanted = [CONFIG, RISKS, CARD, "fold-*/*.safetensors"]
    try:
        return Path(snapshot_download(repository, local_dir=folder, allow_patterns=wanted, endpoint=endpoint))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UsageError(f"{repository}: {str(error).strip().splitlines()[0]}") from error
