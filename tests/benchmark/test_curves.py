"""Learning curves: every cell an experiment, intervals over draws, and where half of the oracle is reached."""

import csv

import numpy as np
import pytest
from milsurv.benchmark.inference.curves import (
    Point,
    Reached,
    Score,
    cells_of,
    dial_values,
    half_of,
    oracle_points,
    points,
    reached,
)
from milsurv.benchmark.planning.request import Request
from milsurv.errors import UsageError
from scipy import stats


def test_one_dial_has_several_values_and_the_others_one():
    assert dial_values(["patients=150, 300", "deaths=0.3"]) == ("patients", ("150", "300"), ("deaths=0.3",))
    for wrong, words in (
        (["patients=150"], "one dial with several values"),
        (["patients=1,2", "deaths=0.2,0.3"], "patients, deaths have several"),
        (["patient=1,2"], "Did you mean patients"),
        (["patients"], "NAME=VALUE"),
    ):
        with pytest.raises(UsageError, match=words):
            dial_values(wrong)


def test_cells_differ_in_model_value_and_draw_alone():
    first = Request("meanpool", "planted-fine", cohort_seed=2)
    cells = cells_of(first, "abmil,clinical-cox", "deaths", ("0.2", "0.5"), ("patients=80",), 2, scale="5,20")
    assert [(c.model, c.value, c.draw) for c in cells] == [
        (model, value, draw)
        for value in (0.2, 0.5)
        for draw in (2, 3)
        for model in ("abmil 5x", "abmil 20x", "clinical-cox")
    ]
    assert {c.request.patients for c in cells} == {80}
    assert {c.request.dial for c in cells} == {("deaths=0.2",), ("deaths=0.5",)}
    assert len({c.request.command for c in cells}) == len(cells)
    with pytest.raises(UsageError, match="whole number"):
        cells_of(first, "abmil", "patients", ("80.5", "90"), (), 1)


def test_a_point_is_the_mean_over_draws_with_the_t_interval_of_scipy():
    values = [0.6, 0.66, 0.63, 0.7]
    scores = [Score("abmil", 300, draw, "x", value, 0.8) for draw, value in enumerate(values)]
    (point,) = points(scores)["abmil"]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (point.mean, point.low, point.high) == pytest.approx((np.mean(values), low, high))
    assert points(scores[:1])["abmil"] == [Point(300, 0.6, None, None, 1)]
    assert half_of(oracle_points(scores)) == pytest.approx({300: 0.65})


def test_half_of_the_oracle_is_read_between_the_values_or_said_not_to_be_reached():
    half = dict.fromkeys((100.0, 200.0, 400.0), 0.6)
    assert reached([(100, 0.5), (200, 0.55), (400, 0.65)], half).value == pytest.approx(200 * 2**0.5)
    assert reached([(100, 0.62), (200, 0.5)], half) == Reached(100, first=True)
    assert reached([(100, 0.5), (400, 0.59)], half) == Reached(None)
    rising = {100.0: 0.55, 400.0: 0.65}
    assert reached([(100, 0.5), (400, 0.7)], rising).value == pytest.approx(200), "what is asked for may move"


def test_curves_are_drawn_and_the_same_command_computes_nothing_again(bench, tmp_path):
    of = ("--dial", "patients=24,30", "--dial", "deaths=0.5", "--model", "clinical-cox", "--draws", 2, "--folds", 2)
    words = ("curves", *of, "--tracking", "none", "--out", tmp_path)
    status, out, _ = bench(*words)
    assert status == 0 and "Half of the oracle" in out
    folder = tmp_path / "curves"
    with next(folder.glob("*.csv")).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(float(r["patients"]), r["draw"]) for r in rows} == {(n, draw) for n in (24, 30) for draw in "01"}
    assert len({r["experiment"] for r in rows}) == 4, "every cell is an experiment of its own"
    assert {path.suffix for path in folder.iterdir()} == {".csv", ".md", ".svg", ".png"}
    before = {path: path.read_bytes() for path in (*folder.iterdir(), *tmp_path.rglob("result.json"))}
    assert bench(*words)[0] == 0
    assert {path: path.read_bytes() for path in before} == before


def test_a_measured_cohort_has_no_dial(bench, tmp_path):
    status, _, err = bench(
        "curves", "--dial", "patients=40,80", "--model", "abmil", "--cohort", "brca", "--out", tmp_path
    )
    assert status == 2 and "planted" in err


def test_planted_cohorts_have_no_files_to_name(bench):
    status, _, err = bench("curves", "--dial", "patients=40,80", "--model", "abmil", "--labels", "mine.csv")
    assert status == 2 and "--labels" in err
