"""A tuned line stands beside the same without tuning: never mixed, compared in pairs, with what was chosen by fold."""

import csv
import io
import json

import leaderboard_rows as make
import pytest
from milsurv.leaderboards.ranking.comparisons import tuned_pairs, with_evidence
from milsurv.leaderboards.render.csv_file import table_csv
from milsurv.leaderboards.render.latex import latex
from milsurv.leaderboards.render.markdown import markdown

CHOSEN = {"batch": 32, "learning_rate": 0.0012, "loss": "cox"}


def line(tuned: bool, experiment: str, noise: int, hazard: float, **changes):
    """The rows of an experiment and predictions that agree with them; a tuned one was tuned from `0000000000`."""
    if tuned:
        changes |= {
            "recipe": "tuned (30)", "loss": "tuned", "trials": 30, "trials_failed": 2, "tuned_c_index": 0.71,
            "untuned_c_index": 0.66, "tuned_settings": json.dumps(CHOSEN), "untuned_experiment": "0000000000",
            "tuning_seconds": 100.0, "tuned_trial": 7,
        }  # fmt: skip
    rows = make.experiment(experiment=experiment, patients=120, **changes)
    table = make.predictions(rows, 120, hazard=hazard, noise=noise)
    return make.agreeing(rows, table), table


@pytest.fixture(scope="module")
def board():
    default, first = line(False, "0000000000", 1, 0.3)
    tuned, second = line(True, "1111111111", 2, 3.0)
    other, third = line(False, "2222222222", 3, 1.0, model="dsmil")
    tables = {"0000000000": first, "1111111111": second, "2222222222": third}
    (found,) = with_evidence(make.boards([*default, *tuned, *other]), tables)
    return found


def test_the_pair_is_the_tuned_line_and_the_experiment_that_it_was_tuned_from(board):
    (ranking,) = board.rankings
    ((first, second),) = tuned_pairs(ranking)
    assert (ranking.lines[first].recipe, ranking.lines[second].recipe) == ("tuned (30)", "default")
    (pair,) = ranking.evidence.tuned
    mine, without = (ranking.lines[place].selected.mean for place in (first, second))
    assert pair.difference.value == pytest.approx(mine - without, abs=1e-9)
    assert pair.difference.low < pair.difference.value < pair.difference.high
    assert pair.p_adjusted >= pair.difference.p


def test_without_the_untuned_line_nothing_is_compared_and_the_settings_are_shown(board):
    tuned, table = line(True, "1111111111", 2, 3.0)
    (alone,) = with_evidence(make.boards(tuned), {"1111111111": table})
    assert alone.rankings[0].evidence.tuned == ()
    assert "what tuning brought" in markdown([alone]) and "learning\\_rate=0.0012" in markdown([alone])


def test_seeds_that_only_one_of_the_two_has_are_not_compared():
    default, _ = line(False, "0000000000", 1, 0.3)
    tuned, _ = line(True, "1111111111", 2, 3.0)
    second = [row | {"experiment": "3333333333", "seed": 1, "untuned_experiment": "4444444444"} for row in tuned]
    (found,) = make.boards([*default, *tuned, *second])
    assert tuned_pairs(found.rankings[0]) == []


def test_every_rendering_says_what_tuning_brought(board):
    text = markdown([board])
    assert "what tuning brought" in text and "settings chosen by fold" in text
    assert text.count("batch=32, learning\\_rate=0.0012, loss=cox") == 5 and "30 (2 failed)" in text
    tuned, default, _ = sorted(
        csv.DictReader(io.StringIO(table_csv([board]))), key=lambda row: row["experiments"] != "1" * 10
    )
    assert float(tuned["over_untuned_low"]) < float(tuned["over_untuned"]) and not default["over_untuned"]
    assert json.loads(tuned["tuned_settings"]) == [CHOSEN] * 5
    assert "tuned (30)" in latex([board])


def test_the_page_shows_it(board, tmp_path):
    tables = {}
    rows = []
    for one in (line(False, "0000000000", 1, 0.3), line(True, "1111111111", 2, 3.0)):
        rows += one[0]
        tables[one[0][0]["experiment"]] = one[1]
    page = make.render(rows, tables, tmp_path)["html"].read_text()
    assert "What did tuning bring? 1 tuned line" in page and "Settings chosen by fold" in page
    plain, _ = line(False, "0000000000", 1, 0.3)
    assert "tuning bring" not in make.render(plain, {}, tmp_path / "plain")["html"].read_text()
