"""Other people's predictions become rows only after they were checked against labels and folds."""

import csv
import gzip
import json

import numpy as np
import pytest
from checkout import SHARED
from milsurv.benchmark.external.prediction_table import read_foreign
from milsurv.benchmark.external.predictions import check, folds_of, import_checked, labels_of
from milsurv.benchmark.run import Quiet
from milsurv.errors import DataError
from milsurv.leaderboards.publish import gather, publish
from milsurv.leaderboards.result_row import parse_row
from milsurv.survival.concordance import c_index
from typer.testing import CliRunner

PUBLISHED = SHARED / "data" / "published"


def patients(n=60, seed=0):
    """Rows as dicts: two folds, times with a truth behind them."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    death, censored = rng.exponential(30 * np.exp(-truth)) + 0.5, rng.exponential(40, n) + 0.5
    return [
        {
            "patient": f"TCGA-AA-{i:04d}",
            "fold": i % 2,
            "risk": float(truth[i] + rng.normal()),
            "time": round(float(min(death[i], censored[i])), 2),
            "event": int(death[i] <= censored[i]),
        }
        for i in range(n)
    ]


def write(path, rows, columns=None):
    columns = columns or list(rows[0])
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def imported(checked, model, out):
    with Quiet().computing("", 0) as watcher:
        return import_checked(checked, model, out, "", watcher)


def taken(path, model="theirs", cohort="blca", out=None):
    table = read_foreign(path, model, cohort)
    return imported(check(table, labels_of(table, cohort), folds_of(table)), model, out or path.parent / "out")


def c_indices(made):
    return [row.score("c_index_selected") for row in made.rows]


def test_a_file_that_carries_everything_needs_nothing_else(tmp_path):
    rows = patients()
    made = taken(write(tmp_path / "p.csv", rows))
    for fold in made.rows:
        mine = [row for row in rows if row["fold"] == fold.fold]
        expected = c_index(*([row[key] for row in mine] for key in ("time", "event", "risk")))
        assert fold.score("c_index_selected") == pytest.approx(expected, abs=1e-12)
        assert (fold.n_test, fold.events_test) == (len(mine), sum(row["event"] for row in mine))
    assert made.mean("c_index_selected") == pytest.approx(np.mean(c_indices(made)))


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz"])
def test_other_names_of_the_columns_mean_the_same(tmp_path, name):
    rows = patients()
    plain = c_indices(taken(write(tmp_path / "plain.csv", rows)))
    for row in rows:
        row |= {"case_id": row["patient"] + "-01Z-00-DX1", "survival_months": row["time"], "censored": 1 - row["event"]}
        row |= {"model": "theirs", "cohort": "BLCA"}
    decoys = [row | {"model": "other", "risk": 0.0} for row in rows]
    columns = ["model", "cohort", "fold", "case_id", "risk", "survival_months", "censored"]
    assert c_indices(taken(write(tmp_path / name, decoys + rows, columns))) == plain


def test_rows_are_ordinary_and_marked(tmp_path):
    made = taken(write(tmp_path / "p.csv", patients()))
    for row in made.rows:
        assert parse_row(row.to_json()) == row and row.family == "imported"
        assert row.score("c_index_last") is None
        assert "one epoch" in row.reasons["c_index_last"]
    (board,) = gather(tmp_path / "out").boards
    assert board.rankings[0].lines[0].experiments == (made.experiment.id,)
    done = publish(tmp_path / "out", tmp_path / "board")
    assert not done.problems
    page = done.paths["html"].read_text()
    assert page.count("everything at last, everything at best") == 1
    assert ">imported<" in page


def test_the_id_follows_the_predictions_and_nothing_else(tmp_path):
    rows = patients()
    first = taken(write(tmp_path / "a.csv", rows))
    assert taken(write(tmp_path / "b.csv.gz", rows[::-1])).experiment.id == first.experiment.id
    rows[0]["risk"] += 1e-9
    assert taken(write(tmp_path / "c.csv", rows)).experiment.id != first.experiment.id


def test_importing_twice_leaves_the_files_as_they_are(tmp_path):
    path = write(tmp_path / "p.csv", patients())
    folder = tmp_path / "out" / "experiments" / taken(path).experiment.id
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    (folder / "fold-1" / "result.json").write_text("{")
    taken(path)
    assert json.loads((folder / "fold-1" / "result.json").read_text())["fold"] == 1
    taken(path)
    assert set(before) == {file for file in folder.rglob("*") if file.is_file()}


def test_survival_columns_give_a_brier_score_and_their_absence_a_reason(tmp_path):
    rows = patients()
    assert "no survival probabilities" in taken(write(tmp_path / "a.csv", rows)).rows[0].reasons["ibs_selected"]
    for row in rows:
        row |= {"survival_at_12": 0.9, "survival_at_60": 0.4, "risk_group": "high" if row["risk"] > 0 else "low"}
    made = taken(write(tmp_path / "b.csv", rows))
    assert 0 < made.rows[0].score("ibs_selected") < 0.5
    assert made.rows[0].score("logrank_p_selected") is not None


def phantom(rows):
    rows[7] |= {"time": 0, "risk": 0.0, "event": 1}


def negative(rows):
    rows[7] |= {"time": -3}


def twice(rows):
    rows.append(rows[7] | {"fold": 1 - rows[7]["fold"]})


def same_twice(rows):
    rows.append(dict(rows[7]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (phantom, r"1 rows have a time that is not above 0: TCGA-AA-0007 \(fold 1, line 9\)"),
        (negative, "not above 0: TCGA-AA-0007"),
        (twice, "1 patients stand there twice: TCGA-AA-0007"),
        (same_twice, "1 patients stand there twice: TCGA-AA-0007"),
        (lambda rows: rows[7].update(risk="nan"), "risk is not a finite number in 1 rows .line 9: nan"),
        (lambda rows: rows[7].update(risk=""), "risk is not a finite number in 1 rows .line 9: blank"),
        (lambda rows: rows[7].update(fold=0.5), "fold is not a whole number from 0 on"),
        (lambda rows: rows[7].update(event=2), "event is not 0 or 1"),
        (lambda rows: rows[7].update(patient=" "), "patient is blank in lines 9"),
        (lambda rows: [row.update(fold=row["fold"] + 1) for row in rows], "has the folds 1, 2; expected .* numbered 0"),
        (lambda rows: [row.update(fold=0) for row in rows], "at least two"),
    ],
)
def test_what_cannot_be_is_refused_with_the_rows(tmp_path, spoil, message):
    rows = patients()
    spoil(rows)
    with pytest.raises(DataError, match=message):
        taken(write(tmp_path / "p.csv", rows))


def test_missing_columns_and_models_are_named(tmp_path):
    rows = patients()
    with pytest.raises(DataError, match="lacks the column risk"):
        taken(write(tmp_path / "a.csv", rows, ["patient", "fold"]))
    with pytest.raises(DataError, match=r"carries no time and no event.*--labels"):
        taken(write(tmp_path / "b.csv", rows, ["patient", "fold", "risk"]))
    rows = [row | {"model": "AMIL"} for row in rows]
    with pytest.raises(DataError, match="no rows whose model is 'theirs'; it has AMIL"):
        taken(write(tmp_path / "c.csv", rows))
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b"patient,fold,risk\n")[:-6])
    with pytest.raises(DataError, match="not a readable gzip file"):
        taken(tmp_path / "d.csv.gz")


def truth_of(tmp_path, rows):
    table = read_foreign(write(tmp_path / "truth.csv", rows), "theirs", "blca")
    labels = labels_of(table, "blca")
    return labels, folds_of(table)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[7].update(patient="TCGA-ZZ-9999"), r"without a label .*TCGA-ZZ-9999 \(fold 1, line 9\)"),
        (
            lambda rows: rows[7].update(fold=0),
            r"outside their fold .*-0007 \(fold 0, line 9\), tested in fold 1",
        ),
        (lambda rows: rows[7].update(time=rows[7]["time"] + 0.06), "another time than the labels: TCGA-AA-0007"),
        (lambda rows: rows[7].update(event=1 - rows[7]["event"]), "another event than the labels: TCGA-AA-0007"),
        (lambda rows: rows.pop(7), "1 patients of the test sets have no prediction: TCGA-AA-0007"),
    ],
)
def test_what_disagrees_with_labels_or_folds_is_refused_with_the_rows(tmp_path, spoil, message):
    rows = patients()
    labels, folds = truth_of(tmp_path, rows)
    spoil(rows)
    with pytest.raises(DataError, match=message):
        check(read_foreign(write(tmp_path / "p.csv", rows), "theirs", "blca"), labels, folds)


def test_times_rounded_to_two_digits_are_the_same_and_the_labels_decide(tmp_path):
    rows = patients()
    labels, folds = truth_of(tmp_path, rows)
    expected = imported(check(read_foreign(tmp_path / "truth.csv", "m", "blca"), labels, folds), "m", tmp_path / "one")
    for row in rows:
        row["time"] += 0.004
    table = read_foreign(write(tmp_path / "p.csv", rows), "m", "blca")
    assert c_indices(imported(check(table, labels, folds), "m", tmp_path / "two")) == c_indices(expected)


def test_predictions_that_lack_patients_are_ranked_apart(tmp_path):
    rows = patients()
    labels, folds = truth_of(tmp_path, rows)
    whole = check(read_foreign(tmp_path / "truth.csv", "whole", "blca"), labels, folds)
    imported(whole, "whole", tmp_path)
    part = read_foreign(write(tmp_path / "p.csv", rows[1:]), "part", "blca")
    checked = check(part, labels, folds, missing="drop")
    assert checked.dropped == ("TCGA-AA-0000",)
    imported(checked, "part", tmp_path)
    (board,) = gather(tmp_path).boards
    assert sorted((ranking.lines[0].model, ranking.lines[0].patients) for ranking in board.rankings) == [
        ("part", 59),
        ("whole", 60),
    ]


def test_the_command_prints_one_object_and_says_what_is_wrong(tmp_path):
    from milsurv.benchmark.cli.main import app

    path = write(tmp_path / "p.csv", patients())
    words = ["import-predictions", str(path), "--model", "theirs", "--cohort", "blca", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert set(found) == {"model", "cohort", "folds", "mean"}
    assert set(found["folds"][0]) == {"fold", "patients", "events", "c_index"}
    assert (tmp_path / "out" / "leaderboard" / "leaderboard.html").is_file()
    rows = patients()
    phantom(rows)
    write(path, rows)
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert "not above 0" in str(done.exception)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="shared/data is not here")
def test_sixty_published_c_indices_are_reproduced(tmp_path):
    with (PUBLISHED / "mcat-published-cindex.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    published = {(r["model"], r["cohort"], int(r["fold"])): float(r["cindex_published"]) for r in rows}
    assert len(published) == 60
    path = PUBLISHED / "mcat-out-of-fold-risks.csv.gz"
    for model, cohort in sorted({key[:2] for key in published}):
        for row in taken(path, model, cohort, tmp_path).rows:
            assert abs(row.score("c_index_selected") - published[model, cohort, row.fold]) < 1e-6
