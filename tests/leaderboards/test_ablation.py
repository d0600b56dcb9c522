"""Ablation tables say of every cell what the comparison of its line with the baseline says, and names stay text."""

import leaderboard_rows as make
import pytest
from milsurv.errors import RowError
from milsurv.leaderboards.ranking.comparisons import Errors
from milsurv.leaderboards.render.ablation import ablation_latex, ablation_markdown, ablations
from milsurv.leaderboards.render.figures import style
from milsurv.leaderboards.render.figures.differences import ablation

MARKUP = "<i>&_%|"


def trained(model, hazard, noise, **changes):
    rows = make.experiment(0.1, model=model, patients=150, **changes)
    table = make.predictions(rows, 150, hazard, noise=noise)
    return make.agreeing(rows, table), table.astype({"event": bool})


@pytest.fixture(scope="module")
def varied():
    made = [
        trained("good", 4.0, 1),
        trained(MARKUP, -4.0, 2),
        trained("good", 3.0, 3, backbone="resnet50"),
        trained(MARKUP, -3.0, 4, backbone="resnet50"),
    ]
    (board,) = make.boards(row for rows, _ in made for row in rows)
    return board, {rows[0]["experiment"]: table for rows, table in made}


def test_every_cell_is_the_comparison_of_its_line_with_the_baseline_on_its_backbone(varied):
    board, tables = varied
    (ranking,) = board.rankings
    (found,) = ablations([board], tables, "good")
    pairs = [cell.pair for row in found.cells for cell in row if cell.pair is not None]
    assert len(pairs) == 2
    for pair in pairs:
        cell, base = ranking.lines[pair.first], ranking.lines[pair.second]
        assert (cell.model, base.model, cell.backbone) == (MARKUP, "good", base.backbone)
    assert pairs == Errors(ranking, tables).pairs([(pair.first, pair.second) for pair in pairs])


def test_a_cell_of_the_table_can_be_the_baseline_of_all(varied):
    board, tables = varied
    (found,) = ablations([board], tables, "good@resnet50")
    pairs = [cell.pair for row in found.cells for cell in row if cell.pair is not None]
    assert len(pairs) == 3
    assert {board.rankings[0].lines[pair.second].backbone for pair in pairs} == {"resnet50"}


def test_an_unknown_baseline_is_told_with_the_names_there_are(varied):
    board, tables = varied
    with pytest.raises(RowError, match=r"no line of ours is called 'nobody'; there are .*good"):
        ablations([board], tables, "nobody")


def test_names_stay_text_and_the_figure_is_the_same_bytes_again(varied, tmp_path):
    tables = ablations(varied[:1], varied[1])
    assert "<i>" not in ablation_markdown(tables)
    assert MARKUP[3:6] not in ablation_latex(tables)
    for kind in ("svg", "pdf"):
        once, again = (style.save(ablation(tables[0]), tmp_path / f"{n}.{kind}").read_bytes() for n in (1, 2))
        assert once == again
        assert b"<i>" not in once
