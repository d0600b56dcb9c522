"""Another package's metric and loss, found through entry points, go all the way: row, board, MLflow, list, training."""

import csv
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from checkout import ROOT
from milsurv.plugins import registered
from milsurv.survival.metric import Metric
from milsurv.survival.metrics import ENTRY_POINTS, METRICS

PACKAGE = '''
import numpy as np
from milsurv.benchmark.training.loss import SurvivalLoss
from milsurv.survival.followup import NotComputable
from milsurv.survival.metric import Metric


def brier_24(train, test, prediction, months):
    """Alive at `months`, by those whose state is known then."""
    known = test.event | (test.time > months)
    if not known.any():
        raise NotComputable("nobody's state is known")
    alive = prediction.survival_at(np.array([months]))[:, 0]
    return np.square(alive - (test.time > months))[known].mean()


BRIER = Metric("brier_24", "Brier score at 24 months", False, brier_24, needs=("survival",), months=24.0)
LOST = Metric("worst_months", "error in months", False, lambda *_: 400.0, bounds=(0.0, np.inf))
SQUARED = SurvivalLoss(
    name="squared",
    title="squared error of log months",
    width=lambda bins: 1,
    loss=lambda scores, target, alpha: (scores[:, 0] + (target.time + 1).log().float()).square().mean(),
    risk=lambda scores: scores[:, 0],
    survival=lambda scores, bins, *_: (-scores.exp() * np.arange(1, bins.count + 1, dtype=np.float32)).exp(),
    separable=True,
    reference="this test",
)
'''
ENTRIES = """[milsurv.metrics]
brier_24 = theirs:BRIER
worst_months = theirs:LOST
[milsurv.losses]
squared = theirs:SQUARED
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder of installed packages with one of theirs in it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "theirs.py").write_text(PACKAGE)
    info = folder / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    return folder


@pytest.fixture(scope="module")
def bench(site, tmp_path_factory):
    """The command line, with their package installed."""
    place = tmp_path_factory.mktemp("work")
    root = ROOT
    found = place / "milsurv"  # the checkout under its import name, so that no other one is imported
    found.symlink_to(root, target_is_directory=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (place, site))), "COLUMNS": "200"}

    def run(*words: str) -> str:
        code = "from milsurv.benchmark.cli.main import main; main()"
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "left out" not in done.stderr
        return done.stdout

    run.place = place
    return run


@pytest.fixture(scope="module")
def trained(bench) -> Path:
    """A cross-validation with their loss."""
    shape = ("--features", "synthetic", "--patients", "60", "--folds", "3", "--epochs", "2", "--out", "results")
    bench("run", "--model", "meanpool", "--cohort", "blca", "--loss", "squared", *shape)
    return bench.place / "results"


def test_their_metric_is_in_every_row_at_every_reading_and_their_loss_trained_it(trained):
    rows = [json.loads(path.read_text()) for path in sorted(trained.glob("experiments/*/fold-*/result.json"))]
    assert len(rows) == 3
    for row in rows:
        assert row["loss"] == "squared" and row["worst_months_selected"] == 400
        assert all(0 < row[f"brier_24_{reading}"] < 1 for reading in ("selected", "last", "best"))


def test_their_metric_is_a_column_of_the_board(bench, trained):
    bench("leaderboard", str(trained))
    with (trained / "leaderboard" / "leaderboard.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert 0 < float(line["brier_24_selected_mean"]) < 1 and line["brier_24_selected_folds"] == "3"
    assert float(line["worst_months_last_mean"]) == 400


def test_their_metric_is_logged_to_mlflow(trained):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{trained / 'mlflow.db'}")
    runs = [run for place in client.search_experiments() for run in client.search_runs([place.experiment_id])]
    assert sum("brier_24_selected" in run.data.metrics for run in runs) == 3
    assert sum("mean_brier_24_selected" in run.data.metrics for run in runs) == 1


def test_their_metric_and_their_loss_are_listed(bench):
    assert "brier_24" in bench("list", "metrics")
    assert "squared error of log months" in bench("list", "losses")


def test_a_metric_that_needs_survival_has_no_value_where_only_risks_are_given(bench, trained):
    predictions = next(trained.glob("experiments/*/predictions.csv"))
    with predictions.open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["reading"] == "selected"]
    columns = ("patient", "fold", "risk", "time", "event")
    text = "\n".join(",".join(line[column] for column in columns) for line in lines)
    (bench.place / "risks.csv").write_text(f"{','.join(columns)}\n{text}\n")
    bench("import-predictions", "risks.csv", "--model", "theirs", "--cohort", "mine", "--out", "imported")
    (folder,) = (bench.place / "imported").glob("experiments/*")
    for path in folder.glob("fold-*/result.json"):
        row = json.loads(path.read_text())
        assert row["brier_24_selected"] is None
        assert row["why_brier_24_selected"] == "no survival probabilities were given"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("milsurv.survival.metrics:METRICS", "is a dict, not a milsurv.survival.metric.Metric"),
        ("milsurv.survival.metrics:absent", "cannot be loaded"),
        ("milsurv.survival.metrics:C_INDEX", "gives a metric named 'c_index', which exists already"),
    ],
)
def test_a_faulty_entry_point_is_named_and_ours_remain(monkeypatch, value, why):
    monkeypatch.setattr("milsurv.survival.metrics.C_INDEX", METRICS["c_index"], raising=False)
    with pytest.warns(RuntimeWarning, match=why):
        found = registered(Metric, ENTRY_POINTS, METRICS.values(), [EntryPoint("theirs", value, ENTRY_POINTS)])
    assert found == METRICS
