"""Figures that papers print: on the boards of their cohorts, as what they are, and never ranked."""

from pathlib import Path

import pytest
from milsurv.benchmark import console
from milsurv.benchmark.planning.grid_file import grid_path, read_grid, read_printed
from milsurv.leaderboards.printed import KIND, printed_figures, printed_on
from milsurv.leaderboards.publish import gather
from milsurv.leaderboards.ranking.board import BASELINE, Board, names_of
from milsurv.leaderboards.render.printed import RUN_HERE, printed_table
from milsurv.leaderboards.render.text_tables import board_tables, ranking_table

PUBLISHED = Path(__file__).parents[2] / "leaderboards" / "published"
COHORTS = {"blca", "brca", "coad", "gbmlgg", "luad", "ucec"}


@pytest.fixture(scope="module")
def published() -> dict[str, Board]:
    found = gather(PUBLISHED, evidence=False)
    return {board.title: board for board in found.boards}


def test_every_figure_of_the_paper_is_there_once():
    figures = printed_figures()
    assert {one.cohort for one in figures} == COHORTS
    assert len({(one.method, one.backbone, one.cohort) for one in figures}) == len(figures) == 20 * 6
    path = grid_path("crossfusion-paper")
    grid = read_printed(read_grid(path), path, Path("data"))
    assert {(one.method, one.backbone, one.cohort, one.mean) for one in grid} == {
        (one.method, one.backbone, one.cohort, one.mean) for one in figures
    }, "a grid and the boards read one file"


def test_boards_of_the_six_cohorts_show_them_and_rank_none(published):
    for name, board in published.items():
        table = printed_table(board)
        assert (table is not None) == (name in COHORTS), name
        ranked = {line.model for ranking in board.rankings for line in ranking.lines}
        assert not ranked & {"CrossFusion", "HIPT"}, "what is printed is no line"
        if table is not None:
            kinds = [row[2] for row in table.rows]
            assert kinds.count(KIND) == len(printed_on(board.cohort)) == 20
            assert set(kinds) == {KIND, RUN_HERE}
            titles = [one.title for one in board_tables(board, wide=True)]
            assert titles.index(table.title) > titles.index(f"{name}: folds official")


def test_a_figure_counts_the_baselines_that_reach_it(published):
    board = published["blca"]
    table = printed_table(board)
    assert table is not None
    shown = [row[0] for row in table.rows if row[2] == RUN_HERE]
    lines = dict(zip(names_of(board.rankings[0].lines), board.rankings[0].lines, strict=True))
    assert shown and set(shown) == {
        n for n, line in lines.items() if line.family == BASELINE and line.model != "random"
    }
    figures, reached = printed_on("blca"), 0
    for figure, row in zip(figures, [row for row in table.rows if row[2] == KIND], strict=True):
        reaching = [name for name in shown if (lines[name].selected.mean or 0) >= figure.mean]
        assert row[5] == f"{len(reaching)} of {len(shown)}", row
        reached += bool(reaching)
    assert f"{reached} of 20 printed figures. Baselines see no slide" in table.notes[1]


def test_every_line_says_whether_it_was_run_here_or_imported(published):
    table = ranking_table(published["blca"], published["blca"].rankings[0])
    source, model = (table.columns.index(name) for name in ("Source", "Model"))
    found = {row[model].split()[0]: row[source] for row in table.rows}
    assert found["MCAT"] == "imported" and found["clinical-cox"] == "run here"


def test_a_terminal_says_in_a_note_what_they_come_to(published, capsys):
    console.text_tables(one for one in board_tables(published["blca"]) if "printed" in one.title)
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("blca: printed in papers 20 figures from 0.542 to 0.649")
    assert "HIPT" not in out
