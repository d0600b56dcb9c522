"""A fold's model as TorchScript: one file that C++, Java and Python read without milsurv.

Its `forward` takes the patches of one bag, float32 (n, d), a tensor a magnification, ascending, and returns risk (1,)
and the probability of being alive at the ends of the time bins, (1, bins). The file `about.json` inside it says which
magnifications, which ends, and the median risk that parts the risk groups.
"""

import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...models import registry
from ..training.fold_model import FoldModel
from ..training.losses import LOSSES

NAME, ABOUT = "model.torchscript", "about.json"
TRACED, CHECKED = 96, (41, 180, 333)
"""How many patches the bag has that a model is traced with, and those that it must then answer to as before."""
TOLERANCE = 1e-5


class _Lengths:
    """How many rows a single bag has, as the tensor of lengths tells a model, but followed by the trace."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def tolist(self) -> list[int]:
        return [self.rows]


class _OneBag(nn.Module):
    """A model of packed batches as one of a single bag, with the risk and the curve of its loss."""

    def __init__(self, model: FoldModel) -> None:
        super().__init__()
        self.module, self.scales, self.model = model.module, model.about.magnifications, model

    def forward(self, *bag: Tensor) -> tuple[Tensor, Tensor]:
        features = dict(zip(self.scales, bag, strict=True))
        scores = self.module(features, {m: _Lengths(x.shape[0]) for m, x in features.items()})
        loss, about = LOSSES[self.model.about.loss], self.model.about
        return loss.risk(scores), loss.survival(scores, self.model.bins, np.asarray(about.baseline)).to(scores.dtype)


def torchscript(model: FoldModel) -> bytes:
    """The file of a fold's model, traced, and compared with it on random bags of other lengths.

    Raises
    ------
    UsageError
        The model cannot be traced: what it computes depends on where patches lie, or on how many there are.
    """
    about = model.about
    cannot = f"{about.model} cannot be written as TorchScript"
    if registry.get(about.model).places:
        raise UsageError(f"{cannot}: it makes graphs or regions of the coordinates. Leave --torchscript out")
    one = _OneBag(model).cpu().eval()
    depends = f"{cannot}: what it computes depends on how many patches there are. Leave --torchscript out"
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that become constants: the comparison below tells
            traced: Any = torch.jit.trace(one, _bag(model, TRACED), check_trace=False)
            pairs = [(traced(*bag), one(*bag)) for bag in (_bag(model, n) for n in CHECKED)]
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise UsageError(depends) from error
    if max(float((a - b).abs().max()) for pair in pairs for a, b in zip(*pair, strict=True)) > TOLERANCE:
        raise UsageError(depends)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other languages read TorchScript, not what replaces it
        torch.jit.save(traced, file, _extra_files={ABOUT: json.dumps(_about(model)).encode()})
    return file.getvalue()


def _bag(model: FoldModel, patches: int) -> tuple[Tensor, ...]:
    """Random patches, a quarter as many at each coarser scale."""
    generator, scales = torch.Generator().manual_seed(patches), model.about.magnifications
    counts = {m: max(1, patches * m**2 // max(scales) ** 2) for m in scales}
    return tuple(torch.randn(counts[m], model.about.dim, generator=generator) for m in scales)


def _about(model: FoldModel) -> Mapping[str, object]:
    about = model.about
    return {
        "model": about.model, "experiment": about.experiment, "fold": about.fold, "endpoint": about.endpoint,
        "backbone": about.backbone, "magnifications": list(about.magnifications), "dim": about.dim,
        "patch_px": {str(m): px for m, px in about.patch_px.items()}, "months": list(map(float, model.bins.upper)),
        "median_risk": about.median_risk, "milsurv": about.milsurv,
        "note": "For research only: not a medical device.",
    }  # fmt: skip
