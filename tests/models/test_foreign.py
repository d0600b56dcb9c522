"""Models of other people's code: torchmil's, a module that the user names, a package that adds to the registries."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from milsurv.errors import UnknownName, UsageError
from milsurv.models import registry
from milsurv.models.contract import Places
from milsurv.models.foreign import adjacency
from milsurv.models.registry import adopt

ROOT = Path(__file__).resolve().parents[2]
MINE = """
from torch import nn


class Mean(nn.Module):
    def __init__(self, dim, n_out, hidden=8, dropout=0.5):
        super().__init__()
        self.head = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_out))

    def forward(self, bag):  # (1, n, dim)
        return self.head(bag.mean(1))


class Odd(nn.Module):
    def __init__(self, dim, n_out, edges):
        super().__init__()


number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    """A folder with a user's own module in it, in which the command is typed."""
    (tmp_path / "my_models.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "MODELS", registry.MODELS)
    before = dict(registry.MODELS)
    yield tmp_path
    sys.modules.pop("my_models", None)
    for name in set(registry.MODELS) - set(before):
        del registry.MODELS[name]


def batch(dim: int = 6):
    places = Places(
        {20: torch.randint(0, 6, (17, 2), dtype=torch.int32)}, {20: torch.tensor([0] * 10 + [1] * 7, dtype=torch.int32)}
    )
    return {20: torch.randn(17, dim)}, {20: torch.tensor([10, 7])}, places


def test_a_class_named_by_the_user_is_a_model_with_its_plain_parameters_as_hyperparameters(mine):
    adopt(["my_models:Mean", "abmil"])
    spec = registry.get("my_models:Mean")
    assert {k: v for k, v in spec.defaults.items() if k != "source"} == {"scale": 20, "hidden": 8, "dropout": 0.5}
    features, lengths, _ = batch()
    model = spec.build(6, 4, **{**spec.defaults, "hidden": 3}).eval()
    scores = model(features, lengths)
    assert scores.shape == (2, 4)
    torch.testing.assert_close(scores[1], model.module.head(features[20][10:].mean(0)))


def test_changed_code_is_another_experiment(mine):
    adopt(["my_models:Mean"])
    before = registry.MODELS.pop("my_models:Mean").defaults["source"]
    (mine / "my_models.py").write_text(MINE + "# changed\n")
    sys.modules.pop("my_models")
    adopt(["my_models:Mean"])
    assert registry.get("my_models:Mean").defaults["source"] != before


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module:Mean", "cannot be imported .*no_such_module"),
        ("my_models:Meen", "no 'Meen'; its modules are Mean, Odd"),
        ("my_models:number", "is a int, neither"),
        ("torchmil:SETMIL", "needs coords beside the patches"),
    ],
)
def test_what_is_no_model_is_refused_with_the_reason(mine, name, why):
    pytest.importorskip("torchmil")
    with pytest.raises(UsageError, match=why):
        adopt([name])


def test_a_class_that_asks_for_more_than_the_two_widths_is_refused_with_the_reason(mine):
    adopt(["my_models:Odd"])
    spec = registry.get("my_models:Odd")
    with pytest.raises(UsageError, match=r"cannot be built .*'edges'"):
        spec.build(6, 4, **spec.defaults)


def test_a_name_that_was_read_from_a_file_is_never_imported(mine):
    with pytest.raises(UnknownName, match="only where the command itself names it"):
        registry.get("my_models:Mean")
    assert "my_models" not in sys.modules


@pytest.mark.parametrize("name", ["ABMIL", "CLAM_SB", "DSMIL", "DTFDMIL", "TransMIL", "TransformerABMIL", "IIBMIL"])
@pytest.mark.parametrize("n_out", [1, 4])
def test_torchmils_models_train_with_any_loss(mine, name, n_out):
    pytest.importorskip("torchmil", reason="pip install 'milsurv[torchmil]'")
    adopt([f"torchmil:{name}"])
    spec = registry.get(f"torchmil:{name}")
    features, lengths, _ = batch(24)
    model = spec.build(24, n_out, **spec.defaults)
    scores = model(features, lengths)
    assert scores.shape == (2, n_out)
    scores.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("name", ["SmABMIL", "PatchGCN", "DeepGraphSurv", "GTP"])
def test_torchmils_graph_models_get_the_graph_of_the_places(mine, name):
    pytest.importorskip("torchmil", reason="pip install 'milsurv[torchmil]'")
    adopt([f"torchmil:{name}"])
    spec = registry.get(f"torchmil:{name}")
    assert spec.places
    assert spec.build(24, 4, **spec.defaults)(*batch(24)).shape == (2, 4)


def test_the_graph_of_a_full_grid_is_that_of_the_eight_neighbours():
    cells = torch.tensor([(x, y) for y in range(5) for x in range(5)], dtype=torch.int32)
    graph = adjacency(cells, torch.zeros(25, dtype=torch.int32)).to_dense()[0]
    assert torch.equal(graph, graph.T)
    assert (graph[12] > 0).sum() == 8 and graph.diagonal().sum() == 0


@pytest.mark.slow
def test_the_template_of_a_package_installs_and_its_model_loss_and_metric_run(tmp_path):
    site, place = tmp_path / "site", tmp_path / "work"
    place.mkdir()
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    copy = tmp_path / "plugin"
    shutil.copytree(ROOT / "docs" / "plugin", copy)  # a build writes beside its source
    subprocess.run([*install, "--target", str(site), str(copy)], check=True)
    (place / "milsurv").symlink_to(ROOT, target_is_directory=True)
    (place / "my_models.py").write_text(MINE)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (place, site))), "COLUMNS": "200"}

    def bench(*words: str) -> str:
        command = [sys.executable, "-c", "from milsurv.benchmark.cli.main import main; main()", *words]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "left out" not in done.stderr, done.stderr
        return done.stdout

    assert "median" in bench("list", "models")
    shape = ("--cohort", "blca", "--features", "synthetic", "--patients", "60", "--folds", "2", "--epochs", "1")
    shape += ("--tracking", "none")
    bench("run", "--model", "median", "--loss", "log-time", *shape)
    bench("run", "--model", "my_models:Mean", *shape)
    rows = [json.loads(path.read_text()) for path in sorted(place.glob("results/experiments/*/fold-*/result.json"))]
    assert {row["model"] for row in rows} == {"median", "my_models:Mean"}
    assert all(0 < row["brier_24_selected"] < 1 for row in rows)
    with (place / "results" / "leaderboard" / "leaderboard.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2
