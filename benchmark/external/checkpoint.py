"""Checkpoints of the public reference: loaded safely, kept in our form, and able to score slides."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ...datasets.bags import Bags
from ...datasets.features.opening import open_features
from ...datasets.patient import Patient
from ...errors import DataError, UsageError
from ...models import registry
from ...models.layers import mixture
from ...models.reference import CASES, REFERENCE_NAMES, load_reference
from ...names import check_choice
from ..planning.resolve import model_settings
from ..results.folder import table, write
from ..training.batches import pack
from ..training.fit import Precision
from ..training.hazards import log_survival
from ..training.losses import LOSSES

MONTHS = (12.0, 36.0, 60.0)


@dataclass(frozen=True)
class Imported:
    """A reference model with its trained weights, in evaluation mode, and where we keep them."""

    model: str
    module: nn.Module
    path: Path
    loss: str = "nll"

    def summary(self) -> dict[str, object]:
        """Facts for a table or `--json`."""
        parameters = sum(p.numel() for p in self.module.parameters())
        return {"model": self.model, "parameters": parameters, "checkpoint": str(self.path)}


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint file, read as data.

    A training checkpoint that holds them under `model`, `state_dict` or `model_state_dict` is unwrapped.
    Errors: `DataError` naming the file when it is missing, damaged, not a state dict, or would have to run code.
    """
    if not file.is_file():
        raise UsageError(f"{file}: there is no such file")
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            f"{file} cannot be read as weights ({type(error).__name__}). Save the model's state_dict alone with "
            "torch.save; files that are damaged or need code to be run are refused"
        ) from error
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        raise DataError(f"{file} holds no state dict: expected names and tensors")
    return dict(loaded)


def import_reference(file: Path, model: str, settings: Mapping[str, str], out: Path) -> Imported:
    """Load a checkpoint of the reference and write `OUT/checkpoints/<model>-<file>.pt` in our form.

    settings: hyperparameters that shapes do not tell, such as `num_heads`.
    Errors: `UsageError` for a model that the reference has not; `DataError` when names or shapes do not fit.
    """
    check_choice("reference model", model, REFERENCE_NAMES)
    state = read_state_dict(file)
    spec = registry.get(CASES[model].model)
    for key in settings:
        check_choice("hyperparameter", key, spec.reference_defaults)
    _, hyper = model_settings(spec, "reference", settings)
    chosen = {key: hyper[key] for key in settings}
    try:
        module = load_reference(model, state, **chosen)
    except (ValueError, KeyError, RuntimeError) as error:
        raise DataError(f"{file} is not a checkpoint of the reference's {model}: {error}") from error
    path = out / "checkpoints" / f"{model}-{file.stem}.pt"
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    write(path, buffer.getvalue())
    return Imported(spec.name, module, path, "mixture" if CASES[model].fixed.get("head") == "mixture" else "nll")


@torch.no_grad()
def score_slides(imported: Imported, features: Path | Sequence[Path], backbone: str | None, out: Path) -> Path:
    """Score every slide of these features and write a csv of slide, risk and survival after each bin.

    The mixture of SCMIL has no bins: its survival is that after 12, 36 and 60 months.
    Errors: `DataError` when a slide lacks a scale that the model reads, or features do not fit the checkpoint.
    """
    reader = open_features(features, backbone)
    slides = sorted(reader.slides)
    spec = registry.get(imported.model)
    bags = Bags(reader, [Patient(s, 1.0, False, "", (s,), {}) for s in slides], spec.scales, places=spec.places)
    bags.check()
    precision, loss = Precision("float32", torch.device("cpu")), LOSSES[imported.loss]
    where = features if isinstance(features, Path) else " + ".join(map(str, features))
    rows = []
    for slide in slides:
        try:
            scores = precision.scores(imported.module, pack(bags, [slide]).to(precision.device))
        except RuntimeError as error:
            raise DataError(
                f"{where}: {imported.model} cannot score slide {slide}, with features {reader.dim} wide: {error}"
            ) from error
        if not scores.isfinite().all():
            raise DataError(f"{where}: the scores of slide {slide} are not finite; is the checkpoint damaged?")
        if imported.loss == "mixture":
            survival = {
                f"survival_{m:g}_months": float(mixture.survival(scores, torch.tensor([m])).item()) for m in MONTHS
            }
        else:
            survival = {f"survival_{j + 1}": float(s) for j, s in enumerate(log_survival(scores).exp()[0])}
        rows.append({"slide": slide, "risk": float(loss.risk(scores)[0]), **survival})
    path = out / "checkpoints" / f"{imported.path.stem}-slides.csv"
    write(path, table(rows))
    return path
