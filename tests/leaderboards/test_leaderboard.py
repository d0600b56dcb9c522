"""Rows are read with care, ranked by `selected` and only against what they may be compared with."""

import csv
import io
import json
import random

import leaderboard_rows as make
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milsurv.errors import RowError
from milsurv.leaderboards.predictions import read_predictions
from milsurv.leaderboards.render.csv_file import table_csv
from milsurv.leaderboards.render.latex import escape as latex_escape
from milsurv.leaderboards.render.latex import latex
from milsurv.leaderboards.render.markdown import escape, markdown
from milsurv.leaderboards.render.text_tables import quantity, signed, tables
from milsurv.leaderboards.result_row import parse_row
from milsurv.leaderboards.rows import read_row, read_rows


def only(rows):
    """The single line of the single ranking of these rows."""
    ((board,),) = (make.boards(rows),)
    ((ranking,),) = (board.rankings,)
    ((line,),) = (ranking.lines,)
    return line


# Reading


def test_rows_are_read_from_several_folders_in_one_order(tmp_path):
    first, second = make.experiment(0.1, model="abmil"), make.experiment(0.1, model="dsmil")
    make.write(tmp_path / "a", first)
    make.write(tmp_path / "b", second)
    read = read_rows([tmp_path / "b", tmp_path / "a"])
    assert read.rows == read_rows([tmp_path / "a", tmp_path / "b"]).rows
    assert len(read.rows) == 10
    assert not read.problems
    assert read.folders[first[0]["experiment"]] == tmp_path / "a" / "experiments" / first[0]["experiment"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2 is not the schema .* update milsurv"),
        ({"model": None}, "model is None; expected text"),
        ({"cohort": ""}, "cohort is ''; expected text"),
        ({"status": "done"}, "status is 'done'; expected one of finished, failed, running"),
        ({"fold": 5}, "fold is 5, yet n_folds is 5"),
        ({"fold": True}, "fold is True; expected a whole number"),
        ({"synthetic": 0}, "synthetic is 0; expected true or false"),
        ({"hyperparameters": "[]"}, "hyperparameters is not the JSON text of an object"),
        ({"labels_fingerprint": None}, "labels_fingerprint is None"),
        ({"c_index_best": 1.2}, "c_index_best is 1.2; expected a number between 0 and 1"),
        ({"c_index_selected": "0.6"}, "c_index_selected is '0.6'"),
        ({"seconds": -1}, "seconds is -1"),
        ({"error": 7}, "error is 7; expected text or null"),
    ],
)
def test_a_row_that_breaks_the_schema_is_refused_with_the_key(changes, message):
    with pytest.raises(RowError, match=message):
        parse_row(make.row() | changes)


@pytest.mark.parametrize("key", ["model", "fold", "backbone", "c_index_selected", "patients", "folds_fingerprint"])
def test_a_missing_key_is_named(key):
    row = make.row()
    del row[key]
    with pytest.raises(RowError, match=f"{key} is missing"):
        parse_row(row)


def test_a_failed_fold_needs_no_metrics(tmp_path):
    row = {key: value for key, value in make.row().items() if not key.startswith(("c_index", "labels", "patients"))}
    assert parse_row(row | {"status": "failed", "error": "no memory"}).error == "no memory"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": NaN}', "[" * 100_000, "\udcff"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RowError, match=r"result\.json.*run .*again"):
        read_row(path)


def test_damaged_files_are_listed_and_the_rest_is_ranked(tmp_path):
    make.write(tmp_path, make.experiment(0.1))
    damaged = make.write(tmp_path, make.experiment(0.1, model="dsmil", missing=(1, 2, 3, 4))) / "fold-0" / "result.json"
    damaged.write_text("{")
    read = read_rows(tmp_path)
    assert len(read.rows) == 5
    assert [problem.where for problem in read.problems] == [damaged.relative_to(tmp_path).as_posix()]


def test_an_experiment_without_any_result_is_listed(tmp_path):
    folder = tmp_path / "experiments" / "abcdef0123"
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text("{}")
    copy = tmp_path / "mlflow-artifacts" / "0123" / "artifacts"  # a tracking store's copy
    copy.mkdir(parents=True)
    (copy / "experiment.json").write_text("{}")
    make.write(tmp_path, make.experiment(0.1))
    (problem,) = read_rows(tmp_path).problems
    assert problem.where == "experiments/abcdef0123"
    assert "no fold of it has a result" in problem.message


def test_the_same_row_twice_counts_once(tmp_path):
    make.write(tmp_path / "a", make.experiment(0.1))
    make.write(tmp_path / "b", make.experiment(0.1))
    read = read_rows([tmp_path / "a", tmp_path / "b"])
    assert len(read.rows) == 5
    assert not read.problems


def test_of_two_different_rows_for_one_fold_the_later_is_kept_and_the_clash_listed(tmp_path):
    make.write(tmp_path / "a", [make.row(created="2026-02-01", c_index_selected=0.7)])
    make.write(tmp_path / "b", [make.row(created="2026-01-01", c_index_selected=0.6)])
    for order in (["a", "b"], ["b", "a"]):
        read = read_rows([tmp_path / name for name in order])
        assert [row.score("c_index_selected") for row in read.rows] == [0.7]
        assert "a second, different row" in read.problems[0].message


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(RowError, match="no such folder"):
        read_rows(tmp_path / "nowhere")


# Ranking


def test_mean_and_sample_sd_are_over_folds():
    values = [0.60, 0.62, 0.58, 0.66, 0.64]
    line = only([make.row(fold, c_index_selected=value) for fold, value in enumerate(values)])
    assert line.selected.mean == pytest.approx(np.mean(values))
    assert line.selected.sd == pytest.approx(np.std(values, ddof=1))


def test_seeds_are_one_line_and_are_averaged_within_folds_first():
    values = np.array([[0.60, 0.70, 0.65], [0.64, 0.60, 0.65]])
    rows = [
        make.row(fold, n_folds=3, seed=seed, experiment=f"e{seed}", c_index_selected=values[seed, fold])
        for seed in (0, 1)
        for fold in range(3)
    ]
    line = only(rows)
    assert line.seeds == (0, 1)
    assert line.selected.mean == pytest.approx(values.mean())
    assert line.selected.sd == pytest.approx(values.mean(axis=0).std(ddof=1))


def test_the_best_epoch_on_the_test_fold_does_not_move_the_ranking():
    honest = make.experiment(0.12, optimism=0.0, model="abmil")
    boastful = make.experiment(0.05, optimism=0.3, model="dsmil")
    (board,) = make.boards(boastful + honest)
    first, second = board.rankings[0].lines
    assert (first.model, first.rank, second.model, second.rank) == ("abmil", 1, "dsmil", 2)
    assert second.spreads["c_index_best"].mean > first.spreads["c_index_best"].mean
    assert second.gap == pytest.approx(second.spreads["c_index_best"].mean - second.selected.mean)


def test_lines_that_tie_share_a_rank():
    rows = [make.row(fold, model=model, experiment=model) for fold in range(5) for model in ("a", "b")]
    rows += [make.row(fold, model="c", experiment="c", c_index_selected=0.5) for fold in range(5)]
    assert [line.rank for line in make.boards(rows)[0].rankings[0].lines] == [1, 1, 3]


@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_is_irrelevant(order: random.Random):
    rows = [
        *make.experiment(0.10, model="abmil", seed=0),
        *make.experiment(0.11, model="abmil", seed=1),
        *make.experiment(0.09, model="dsmil", missing=(2,)),
        *make.experiment(0.20, model="dsmil", synthetic=True),
        *make.experiment(0.12, model="transmil", folds_fingerprint="other"),
    ]
    expected = make.boards(rows)
    order.shuffle(rows)
    assert make.boards(rows) == expected


def test_synthetic_rows_have_a_board_of_their_own_that_says_so():
    real, synthetic = make.boards(make.experiment(0.1) + make.experiment(0.3, synthetic=True, oracle_c_index=0.85))
    assert (real.title, synthetic.title) == ("blca", "blca (synthetic)")
    assert len(real.rankings[0].lines) == len(synthetic.rankings[0].lines) == 1
    assert "simulated, not measured" in synthetic.notes[0]
    assert synthetic.rankings[0].lines[0].spreads["oracle_c_index"].mean == pytest.approx(0.85)


@pytest.mark.parametrize(("key", "word"), [("labels_fingerprint", "labels"), ("folds_fingerprint", "folds")])
def test_other_labels_or_folds_are_another_table_and_a_note_says_why(key, word):
    (board,) = make.boards(make.experiment(0.1) + make.experiment(0.2, model="dsmil", **{key: "another"}))
    assert [len(ranking.lines) for ranking in board.rankings] == [1, 1]
    assert f"do not share the same {word} " in board.notes[0]


@pytest.mark.parametrize("apart", [{"patients": 372}, {"events": 168}, {"slides": "slide"}, {"slides": "mean-risk"}])
def test_lines_scored_on_other_patients_or_slides_are_never_ranked_together(apart):
    (board,) = make.boards(make.experiment(0.1) + make.experiment(0.2, model="dsmil", **apart))
    assert [len(ranking.lines) for ranking in board.rankings] == [1, 1]
    assert "They are ranked in 2 separate tables" in board.notes[0]


def test_the_hyperparameters_that_differ_tell_lines_apart():
    rows = make.experiment(0.1, hyperparameters='{"dropout": 0.25, "embed_dim": 64}')
    rows += make.experiment(0.2, hyperparameters='{"embed_dim": 64, "dropout": 0.5}')
    rows += make.experiment(0.1, model="dsmil", hyperparameters='{"dropout": 0.1}')
    labels = {line.label for line in make.boards(rows)[0].rankings[0].lines}
    assert labels == {"abmil (dropout=0.25)", "abmil (dropout=0.5)", "dsmil"}


def test_the_order_of_hyperparameters_is_no_difference():
    rows = make.experiment(0.1, seed=0, hyperparameters='{"a": 1, "b": 2}')
    rows += make.experiment(0.1, seed=1, hyperparameters='{"b": 2, "a": 1}')
    assert only(rows).seeds == (0, 1)


def test_one_seed_twice_is_never_averaged():
    rows = make.experiment(0.1, experiment="first") + make.experiment(0.2, experiment="second")
    lines = make.boards(rows)[0].rankings[0].lines
    assert [line.label for line in lines] == ["abmil (experiment second)", "abmil (experiment first)"]


def test_other_features_are_another_line():
    rows = make.experiment(0.1, seed=0) + make.experiment(0.1, seed=1, features_fingerprint="features-other")
    assert len(make.boards(rows)[0].rankings[0].lines) == 2


def test_incomplete_experiments_are_not_ranked_and_say_why():
    rows = make.experiment(0.1, missing=(3,))
    rows[0] |= {"status": "failed", "error": "out of memory"}
    rows[1] |= {"c_index_selected": None, "why_c_index_selected": "nobody died in this fold"}
    rows[2] |= {"status": "running"}
    (board,) = make.boards(rows)
    assert not board.rankings
    (item,) = board.incomplete
    assert (item.finished, item.row.n_folds, item.missing) == (1, 5, (0, 1, 2, 3))
    assert item.reasons == (
        "fold 0: failed: out of memory",
        "fold 1: finished without a C-index: nobody died in this fold",
        "fold 2: still running, or interrupted",
        "fold 3: not run",
    )


def test_folds_of_one_experiment_that_disagree_are_not_ranked():
    rows = make.experiment(0.1)
    rows[3] |= {"labels_fingerprint": "another"}
    (board,) = make.boards(rows)
    assert not board.rankings
    assert "disagree on labels_fingerprint" in board.incomplete[0].reasons[0]


def test_a_metric_that_some_folds_lack_says_of_how_many_folds_it_is_the_mean():
    rows = make.experiment(0.1, uno_c_selected=0.6)
    rows[4] |= {"uno_c_selected": None, "why_uno_c_selected": "too few deaths"}
    line = only(rows)
    assert (line.spreads["uno_c_selected"].n, line.spreads["uno_c_selected"].of) == (4, 5)
    sheet = tables(make.boards(rows), wide=True)[0]
    assert sheet.rows[0][sheet.columns.index("Uno's C")] == "0.600 (4 of 5 folds)"


def test_a_single_fold_has_no_spread():
    line = only([make.row(n_folds=1)])
    assert line.selected.sd is None


def test_no_optimism_is_claimed_from_fewer_folds():
    rows = make.experiment(0.1)
    rows[0] |= {"c_index_best": None}
    assert only(rows).gap is None


def test_a_baseline_without_features_or_loss_is_ranked():
    nothing = dict.fromkeys(["family", "scales", "backbone", "loss", "recipe", "slides", "features_fingerprint"])
    line = only(make.experiment(0.05, model="random", parameters=None, **nothing))
    assert line.rank == 1


# Text


def test_the_csv_holds_the_unrounded_numbers():
    rows = make.experiment(0.1) + make.experiment(0.1, model="dsmil", missing=(0,))
    ranked, incomplete = csv.DictReader(io.StringIO(table_csv(make.boards(rows))))
    assert float(ranked["c_index_selected_mean"]) == only(make.experiment(0.1)).selected.mean
    assert (ranked["status"], ranked["rank"]) == ("ranked", "1")
    assert (incomplete["status"], incomplete["missing"], incomplete["rank"]) == ("incomplete", "0", "")
    assert json.loads(ranked["hyperparameters"])["dropout"] == 0.25


NASTY = "a|b_c*d `x` <b>&\n# [y](z) ~"


def test_markdown_keeps_names_as_text():
    text = markdown(make.boards(make.experiment(0.1, model=NASTY, cohort="mine")))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1  # every row has as many cells
    assert "<b>" not in text
    assert escape("x_y|z") == r"x\_y\|z"
    assert escape("a<b>&c") == "a&lt;b&gt;&amp;c"


@given(st.text())
def test_no_text_opens_a_tag_or_a_cell_of_markdown(text):
    shown = escape(text)
    assert not {"<", ">", "\n"} & set(shown)
    assert "|" not in shown.replace("\\\\", "").replace(r"\|", "")


def test_latex_keeps_names_as_text():
    text = latex(make.boards(make.experiment(0.1, model="50%_\\input{x} & $5 #1~^")))
    assert r"50\%\_\textbackslash{}input\{x\} \& \$5 \#1\textasciitilde{}\textasciicircum{}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert latex_escape("a\nb") == "a b"


def test_latex_comments_cannot_be_broken_out_of():
    rows = make.experiment(0.1, missing=(0,))
    rows[0] |= {"status": "failed", "error": "line one\n\\input{secret}"}
    assert all(line.startswith("%") for line in latex(make.boards(rows)).splitlines() if "secret" in line)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "\N{EN DASH}"), (832, "832"), (45_100, "45.1k"), (3_211_000, "3.21M")]
)
def test_counts_are_shortened(value, text):
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "\N{EN DASH}"), (0.0412, "+0.041"), (-0.0301, "\N{MINUS SIGN}0.030"), (-0.0001, "0.000")]
)
def test_differences_show_their_sign(value, text):
    assert signed(value) == text


# Predictions


def test_predictions_are_read_as_written(tmp_path):
    table = make.predictions(make.experiment(0.1), patients=40)
    path = tmp_path / "predictions.csv"
    table.to_csv(path, index=False)
    read = read_predictions(path)
    assert read["event"].dtype == bool
    assert read["risk"].to_numpy() == pytest.approx(table["risk"].to_numpy())


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("time", 0.0, "line 5, time is '0.0'; expected a number above 0"),
        ("risk", "much", "line 5, risk is 'much'"),
        ("event", "maybe", "line 5, event is 'maybe'; expected 0 or 1"),
        ("risk_group", "middle", "line 5, risk_group is 'middle'; expected high, low or nothing"),
        ("risk_group", None, "column risk_group is missing"),
    ],
)
def test_predictions_that_cannot_be_are_refused(tmp_path, column, value, message):
    table = make.predictions(make.experiment(0.1), patients=40).astype({column: object}).reset_index(drop=True)
    table.loc[3, column] = value
    path = tmp_path / "predictions.csv"
    (table.drop(columns=column) if value is None else table).to_csv(path, index=False)
    with pytest.raises(RowError, match=message):
        read_predictions(path)
