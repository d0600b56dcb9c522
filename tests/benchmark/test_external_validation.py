"""External validation: fold models on a cohort they never saw, as predictions by hand from the weights say."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from milsurv import load_model
from milsurv.benchmark.inference.ensemble import load_ensemble, mean_prediction
from milsurv.benchmark.inference.evaluate import evaluate, request_for
from milsurv.benchmark.inference.transfer import without_one
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request
from milsurv.datasets.features.store import write_slide
from milsurv.datasets.simulated.cohort import simulate_cohort
from milsurv.errors import DataError, RowError, UsageError
from milsurv.leaderboards.external_result import read_external
from milsurv.survival.concordance import c_index
from milsurv.survival.followup import Prediction

SMALL = ("--folds", "2", "--epochs", "2", "--tracking", "none")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Intervals of few resamples: these tests do not read how wide they are."""
    monkeypatch.setattr("milsurv.benchmark.inference.evaluate.RESAMPLES", (200, 4))


@pytest.fixture(scope="module")
def other(made_once) -> Path:
    """Another draw of the cohort of `cohort_folder`."""

    def draw(folder: Path) -> None:
        simulate_cohort("blca", "tiny", folder / "blca", patients=40, cells=1.5, dim=32, seed=5)

    return made_once("another-draw", draw) / "blca"


@pytest.fixture(scope="module")
def trained(made_once, cohort_folder) -> Path:
    """The folder of ABMIL, two folds."""

    def train(folder: Path) -> None:
        from milsurv import run

        run("abmil", "blca", features=cohort_folder / "features", labels=cohort_folder / "labels.csv", out=folder,
            folds=2, settings={"epochs": 2}, progress=False)  # fmt: skip

    return next((made_once("abmil-two-folds", train) / "experiments").iterdir())


@pytest.fixture
def experiment(trained, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(trained, tmp_path / "experiments" / trained.name)


def test_the_files_hold_what_the_weights_say_of_the_other_cohort(experiment, other, bench):
    words = ("--cohort", "blca", "--features", other / "features", "--labels", other / "labels.csv")
    status, out, _ = bench("evaluate", experiment, *words, "--json")
    assert status == 0
    (printed,) = json.loads(out)
    found = read_external(Path(printed["folder"]) / "result.json")
    lines = list(csv.DictReader((Path(printed["folder"]) / "predictions.csv").open()))
    _, data = load(Request("abmil", "blca", features_path=str(other / "features"), labels_path=other / "labels.csv"))
    patients = data.labels.patients
    time, event = np.array([p.time for p in patients]), np.array([p.event for p in patients])
    by_hand = []
    for fold in (0, 1):
        model = load_model(experiment, fold)
        by_hand.append([model.predict(data.bags[p.id]) for p in patients])
        mine = {line["patient"]: line for line in lines if line["scored_by"] == f"fold-{fold}"}
        for patient, one in zip(patients, by_hand[-1], strict=True):
            assert float(mine[patient.id]["risk"]) == pytest.approx(one.risk[0], abs=1e-5)
            assert mine[patient.id]["risk_group"] == ("high" if one.risk[0] > model.about.median_risk else "low")
    single = [c_index(time, event, [one.risk[0] for one in of_fold]) for of_fold in by_hand]
    together = np.mean([[one.risk[0] for one in of_fold] for of_fold in by_hand], axis=0)
    assert found.external.value == pytest.approx(np.mean(single), abs=1e-6)
    assert found.ensemble.value == pytest.approx(c_index(time, event, together), abs=1e-6)
    assert found.external.low <= found.external.value <= found.external.high
    assert found.drop is not None and found.internal is not None
    assert found.drop.value == pytest.approx(found.internal.value - found.external.value)
    assert (found.patients, found.seen, found.kind) == (len(patients), 0, "external")
    assert set(found.intervals) >= {"c_index", "uno_c"}
    board = (experiment.parents[1] / "leaderboard" / "leaderboard.md").read_text()
    assert "external validation" in board and "Drop" in board
    page = (experiment.parents[1] / "leaderboard" / "leaderboard.html").read_text()
    assert "External validation" in page
    assert (experiment.parents[1] / "leaderboard" / "external.csv").is_file()


def test_internal_is_the_mean_over_test_folds_of_the_experiment(experiment, other):
    rows = [json.loads((experiment / f"fold-{fold}" / "result.json").read_text()) for fold in (0, 1)]
    found = evaluate(load_ensemble(experiment), asked(experiment, other), resamples=(50, 2)).result
    assert found.internal is not None
    assert found.internal.value == pytest.approx(np.mean([row["c_index_selected"] for row in rows]), abs=1e-9)


def asked(experiment: Path, folder: Path, **changes) -> Request:
    places = {"features_path": str(folder / "features"), "labels_path": folder / "labels.csv"}
    return request_for(load_ensemble(experiment), "blca", **{**places, **changes})


def test_the_cohort_of_training_is_refused(experiment, cohort_folder):
    with pytest.raises(DataError, match="cross-validated"):
        evaluate(load_ensemble(experiment), asked(experiment, cohort_folder))


def test_patients_that_were_seen_are_refused_or_dropped(experiment, other, tmp_path):
    folder = hospital(other, tmp_path)
    lines = (experiment / "predictions.csv").read_text()
    for fold in (0, 1):
        text = (experiment / f"fold-{fold}" / "result.json").read_text()
        (experiment / f"fold-{fold}" / "result.json").write_text(
            text.replace('"synthetic": true', '"synthetic": false')
        )
    known = lines.splitlines()[1].split(",")[0]
    (experiment / "predictions.csv").write_text(lines.replace(known, "H-0003"))
    ensemble, request = load_ensemble(experiment), asked(experiment, folder)
    with pytest.raises(DataError, match=r"1 of 40 patients .*H-0003.*--seen drop"):
        evaluate(ensemble, request)
    found = evaluate(ensemble, request, "drop", (50, 2)).result
    assert (found.seen, found.patients) == (1, 39)


def hospital(simulated: Path, folder: Path, side: float = 256, dim: int = 32, backbone: str = "tiny") -> Path:
    """The simulated cohort as one's own: names without barcodes, features that do not say that they are simulated."""
    from milsurv.datasets.features.opening import open_features

    reader = open_features(simulated / "features")
    rows = list(csv.DictReader((simulated / "labels.csv").open()))
    patients = {name: f"H-{i:04d}" for i, name in enumerate(dict.fromkeys(row["case_id"][:12] for row in rows))}
    lines = ["case_id,slide_id,survival_months,censorship"]
    for i, row in enumerate(rows):
        old, new = row["slide_id"].removesuffix(".svs"), f"H-slide-{i:03d}"
        content = {m: reader.read(old, m) for m in reader.magnifications}
        features = {m: np.resize(x, (len(x), dim)) for m, (x, _) in content.items()}
        coords = {m: c for m, (_, c) in content.items()}
        write_slide(folder / "features" / backbone, new, features, coords, backbone=backbone, patch_px=side, mpp=0.5)
        lines.append(f"{patients[row['case_id'][:12]]},{new},{row['survival_months']},{row['censorship']}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 16}, "width: 16 numbers a patch here, 32 in training"),
        ({"backbone": "grand"}, "backbone: grand here, tiny in training"),
        ({"side": 128}, "patch size at 20x: 128 pixels here"),
    ],
)
def test_features_that_differ_are_refused_with_what_differs(experiment, other, tmp_path, changes, words):
    folder = hospital(other, tmp_path, **changes)
    with pytest.raises(DataError, match=words):
        evaluate(load_ensemble(experiment), asked(experiment, folder))


def test_a_run_tests_its_models_on_the_next_draw_of_a_planted_cohort(bench, tmp_path):
    words = ("--model", "meanpool", "--cohort", "planted-fine", "--patients", "40", *SMALL, "--out", tmp_path)
    status, out, _ = bench("run", *words, "--test-cohort", "planted-fine", "--json")
    assert status == 0
    (found,) = json.loads(out)["external"]
    assert found["trained_on"] == found["cohort"] == "planted-fine" and found["patients"] == 40
    assert found["external"]["low"] < found["external"]["high"]


def test_at_another_hospital_the_rows_and_the_drop_are_those_of_the_weights_by_hand(bench, tmp_path):
    shape = {"patients": 40, "cohort_seed": 1, "dial": ("stain=4",)}
    words = ("--cohort", "planted-fine", "--patients", "40")
    status, out, err = bench("run", "--model", "meanpool", *words, *SMALL, "--out", tmp_path, "--json")
    assert status == 0, err
    folder = tmp_path / "experiments" / json.loads(out)["experiment"]
    found = {}
    for dial in ((), shape["dial"]):
        given = [word for value in dial for word in ("--dial", value)]
        status, out, err = bench("evaluate", folder, *words, "--cohort-seed", "1", *given, "--json")
        assert status == 0, err
        (found[dial],) = json.loads(out)
    elsewhere = found[shape["dial"]]
    patients = load(Request("meanpool", "planted-fine", out=tmp_path, **shape))[1]
    time, event = (np.array([getattr(p, name) for p in patients.labels.patients]) for name in ("time", "event"))
    by_hand = []
    for fold in (0, 1):
        model = load_model(folder, fold)
        by_hand.append(c_index(time, event, [model.risk(patients.bags[p.id]) for p in patients.labels.patients]))
    assert elsewhere["external"]["value"] == pytest.approx(np.mean(by_hand), abs=1e-6)
    assert elsewhere["external"]["low"] <= elsewhere["external"]["value"] <= elsewhere["external"]["high"]
    assert elsewhere["drop"]["value"] == pytest.approx(elsewhere["internal"]["value"] - np.mean(by_hand), abs=1e-6)
    assert elsewhere["external"] != found[()]["external"]  # the same patients under another stain
    board = (tmp_path / "leaderboard" / "external.csv").read_text()
    assert board.count("planted-fine") >= 2


def test_a_test_cohort_without_data_ends_the_run_before_it_trains(bench, tmp_path):
    words = ("--model", "meanpool", "--cohort", "planted-fine", "--patients", "40", *SMALL, "--out", tmp_path)
    status, _, err = bench("run", *words, "--test-cohort", "cptac-luad", "--data", tmp_path / "nothing")
    assert status == 2 and "cptac-luad" in err
    assert not (tmp_path / "experiments").exists()
    status, _, err = bench("run", *words, "--test-cohort", "planted-fine", "--no-weights")
    assert status == 2 and "weights" in err


def test_the_mean_of_two_models_is_read_at_the_edges_of_both():
    first = Prediction(np.array([1.0]), np.array([[0.8, 0.4]]), np.array([10.0, 20.0]), np.array([True]))
    second = Prediction(np.array([3.0]), np.array([[0.6]]), np.array([15.0]), np.array([False]))
    found = mean_prediction([first, second], [0.0, 5.0])
    assert found.risk == [2.0] and found.high is not None and not found.high[0]
    assert found.edges is not None and found.edges.tolist() == [10, 15, 20]
    assert found.survival == pytest.approx(np.array([[(0.8 + 0.6 / 1.5 + 1 / 3) / 2, 0.6, 0.5]]), abs=1e-9)


def test_what_cannot_be_evaluated_says_why(experiment, other, tmp_path):
    with pytest.raises(RowError, match="no such experiment"):
        load_ensemble(tmp_path / "nothing")
    with pytest.raises(UsageError, match="folds 0 to 1"):
        load_ensemble(experiment, [7])
    with pytest.raises(UsageError, match="trained to predict os"):
        asked(experiment, other, endpoint="dss")
    (experiment / "fold-1" / "weights-selected.safetensors").unlink()
    with pytest.raises(DataError, match="--retrain"):
        load_ensemble(experiment)


def test_transfer_fills_a_matrix_and_leaves_one_cohort_out(bench, tmp_path):
    words = ("--cohorts", "planted-fine,planted-coarse,planted-site", "--model", "meanpool", "--patients", "30", *SMALL)
    status, out, _ = bench("transfer", *words, "--out", tmp_path, "--json")
    assert status == 0
    cells = {(cell["trained_on"], cell["tested_on"]): cell for cell in json.loads(out)}
    names = ("planted-fine", "planted-coarse", "planted-site")
    assert cells.keys() == {(one, other) for one in (*names, "all others") for other in names}
    assert all(cell["c_index"]["low"] <= cell["c_index"]["value"] <= cell["c_index"]["high"] for cell in cells.values())
    assert all((cell["drop"] is None) == (one == other) for (one, other), cell in cells.items())
    assert {path.suffix for path in (tmp_path / "transfer").glob("meanpool.*")} == {".md", ".csv", ".svg"}
    rows = list(csv.DictReader((tmp_path / "transfer" / "all-but-planted-site" / "labels.csv").open()))
    assert len({row["case_id"] for row in rows}) == 60
    status, _, err = bench("transfer", *("--cohorts", "planted-fine,planted-fine"), "--model", "meanpool")
    assert status == 2 and "each once" in err


def test_cohorts_that_share_a_patient_cannot_be_joined(other, tmp_path):
    places = {"features_path": str(other / "features"), "labels_path": other / "labels.csv", "out": tmp_path}
    with pytest.raises(DataError, match="40 patients are in two of the cohorts"):
        without_one([Request("abmil", name, **places) for name in ("blca", "brca", "luad")], 2)
