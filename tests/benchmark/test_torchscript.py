"""TorchScript of a fold's model: equal to the model itself at any number of patches, or refused with the reason."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from milsurv import load_model
from milsurv.benchmark.inference.torchscript import ABOUT, torchscript
from milsurv.benchmark.training.fold_model import FoldModel
from milsurv.errors import UsageError
from milsurv.models import registry

CAN = {
    "meanpool", "maxpool", "abmil", "dsmil", "clam-sb", "clam-mb", "mhim", "wikg", "ilra", "acmil", "panther",
    "slide-cox", "slide-mlp", "abmil-concat", "abmil-late",
}  # fmt: skip
"""Every other model makes graphs or regions, or pads, folds or cuts the rows by their number."""


def fold_model(name: str, loss: str = "nll") -> FoldModel:
    """An untrained model as if a fold had trained it."""
    torch.manual_seed(0)
    spec = registry.get(name)
    module = spec.build(16, 4, **spec.defaults).eval()
    about = SimpleNamespace(
        model=name, experiment="0123456789", fold=0, endpoint="os", backbone="uni2-h", magnifications=spec.scales,
        dim=16, patch_px={}, median_risk=-3.0, milsurv="0", loss=loss, baseline=(),
        inner_edges=(6.0, 12.0, 24.0), end=60.0,
    )  # fmt: skip
    return FoldModel(about, module, torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", registry.NAMES)
def test_a_model_is_equal_at_other_numbers_of_patches_or_says_that_it_cannot_be_written(name, tmp_path):
    model = fold_model(name)
    if name not in CAN:
        with pytest.raises(UsageError, match=r"cannot be written as TorchScript: (it makes graphs|what it computes)"):
            torchscript(model)
        return
    file = tmp_path / "model"
    file.write_bytes(torchscript(model))
    extra = {ABOUT: ""}
    written = torch.jit.load(file, _extra_files=extra)
    assert json.loads(extra[ABOUT])["magnifications"] == list(model.about.magnifications)
    for n in (23, 500):
        bag = {
            m: np.random.default_rng(n).standard_normal((n, 16)).astype(np.float16) for m in model.about.magnifications
        }
        ours = model.predict(bag)
        with torch.no_grad():
            risk, survival = written(*(torch.from_numpy(x).float() for x in bag.values()))
        assert risk.numpy() == pytest.approx(ours.risk, abs=1e-5)
        assert survival.numpy() == pytest.approx(np.asarray(ours.survival), abs=1e-5)


def test_an_export_holds_the_script_of_every_fold(bench, cohort_folder, made_once, tmp_path):
    def train(folder):
        from milsurv import run

        run("abmil", "blca", features=cohort_folder / "features", labels=cohort_folder / "labels.csv", out=folder,
            folds=2, settings={"epochs": 2}, progress=False)  # fmt: skip

    trained = next((made_once("abmil-two-folds", train) / "experiments").iterdir())
    status, _, err = bench("export", trained, "--to", tmp_path / "model", "--torchscript")
    assert status == 0, err
    model = load_model(trained, 1)
    bag = np.random.default_rng(0).standard_normal((40, model.about.dim)).astype(np.float16)
    written = torch.jit.load(tmp_path / "model" / "fold-1" / "model.torchscript")
    with torch.no_grad():
        risk, _ = written(torch.from_numpy(bag).float())
    assert risk.item() == pytest.approx(model.risk({20: bag}), abs=1e-5)
    status, _, err = bench("import-model", tmp_path / "model", "--out", tmp_path / "elsewhere")
    assert status == 0, err
