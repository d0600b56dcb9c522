"""Baselines run as models do: same commands, same patients, same folds, and no feature unless they count them."""

import csv
import dataclasses
import json
import shlex
import shutil

import pytest
from milsurv.benchmark.planning.grid import by_seed, grid
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.run import Quiet, run, run_all
from milsurv.errors import UsageError
from milsurv.leaderboards.publish import gather
from milsurv.leaderboards.rows import read_row

NAMES = ("clinical-cox", "site-only", "bag-size", "random")


def request(cohort_folder, out, model="clinical-cox", **changes) -> Request:
    return Request(model, "blca", labels_path=cohort_folder / "labels.csv", out=out, folds=3, **changes)


def ran(asked: Request):
    return run(asked, Quiet(), "none")


@pytest.fixture(scope="module")
def board(cohort_folder, tmp_path_factory):
    """All baselines and a model, in one folder."""
    out = tmp_path_factory.mktemp("baselines")
    features = str(cohort_folder / "features")
    first = request(cohort_folder, out, features_path=features, settings={"epochs": "1", "scale": "5"})
    cells = grid(first, "meanpool," + ",".join(NAMES), "blca", seeds="0,1")
    results, failures = run_all(cells, Quiet(), "none")
    assert not failures and all(result.complete for result in results)
    return gather(out / "experiments")


def test_models_and_baselines_stand_in_one_ranking_of_one_grid(board):
    (only,) = board.boards
    (ranking,) = only.rankings
    assert {line.model for line in ranking.lines} == {"meanpool", *NAMES}
    assert {line.model: len(line.seeds) for line in ranking.lines} == {
        "meanpool": 2, "random": 2, "clinical-cox": 1, "site-only": 1, "bag-size": 1,
    }  # fmt: skip
    assert ranking.baseline is not None and not board.problems


def test_every_row_says_its_command_and_the_oracle(board):
    for line in board.boards[0].rankings[0].lines:
        assert line.spreads["oracle_c_index"].mean == pytest.approx(0.85, abs=0.15)
        for row in line.rows:
            words = shlex.split(row.command)
            assert words[:4] == ["bench", "run", "--model", line.model]


def test_the_command_of_a_baseline_gives_its_experiment_again(bench, cohort_folder, tmp_path):
    asked = request(cohort_folder, tmp_path, covariates="age", settings={"penalty": "3"})
    first = ran(asked)
    words = shlex.split(str(first.rows[0].command))[1:]
    status, out, _ = bench(*words, "--out", tmp_path / "b", "--tracking", "none", "--json")
    again = json.loads(out)
    assert status == 0 and again["experiment"] == first.experiment.id
    assert [fold["c_index"]["selected"] for fold in again["folds"]] == [
        row.score("c_index_selected") for row in first.rows
    ]


def test_a_baseline_needs_labels_and_nothing_else(cohort_folder, tmp_path):
    for name in ("clinical-cox", "site-only", "random"):
        assert ran(request(cohort_folder, tmp_path, name)).complete
    with pytest.raises(UsageError, match="--features"):
        ran(request(cohort_folder, tmp_path, "bag-size"))


def test_the_files_are_those_of_every_experiment(cohort_folder, tmp_path):
    result = ran(request(cohort_folder, tmp_path))
    folder = tmp_path / "experiments" / result.experiment.id
    wanted = {"experiment.json", "remarks.json", "predictions.csv", "clinical-curves.csv", "kaplan-meier.svg"}
    assert wanted <= {path.name for path in folder.iterdir()}
    assert read_row(folder / "fold-0" / "result.json").family == "control"
    with (folder / "clinical-curves.csv").open(newline="") as file:
        assert {"auc", "brier", "brier_km", "d_calibration"} <= {row["curve"] for row in csv.DictReader(file)}


def test_mlflow_records_a_baseline(cohort_folder, tmp_path):
    from milsurv.benchmark.results.tracking.store import experiment_name, local_store
    from mlflow.tracking import MlflowClient

    run(dataclasses.replace(request(cohort_folder, tmp_path, "random"), folds=2), Quiet())
    client = MlflowClient(local_store(tmp_path))
    place = client.get_experiment_by_name(experiment_name("blca", synthetic=True))
    assert place is not None
    runs = client.search_runs([place.experiment_id])
    assert sorted(run.data.tags["milsurv.kind"] for run in runs) == ["experiment", "fold", "fold"]
    assert all("c_index_selected" in run.data.metrics for run in runs if run.data.tags["milsurv.kind"] == "fold")


def test_repeats_and_folds_by_site_divide_baselines_as_they_divide_models(cohort_folder, tmp_path):
    repeated = ran(request(cohort_folder, tmp_path, repeats=2))
    assert repeated.experiment.n_folds == 6
    by_site = ran(request(cohort_folder, tmp_path, split_by="site"))
    with (cohort_folder / "labels.csv").open(newline="") as file:
        site = {row["case_id"]: row["site"] for row in csv.DictReader(file)}
    with (tmp_path / "experiments" / by_site.experiment.id / "predictions.csv").open(newline="") as file:
        tested = {(site[row["patient"]], row["fold"]) for row in csv.DictReader(file)}
    assert len({place for place, _ in tested}) == len(tested)


@pytest.mark.parametrize("mode", ["first-dx", "mean-risk", "slide"])
def test_slides_count_for_a_baseline_as_for_a_model(cohort_folder, tmp_path, mode):
    features = str(cohort_folder / "features")
    settings = {"epochs": "1", "scale": "5"}
    first = request(cohort_folder, tmp_path, slides=mode, features_path=features, settings=settings)
    results, failures = run_all(grid(first, "meanpool,clinical-cox,bag-size", "blca"), Quiet(), "none")
    assert not failures
    (ranking,) = gather(tmp_path / "experiments").boards[0].rankings
    assert len(ranking.lines) == 3
    assert len({tuple(row.n_test for row in result.rows) for result in results}) == 1


def test_whoever_a_model_leaves_out_a_baseline_leaves_out_too(cohort_folder, tmp_path):
    some = tmp_path / "features" / "tiny"
    shutil.copytree(cohort_folder / "features" / "tiny", some)
    sorted(some.glob("*.h5"))[0].unlink()
    settings = {"epochs": "1", "scale": "5"}
    first = request(cohort_folder, tmp_path, features_path=str(some), missing="drop", settings=settings)
    run_all(grid(first, "meanpool,clinical-cox,bag-size", "blca"), Quiet(), "none")
    (ranking,) = gather(tmp_path / "experiments").boards[0].rankings
    assert len(ranking.lines) == 3 and ranking.lines[0].patients <= 60


def test_simulated_cohorts_have_baselines(bench, tmp_path):
    words = ["--cohort", "blca", "--features", "synthetic", "--patients", "60", "--folds", "3", "--tracking", "none"]
    status, out, _ = bench("run", "--model", "bag-size", *words, "--out", tmp_path, "--json")
    answer = json.loads(out)
    assert status == 0 and answer["synthetic"] and answer["oracle"] > 0.7


def test_several_seeds_are_one_line_and_one_object(bench, cohort_folder, tmp_path):
    words = ["--cohort", "blca", "--labels", cohort_folder / "labels.csv", "--folds", "3", "--tracking", "none"]
    status, out, _ = bench("run", "--model", "random", "--seeds", "0,1,2", *words, "--out", tmp_path, "--json")
    cells = json.loads(out)["cells"]
    assert status == 0 and [cell["seed"] for cell in cells] == [0, 1, 2]
    (line,) = gather(tmp_path / "experiments").boards[0].rankings[0].lines
    assert line.seeds == (0, 1, 2) and line.split is not None
    status, out, _ = bench("run", "--model", "random", "--seeds", "0,1,2", *words, "--out", tmp_path)
    assert "│     3 │" in out, "seeds are counted in the line"


def test_seeds_of_what_does_not_draw_are_one_experiment():
    assert [r.seed for r in by_seed(Request("site-only", "blca"), "3,4")] == [0]
    assert [r.seed for r in by_seed(Request("abmil", "blca"), "3,4,3")] == [3, 4]


def test_in_a_grid_settings_go_to_those_who_know_them():
    first = Request("", "", settings={"penalty": "2", "epochs": "3"}, covariates="age")
    cells = grid(first, "abmil,crossfusion,clinical-cox,random", "blca", loss="nll,cox", scale="5,20", seeds="0,1")
    by_model = {name: [cell for cell in cells if cell.model == name] for name in {cell.model for cell in cells}}
    assert {name: len(mine) for name, mine in by_model.items()} == {
        "abmil": 8, "crossfusion": 4, "clinical-cox": 1, "random": 2,
    }  # fmt: skip
    assert by_model["clinical-cox"][0].settings == {"penalty": "2"}
    assert by_model["clinical-cox"][0].covariates == "age"
    assert by_model["random"][0].settings == {} and by_model["random"][0].covariates is None
    assert all("penalty" not in (cell.settings or {}) and cell.covariates is None for cell in by_model["abmil"])
    assert "--seeds 1" in by_model["random"][1].command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "clinical-cos"], "Did you mean clinical-cox"),
        (["--model", "clinical-cox", "--covariates", "aeg"], "Did you mean age"),
        (["--model", "clinical-cox", "--covariates", "age,age"], "each once"),
        (["--model", "random", "--covariates", "age"], "random has none"),
        (["--model", "abmil", "--covariates", "age", "--refit"], "leave --refit or --covariates out"),
        (["--model", "abmil", "--covariates", "aeg"], "Did you mean age"),
        (["--model", "random", "--loss", "cox"], "leave loss out"),
        (["--model", "site-only", "--epochs", "3"], "takes --set penalty"),
        (["--model", "site-only", "--set", "penalty=-1"], "a number from 0 on"),
        (["--model", "site-only", "--recipe", "reference"], "leave --recipe out"),
        (["--model", "random", "--seeds", "1,x"], "whole numbers from 0"),
        (["--model", "random", "--seeds", ","], "names nothing"),
        (["--model", "clinical-cox", "--data", "nowhere"], "no data for blca"),
    ],
)
def test_mistakes_say_what_can_be_asked_for(bench, monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = bench("run", "--cohort", "blca", *words)
    assert status == 2 and message in " ".join(err.split()) and "Traceback" not in err


def test_a_dry_run_names_models_and_baselines_alike(bench, cohort_folder, tmp_path):
    words = [
        "--cohort",
        "blca",
        "--labels",
        cohort_folder / "labels.csv",
        "--features",
        cohort_folder / "features",
        "--folds",
        "3",
    ]
    status, out, _ = bench(
        "ablate", "--model", "meanpool,random", *words, "--out", tmp_path / "no", "--dry-run", "--json"
    )
    plan = json.loads(out)["would_run"]
    assert status == 0 and len({frozenset(cell) for cell in plan}) == 1 and not (tmp_path / "no").exists()
    made = json.loads(bench("run", "--model", "random", *words, "--out", tmp_path, "--tracking", "none", "--json")[1])
    assert made["experiment"] in {cell["experiment"] for cell in plan}


def test_list_shows_baselines(bench):
    listed = json.loads(bench("list", "models", "--json")[1])["models"]
    assert {row["name"] for row in listed if row["family"] == "control"} == set(NAMES)


def test_what_an_experiment_adds_to_the_clinic_is_printed_and_written(bench, cohort_folder, tmp_path):
    words = ["--cohort", "blca", "--labels", cohort_folder / "labels.csv"]
    bench("run", "--model", "random", *words, "--folds", "3", "--tracking", "none", "--out", tmp_path)
    (folder,) = (tmp_path / "experiments").iterdir()
    fused = tmp_path / "fused.csv"
    status, out, _ = bench("added-value", folder, *words, "--covariates", "age", "--fused", fused, "--json")
    found = json.loads(out)
    assert status == 0 and found["covariates"] == ["age"]
    assert found["gain"]["value"] == pytest.approx(found["both"] - found["clinic"])
    assert set(found["groups"]["is_female"]) >= {"0", "1"} or found["groups"]["is_female"]
    assert fused.read_text().splitlines()[0] == "patient,fold,risk"
    status, _, err = bench("added-value", folder, *words, "--covariates", "agee")
    assert status != 0 and "age" in err
