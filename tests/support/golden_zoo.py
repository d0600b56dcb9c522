"""The golden numbers of the public codes: their recipe, and how ours are compared with them."""

import json
from functools import cache
from zlib import crc32

import numpy as np
import pytest
import torch
from checkout import SHARED
from milsurv.models.contract import Places
from milsurv.models.reference import load_reference

SPEC = SHARED / "spec"
needs_spec = pytest.mark.skipif(
    not SPEC.is_dir(), reason="the numbers of the public codes lie in shared/spec, not here"
)


@cache
def zoo() -> dict:
    return json.loads((SPEC / "golden-zoo.json").read_text())


@cache
def shapes() -> dict:
    return json.loads((SPEC / "zoo-state-dicts.json").read_text())


def drawn(salt: str, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A public state-dict entry, as the recipe says."""
    a = np.random.default_rng(crc32(f"{salt}:{name}".encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        a = 1 + np.float32(0.1) * np.abs(a)
    elif len(shape) > 1:
        a = a / np.float32(np.sqrt(np.prod(shape[1:])))
    elif name.endswith("weight"):
        a = 1 + np.float32(0.1) * a
    else:
        a = np.float32(0.1) * a
    return torch.from_numpy(a)


def state_of(entry: str, salt: str | None = None) -> dict[str, torch.Tensor]:
    """The public state dict called `entry` in zoo-state-dicts.json."""
    return {name: drawn(salt or zoo()["salt"], name, tuple(shape)) for name, shape in shapes()[entry].items()}


def model_of(case: str, entry: str | None = None, **hyperparameters: object) -> torch.nn.Module:
    """Our model of a case, with its public weights and hyperparameters."""
    given = {**zoo()["cases"][case]["hyperparameters"], **hyperparameters}
    return load_reference(case, state_of(entry or zoo()["cases"][case]["state_dicts"][0]), **given)


def bag_of(case: str, b: int) -> tuple[dict, dict, Places]:
    """Features (which ask for gradients), lengths and places of bag `b`."""
    bag, seed, dim = zoo()["cases"][case]["bags"][b], zoo()["seed"], zoo()["dim"]
    features, lengths, cells = {}, {}, {}
    for name, n in bag["n"].items():
        m = 1 if name == "root" else int(name)
        x = np.random.default_rng([seed, b, m]).standard_normal((n, dim)).astype(np.float32)
        features[m], lengths[m] = torch.from_numpy(x).requires_grad_(), torch.tensor([n])
        where = bag.get("coords", {}).get(name)
        if where is None:  # the regions of HIPT, whole and side by side; else never looked at
            where = [[i % 256 % 16 + i // 256 * 16, i % 256 // 16] for i in range(n)]
        cells[m] = torch.tensor(where, dtype=torch.int32)
    slide = {m: torch.zeros(len(x), dtype=torch.int32) for m, x in features.items()}
    return features, lengths, Places(cells, slide)


def near(value: object, tolerance: float = 1e-4):
    """Within 1e-4 relative, with a floor of 1e-5."""
    return pytest.approx(value, rel=tolerance, abs=1e-5)


def norms_of(logits: torch.Tensor, features: dict[int, torch.Tensor]) -> list[float]:
    """Norms of the gradients of the risk with respect to every scale, ascending; of all together with a root (1x)."""
    risk = -torch.cumprod(1 - torch.sigmoid(logits), 0).sum()
    scales = [features[m] for m in sorted(features)]
    grads = torch.autograd.grad(risk, scales, retain_graph=True)
    return [torch.cat(grads).norm().item()] if 1 in features else [g.norm().item() for g in grads]


def check_bags(case: str, model: torch.nn.Module, places: bool = False) -> None:
    """Logits and gradients of every bag of a case."""
    for b, bag in enumerate(zoo()["cases"][case]["bags"]):
        features, lengths, where = bag_of(case, b)
        logits = model(features, lengths, where)[0] if places else model(features, lengths)[0]
        assert logits.tolist() == near(bag["logits"])
        assert norms_of(logits, features) == near(bag["input_grad_norms"], 1e-3)


def parameters_of(model: torch.nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
