"""Our models give the numbers that the public reference printed, with its weights."""

import json
from zlib import crc32

import numpy as np
import pytest
import torch
from checkout import SHARED
from milsurv.models.contract import Places
from milsurv.models.reference import load_reference
from milsurv.models.registry import MODELS, NAMES

SPEC = SHARED / "spec"
needs_spec = pytest.mark.skipif(not SPEC.is_dir(), reason="the numbers of the reference lie in shared/spec, not here")
CASES = (
    "crossfusion",
    "crossfusion-concat",
    "crossfusion-single",
    "crossfusion-identity-2layers",
    "abmil",
    "transmil",
    "dsmil",
)


def drawn(salt: str, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    a = np.random.default_rng(crc32(f"{salt}:{name}".encode())).standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        a = a / np.float32(np.sqrt(np.prod(shape[1:])))
    elif name.endswith("weight"):
        a = 1 + np.float32(0.1) * a
    else:
        a = np.float32(0.1) * a
    return torch.from_numpy(a)


def shapes(case: str, dim: int) -> dict[str, list[int]]:
    listed = json.loads((SPEC / "reference-state-dicts.json").read_text())
    if case != "crossfusion-identity-2layers":
        return listed[case]
    found = {name: shape for name, shape in listed["crossfusion"].items() if "lin_proj" not in name}
    second = {name.replace(".layers.0.", ".layers.1."): shape for name, shape in found.items()}
    return {**found, **second}


def bags(case: dict) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
    features, lengths = {}, {}
    for i, scale in enumerate((5, 10, 20)):
        n = case["bag_sizes"][f"x{scale}"]
        x = np.random.default_rng(case["seed"] + i).standard_normal((1, n, case["backbone_dim"])).astype(np.float32)
        features[scale] = torch.from_numpy(x[0]).requires_grad_()
        lengths[scale] = torch.tensor([n])
    return features, lengths


@needs_spec
@pytest.mark.parametrize("name", CASES)
def test_the_reference_weights_give_the_reference_numbers(name: str) -> None:
    case = json.loads((SPEC / "golden-vectors.json").read_text())["cases"][name]
    weights = {k: drawn(case["salt"], k, tuple(s)) for k, s in shapes(name, case["backbone_dim"]).items()}
    model = load_reference(name.removesuffix("-identity-2layers"), weights)
    assert sum(p.numel() for p in model.parameters()) == case["n_parameters"]
    features, lengths = bags(case)
    logits = model(features, lengths)[0]
    hazards = torch.sigmoid(logits)
    survival = torch.cumprod(1 - hazards, 0)
    assert logits.tolist() == pytest.approx(case["logits"], rel=1e-4, abs=1e-5)
    assert hazards.tolist() == pytest.approx(case["hazards"], rel=1e-4)
    assert survival.tolist() == pytest.approx(case["survival"], rel=1e-4)
    # The file does not say of what the gradients are: of the risk, -sum(survival), alone of the plausible scalars.
    risk = -survival.sum()
    grads = torch.autograd.grad(risk, list(features.values()), allow_unused=True)
    norms = {f"x{m}": 0.0 if g is None else g.norm().item() for m, g in zip(features, grads, strict=True)}
    assert norms == pytest.approx(case["input_grad_norms"], rel=1e-4)


# Our own numbers, printed once the reference's were met, so that a change shows where shared/spec is absent.
OURS = {
    "meanpool": [0.314909, -0.375966],
    "maxpool": [1.301224, -1.980221],
    "abmil": [0.266869, -0.403181],
    "dsmil": [1.062525, 0.910839],
    "transmil": [-0.063809, -1.37549],
    "clam-sb": [0.298746, -0.3571],
    "clam-mb": [0.298746, -0.34367],
    "dtfd": [0.271758, -0.359818],
    "rrtmil": [-0.144298, -0.226253],
    "wikg": [-2.099839, 0.121636],
    "ilra": [1.304994, 0.13832],
    "acmil": [0.255411, -0.414763],
    "mhim": [0.394677, -0.049722],
    "mhim-transmil": [2.899123, -1.667153],
    "s4mil": [-0.415225, -0.471111],
    "mambamil": [0.294944, -0.007939],
    "panther": [-43.672203, 174.925629],
    "slide-cox": [4.661591, 8.670959],
    "slide-mlp": [4.661591, 8.670959],
    "crossfusion-single": [1.701261, -1.711596],
    "abmil-concat": [-0.309613, 0.160825],
    "abmil-late": [-0.056697, -0.001981],
    "crossfusion": [1.758736, -1.515561],
    "crossfusion-concat": [1.067295, -0.564446],
    "deepgraphsurv": [-6.191442, -2.404283],
    "patchgcn": [0.119802, 0.118468],
    "mustmil": [0.520637, -0.442263],
    "csmil": [-0.969826, 0.494909],
    "abmil-joined": [0.232338, -0.106825],
    "hipt": [0.179213, 0.533365],
    "zoommil": [0.555533, -0.333051],
    "dsca": [0.694926, 0.614654],
    "h2mil": [-0.027437, 1.617867],
    "scmil": [0.050622, -0.00079],
    "protosurv": [-1.296654, 0.365951],
}


def ours(name: str) -> list[float]:
    """Scores of model `name` at width 16 for one fixed bag, with weights drawn by the same formula."""
    spec = MODELS[name]
    small = {
        "hidden": 16,
        "attention": 8,
        "embed_dim": 16,
        "num_heads": 2,
        "global_heads": 2,
        "fusion_heads": 2,
        "landmarks": 8,
    }
    model = spec.build(12, 2, **{key: small.get(key, value) for key, value in spec.defaults.items()}).eval()
    state = {key: drawn("golden-ours", key, tuple(value.shape)) for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    case = {"bag_sizes": {"x5": 3, "x10": 11, "x20": 30}, "backbone_dim": 12, "seed": 7}
    features, lengths = bags(case)
    cells = {
        m: torch.from_numpy(np.random.default_rng(m).integers(0, 6, (len(x), 2))).int() for m, x in features.items()
    }
    places = Places(cells, {m: (torch.arange(len(x)) >= len(x) // 2).int() for m, x in features.items()})
    with torch.no_grad():
        return model(features, lengths, *((places,) if spec.places else ()))[0].tolist()


@pytest.mark.parametrize("name", OURS)
def test_our_numbers_stay(name: str) -> None:
    assert ours(name) == pytest.approx(OURS[name], rel=1e-4, abs=1e-5)


def test_every_model_has_its_numbers() -> None:
    assert set(OURS) == set(NAMES)
