"""What the views compute before the page is laid out: addresses, bars, curves, matrices, filters."""

import re

import leaderboard_rows as make
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milsurv.leaderboards.ranking.comparisons import with_evidence
from milsurv.leaderboards.render.page.ablation_views import ablation_view
from milsurv.leaderboards.render.page.datatables import datatables
from milsurv.leaderboards.render.page.group_curve_plots import plot
from milsurv.leaderboards.render.page.inline_svg import _short
from milsurv.leaderboards.render.page.links import board_key, line_key, slug
from milsurv.leaderboards.render.page.overall_views import overall_views
from milsurv.leaderboards.render.page.problem_groups import problem_groups
from milsurv.leaderboards.render.page.row_bars import Axis, axis, bar
from milsurv.leaderboards.rows import Problem
from milsurv.survival.risk_groups import group_curves


def addresses(found):
    return {line.experiments[0]: f"c/{line.experiments[0]}" for one in found for r in one.rankings for line in r.lines}


# Addresses


@given(st.text())
def test_an_address_is_made_of_letters_digits_and_hyphens(text):
    assert set(slug(text)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert 0 < len(slug(text)) <= 40


def test_the_address_of_a_line_does_not_hang_on_other_lines():
    (alone,) = make.boards(make.experiment(0.1))
    (among,) = make.boards(make.experiment(0.1) + make.experiment(0.3, model="dsmil"))
    places = {line.model: line_key("blca", line, ()) for line in among.rankings[0].lines}
    assert places["abmil"] == line_key("blca", alone.rankings[0].lines[0], ())


def test_two_cohorts_never_share_an_address():
    one, other = make.boards(make.experiment(0.1, cohort="a b") + make.experiment(0.1, cohort="a-b"))
    assert (board_key(one, ()), board_key(other, {board_key(one, ())})) == ("a-b", "a-b-2")


# Bars


def test_everything_that_is_drawn_lies_on_the_axis():
    (board,) = make.boards([*make.experiment(0.2, optimism=0.1), *make.experiment(-0.1, model="dsmil")])
    (ranking,) = board.rankings
    for line in ranking.lines:
        found = bar(line, axis(ranking), {})
        drawn = [found.mean, found.low, found.high, found.best, *found.folds]
        assert all(0 < place < 100 for place in drawn)
        assert found.low < found.mean < found.high


@given(st.floats(0.2, 0.5), st.floats(0.51, 0.95))
def test_ticks_are_few_and_where_they_say(low, high):
    scale = Axis(low, high)
    assert len(scale.ticks) <= 6
    assert all(abs(place - scale.place(float(label))) <= 0.1 for place, label in scale.ticks)


def test_a_reading_without_all_folds_has_no_bar():
    rows = make.experiment(0.1)
    rows[0] |= {"c_index_last": None}
    (board,) = make.boards(rows)
    (ranking,) = board.rankings
    assert bar(ranking.lines[0], axis(ranking), {}, "last") is None


# Curves


def curves(patients=200, scale=1.0):
    draw = np.random.default_rng(3)
    group = np.where(draw.random(patients) < 0.5, "high", "low")
    time = scale * (1 + draw.exponential(np.where(group == "high", 20, 60)))
    return group_curves(np.minimum(time, scale * 120), time < scale * 120, group, np.arange(patients) % 5)


def test_lines_of_the_same_follow_up_share_their_axes_and_cost_little():
    found = plot(curves())
    assert len(found.curves) < 5_000
    assert found.frame == plot(curves(patients=180)).frame
    assert f'href="#{found.key}-' in found.frame
    assert plot(curves(scale=0.1)).key != found.key


def test_the_words_beside_the_curves_hold_counts_hazard_ratio_and_test():
    found = curves()
    words = plot(found).words
    assert words[0] == f"high risk: {found.high.died} of {found.high.patients} died"
    assert words[2] == f"hazard ratio: {found.ratio:.2f}"
    assert words[3].startswith("log-rank test over folds: p ")


@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 3000)), min_size=2, max_size=30))
def test_a_shortened_path_ends_where_the_path_ends(points):
    text = f"M {points[0][0] / 10} {points[0][1] / 10} " + " ".join(f"L {x / 10} {y / 10}" for x, y in points[1:])
    at = [0.0, 0.0]
    for letter, numbers in re.findall(r"([MhvlZ])([^MhvlZ]*)", _short(text)):
        steps = [float(number) for number in re.findall(r"-?\d*\.?\d+", numbers)]
        if letter == "M":
            at = steps
        else:
            across, down = {"h": (steps[0], 0), "v": (0, steps[0])}.get(letter, tuple(steps[:2]))
            at = [at[0] + across, at[1] + down]
    assert at == pytest.approx([value / 10 for value in points[-1]], abs=1e-6)


# Matrices


def test_the_matrix_of_scales_and_backbones_holds_every_line_of_what_was_varied():
    rows = make.experiment(0.1, scales="5") + make.experiment(0.2, scales="20")
    rows += make.experiment(0.3, model="abmil-late", scales="5,10,20", backbone="conch")
    rows += make.experiment(0.1, model="transmil") + make.experiment(0.1, model="random", family="control")
    found = make.boards(rows)
    view = ablation_view(found[0].rankings[0], addresses(found))
    assert view.backbones == ("conch", "uni2-h")
    assert [(model, scales) for model, scales, _ in view.rows] == [
        ("abmil-late", ("5", "10", "20")),
        ("abmil", ("5",)),
        ("abmil", ("20",)),
    ]
    assert [[len(cell) for cell in cells] for _, _, cells in view.rows] == [[1, 0], [0, 1], [0, 1]]


def test_where_nothing_was_varied_there_is_no_matrix():
    found = make.boards(make.experiment(0.1) + make.experiment(0.1, model="transmil"))
    assert ablation_view(found[0].rankings[0], addresses(found)) is None


def test_models_over_cohorts_have_a_cell_for_every_ranking_and_mark_what_is_below_a_baseline():
    rows, tables = [], {}
    for hazard, changes in (
        (-6.0, {"cohort": "blca"}),
        (6.0, {"cohort": "blca", "model": "clinical-cox", "family": "control"}),
        (0.0, {"cohort": "brca"}),
        (0.0, {"cohort": "luad", "synthetic": True}),
    ):
        mine = make.experiment(0.1, patients=150, **changes)
        table = make.predictions(mine, 150, hazard).astype({"event": bool})
        rows += make.agreeing(mine, table)
        tables[mine[0]["experiment"]] = table
    found = with_evidence(make.boards(rows), tables)
    (view,) = overall_views(found, [board.cohort for board in found], addresses(found))
    assert [column[1] for column in view.columns] == ["blca", "brca"]
    assert [row.name for row in view.rows] == ["abmil", "clinical-cox"]
    (one, other), (baseline, none) = (row.cells for row in view.rows)
    assert (one.below, other.below, baseline.below, none) == (True, False, False, None)
    assert (one.rank, other.rank) == (2, 1)
    assert (one.top, baseline.top) == (False, True)


def test_a_fault_of_many_files_is_said_once():
    found = problem_groups([Problem("a", "is missing"), Problem("b", "is damaged"), Problem("c", "is missing")])
    assert found == (("is missing", ("a", "c")), ("is damaged", ("b",)))


def test_the_library_of_tables_comes_with_its_licence_and_can_stand_in_a_page():
    script = datatables()
    assert "const DataTable=" in script
    assert "DataTables" in script and "license" in script
    assert "</script" not in script.lower() and "export{" not in script
