"""From Python: what the command line does for experiments, as DataFrames."""

import json
import subprocess
import sys

import milsurv
import pandas as pd
import pytest
from milsurv.errors import RowError, UnknownName, UsageError


@pytest.fixture(scope="module")
def two(cohort_folder, tmp_path_factory):
    """Two models on one cohort, and where their results are."""
    out = tmp_path_factory.mktemp("api") / "results"
    given = {
        "features": cohort_folder / "features",
        "labels": cohort_folder / "labels.csv",
        "folds": 2,
        "out": out,
        "progress": False,
    }
    settings = {"epochs": 2, "learning_rate": 1e-3}
    tables = {
        model: milsurv.run(model, "blca", settings=settings, seeds=(0, 1), **given) for model in ("meanpool", "maxpool")
    }
    return tables, out, given


def test_a_run_gives_one_row_a_fold_and_the_predictions_behind_them(two):
    tables, out, _ = two
    rows = tables["meanpool"]
    assert list(zip(rows["seed"], rows["fold"], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert rows["c_index_selected"].between(0, 1).all()
    predicted = rows.predictions
    assert set(predicted["experiment"]) == set(rows["experiment"]) == set(rows.folders)
    chosen = predicted[(predicted["reading"] == "selected") & (predicted["experiment"] == rows["experiment"][0])]
    assert len(chosen) == chosen["patient"].nunique() == rows["patients"][0]
    assert all((out / "experiments" / name / "experiment.json").is_file() for name in rows.folders)
    assert isinstance(rows[rows["fold"] == 0], milsurv.Results)


def test_predictions_are_found_from_another_folder(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"features": cohort_folder / "features", "labels": cohort_folder / "labels.csv", "folds": 2}
    rows = milsurv.run("clinical-cox", "blca", progress=False, **given)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(rows.predictions) == rows["patients"][0]


def test_the_command_line_and_python_give_the_same_experiment_and_numbers(two, bench, tmp_path):
    tables, _, given = two
    words = ["run", "--model", "meanpool", "--cohort", "blca", "--folds", 2, "--out", tmp_path, "--tracking", "none"]
    words += ["--features", given["features"], "--labels", given["labels"], "--epochs", 2, "--json"]
    status, printed, _ = bench(*words, "--set", "learning_rate=0.001")
    rows = tables["meanpool"][tables["meanpool"]["seed"] == 0]
    found = json.loads(printed)
    assert status == 0 and found["experiment"] == rows["experiment"].iloc[0]
    assert [fold["c_index"]["selected"] for fold in found["folds"]] == rows["c_index_selected"].tolist()


def test_the_same_call_again_reads_and_does_not_compute(two):
    tables, out, given = two
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}
    settings = {"epochs": 2, "learning_rate": 1e-3}
    again = milsurv.run("meanpool", "blca", settings=settings, seeds=(0, 1), **given)
    pd.testing.assert_frame_equal(pd.DataFrame(again), pd.DataFrame(tables["meanpool"]))
    assert stamps == {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}


def test_boards_and_pairs_are_tables(two, tmp_path):
    _, out, _ = two
    board = milsurv.leaderboard(out, out=tmp_path / "board")
    assert set(board["model"]) == {"meanpool", "maxpool"} and board["c_index_selected_mean"].between(0, 1).all()
    assert (tmp_path / "board" / "leaderboard.html").is_file()
    (pair,) = milsurv.compare(out, "blca").to_dict("records")
    assert {pair["first"], pair["second"]} == {"meanpool", "maxpool"}
    assert pair["low"] <= pair["difference"] <= pair["high"]
    means = board.set_index("model")["c_index_selected_mean"]
    assert pair["difference"] == pytest.approx(means[pair["first"]] - means[pair["second"]])


def test_what_is_left_out_of_a_board_is_a_warning(two, tmp_path):
    (tmp_path / "experiments" / "e" / "fold-0").mkdir(parents=True)
    (tmp_path / "experiments" / "e" / "fold-0" / "result.json").write_text("{")
    with pytest.warns(UserWarning, match="is not JSON"):
        milsurv.leaderboard([two[1], tmp_path])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "abmill"}, UsageError, "Did you mean abmil?"),
        ({"cohort": "brac"}, UnknownName, "brca"),
        ({"fold": 3}, UsageError, "unknown option 'fold'. Did you mean folds"),
        ({"settings": {"lr": 1e-4}}, UsageError, "Did you mean learning_rate"),
        ({"labels": "nowhere.csv"}, UsageError, "nowhere.csv"),
    ],
)
def test_mistakes_are_errors_that_say_what_can_be_asked_for(cohort_folder, tmp_path, options, error, message):
    given = {
        "model": "abmil",
        "cohort": "blca",
        "features": cohort_folder / "features",
        "labels": cohort_folder / "labels.csv",
    }
    with pytest.raises(error, match=message):
        milsurv.run(**{**given, "out": tmp_path, "progress": False, **options})
    with pytest.raises(RowError, match="no such folder"):
        milsurv.leaderboard(tmp_path / "nothing")


def test_importing_milsurv_loads_nothing_heavy_and_offers_its_functions():
    code = "import sys, milsurv; print('pandas' in sys.modules, sorted(set(dir(milsurv)) - {'__version__'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout.strip() == "False ['Results', 'compare', 'evaluate', 'leaderboard', 'load_model', 'predict', 'run']"
    )
