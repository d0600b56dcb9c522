"""Grids from files: what they hold, what may be picked from them, and what their mistakes are told as."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from milsurv.benchmark.cli.grids import hours_left
from milsurv.benchmark.planning.grid_file import grid_names, grid_path, read_grid, read_printed, requests_of
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.planning.resolve import resolve
from milsurv.errors import UsageError
from milsurv.models.registry import NAMES

FIRST = Request("", "", features_path="synthetic", patients=40)
GRID = '[[table]]\nmodels = ["abmil", "random"]\ncohorts = ["blca"]\nrecipes = ["default"]\nseeds = [0, 1]\n'


def test_the_grid_of_the_crossfusion_paper_holds_its_three_tables_by_both_recipes():
    requests = requests_of(read_grid(grid_path("crossfusion-paper")), FIRST, {})
    # 14 methods, 5 backbones of which table 1 has one, and two rivals with another: on 6 cohorts, by 2 recipes.
    assert len(requests) == (14 + 4 + 2) * 6 * 2
    assert {request.recipe for request in requests} == {"default", "reference"}
    for request in {(request.model, request.recipe): request for request in requests}.values():
        resolve(request)


def test_every_experiment_of_that_grid_stands_beside_its_printed_figure(tmp_path):
    path = grid_path("crossfusion-paper")
    file = read_grid(path)
    printed = read_printed(file, path, tmp_path)
    of_figures = {(one.model, one.backbone, one.cohort) for one in printed}
    assert of_figures == {(one.model, one.backbone, one.cohort) for one in requests_of(file, FIRST, {})}
    assert all(0.5 < one.mean < 1 and one.sd for one in printed)


def test_the_planted_grid_asks_every_model_once_of_every_cohort():
    requests = requests_of(read_grid(grid_path("planted")), replace(FIRST, features_path=None), {})
    asked = Counter((request.model, request.cohort) for request in requests)
    kinds = ("planted-fine", "planted-coarse", "planted-cross", "planted-null")
    models = (*NAMES, "clinical-cox", "random", "bag-size", "site-only")
    assert set(asked) == {(model, kind) for model in models for kind in kinds}
    assert set(asked.values()) == {1}
    for request in requests:
        resolve(request)


def test_every_shipped_grid_can_be_read():
    assert grid_names() and all(read_grid(grid_path(name)).table for name in grid_names())


def test_options_pick_from_a_grid_and_fill_what_it_leaves_open(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GRID)
    assert len(requests_of(read_grid(path), FIRST, {})) == 4
    (one,) = requests_of(read_grid(path), FIRST, {"model": "abmil", "seeds": "1", "backbone": "uni2-h"})
    assert (one.model, one.seed, one.backbone) == ("abmil", 1, "uni2-h")
    with pytest.raises(UsageError, match="Did you mean abmil"):
        requests_of(read_grid(path), FIRST, {"model": "abmill"})


def test_a_table_joins_its_models_with_covariates(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[[table]]\nmodels = ["abmil"]\ncohorts = ["blca"]\ncovariates = ["", "age,is_female"]\n')
    assert [one.covariates for one in requests_of(read_grid(path), FIRST, {})] == [None, "age,is_female"]
    (one,) = requests_of(read_grid(path), replace(FIRST, covariates="age"), {})
    assert one.covariates == "age"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[table]]\nmodel = ["abmil"]\ncohorts = ["blca"]\n', "table 1: unknown key 'model'. Did you mean models"),
        ('[[tabel]]\nmodels = ["abmil"]\n', "Did you mean table"),
        ('[[table]]\nmodels = "abmil"\ncohorts = ["blca"]\n', "models"),
        ("title = 'nothing'\n", "at least one"),
        ("[[table]\n", "is not TOML"),
    ],
)
def test_a_grid_that_cannot_be_read_says_why(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_grid(tmp_path / "mine.toml")


def test_a_dry_run_counts_and_the_run_shows_printed_figures_beside_ours(bench, cohort_folder, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'title = "a paper"\nsource = "its table"\n[methods]\n"AMIL" = "abmil"\n'
        + GRID.replace('"random"', '"meanpool"')
    )
    (tmp_path / "printed.csv").write_text("table,method,backbone,cohort,mean,sd\n1,AMIL,uni2-h,blca,0.559,0.059\n")
    words = ["ablate", "--grid", tmp_path / "mine.toml", "--labels", cohort_folder / "labels.csv", "--folds", "2",
             "--epochs", "1", "--out", tmp_path / "out", "--tracking", "none", "--seeds", "0"]  # fmt: skip
    features = ["--features", cohort_folder / "features"]
    missing = json.loads(bench(*words, "--data", tmp_path / "no", "--dry-run", "--json")[1])
    assert missing["experiments"] == 2 and len(missing["missing"][0]["commands"]) == 2
    survey = json.loads(bench(*words, *features, "--dry-run", "--json")[1])
    assert (survey["folds"], survey["finished"], survey["hours"]) == (4, 0, None)
    status, out, err = bench(*words, *features, "--printed", tmp_path / "printed.csv")
    assert status == 0, err
    assert "rerun honestly (selected)" in out and "its table" in out
    assert "rerun" in (tmp_path / "out" / "leaderboard" / "printed.md").read_text()
    survey = json.loads(bench(*words, *features, "--dry-run", "--json")[1])
    assert survey["finished"] == 4 and survey["hours"] == 0


def test_the_papers_table_is_run_on_simulated_twins_in_one_command(bench, tmp_path):
    words = ["ablate", "--grid", "crossfusion-paper", "--features", "synthetic", "--patients", "40", "--folds", "2",
             "--set", "epochs=1", "--no-weights", "--cohort", "blca", "--model", "abmil,mustmil",
             "--out", tmp_path, "--tracking", "none"]  # fmt: skip
    survey = json.loads(bench(*words, "--dry-run", "--json")[1])
    assert (survey["experiments"], survey["folds"], survey["finished"]) == (6, 12, 0)
    assert not (tmp_path / "synthetic").exists()  # a dry run simulates nothing
    status, out, err = bench(*words)
    assert status == 0, err
    assert "table 1: printed / rerun as printed (best epoch) / rerun honestly (selected)" in " ".join(out.split())
    lines = (tmp_path / "leaderboard" / "printed.md").read_text().splitlines()
    long = [line.split("|")[1:-1] for line in lines if line.startswith(("| 1 |", "| 3 |"))]
    assert [[cell.strip() for cell in line[:4]] for line in long] == [
        ["1", "abmil", "resnet50", "blca"],
        ["1", "mustmil", "resnet50", "blca"],
        ["3", "mustmil", "uni2-h", "blca"],
    ]
    assert all("±" in cell for line in long for cell in line[4:])
    assert any("never compare them with what is printed" in line for line in lines)
    survey = json.loads(bench(*words, "--dry-run", "--json")[1])
    assert survey["finished"] == 12 and survey["hours"] == 0


def test_what_is_left_is_estimated_from_the_finished_folds_of_each_model():
    seconds = {"abmil": [10.0, 20.0], "transmil": [105.0]}
    assert hours_left({"abmil": 2, "transmil": 1}, seconds) == pytest.approx((2 * 15 + 105) / 3600)
    assert hours_left({"dsmil": 3}, seconds) == pytest.approx(3 * 60 / 3600)  # none of it is finished
    assert hours_left({}, seconds) == 0
    assert hours_left({"abmil": 1}, {}) is None
