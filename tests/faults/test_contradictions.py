"""What a result file says is held against the predictions beside it, wherever numbers are shown."""

import csv
import io
import json

import leaderboard_rows as make
import pytest
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.run import Quiet, run
from milsurv.errors import Remark, RowError
from milsurv.leaderboards.cache.store import Cache
from milsurv.leaderboards.entries.submission import select
from milsurv.leaderboards.publish import gather, publish
from milsurv.leaderboards.render.spreadsheets import harmless


@pytest.fixture
def two_models(tmp_path):
    """Two models whose rows agree with their predictions, by the name of the better one's first row."""
    for number, model in enumerate(("abmil", "dsmil")):
        rows = make.experiment(0.1, model=model, patients=60)
        table = make.predictions(rows, 60, hazard=1 + number, noise=number)
        home = make.write(tmp_path / "results", make.agreeing(rows, table), table)
    return tmp_path / "results", home


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("reading", ["selected", "last", "best"])
def test_a_c_index_that_was_edited_in_a_result_file_is_listed_apart_and_never_ranked(two_models, tmp_path, reading):
    results, home = two_models
    assert [line.model for line in gather(results).boards[0].rankings[0].lines] == ["dsmil", "abmil"]
    edit(home / "fold-1" / "result.json", **{f"c_index_{reading}": 0.99})
    for cache in (Cache(), Cache(tmp_path / "cache"), Cache(tmp_path / "cache")):
        found = gather(results, cache=cache)
        assert [line.model for line in found.boards[0].rankings[0].lines] == ["abmil"]
        (problem,) = found.problems
        assert problem.where == home.name and f"c_index_{reading} of fold 1 is 0.9900" in problem.message
    assert "is not ranked" in publish(results, tmp_path / "pages").paths["md"].read_text()


def test_so_is_that_of_an_entry(entry, edit):
    rows = [json.loads(line) for line in (entry / "rows.jsonl").read_text().splitlines()]
    rows[0]["c_index_selected"] = 0.99
    (entry / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    edit.seal(entry)
    found = gather(entry)
    assert not found.boards
    assert "c_index_selected of fold 0 is 0.9900" in found.problems[0].message


def test_the_fold_of_an_edited_row_is_computed_again_to_the_same_row(results, tmp_path):
    import shutil

    shutil.copytree(results, tmp_path / "out")
    (home,) = (tmp_path / "out" / "experiments").iterdir()
    path = home / "fold-1" / "result.json"
    before = json.loads(path.read_text())
    edit_row = before | {"c_index_selected": 0.99, "ibs_selected": 0.01}
    path.write_text(json.dumps(edit_row))
    request = Request("meanpool", "blca", features_path="synthetic", patients=60, folds=3, settings={"epochs": "1"})
    from dataclasses import replace

    with pytest.warns(Remark, match="result.json is not as it was written; this fold is computed again"):
        run(replace(request, out=tmp_path / "out"), Quiet(), "none")
    after = json.loads(path.read_text())
    assert {k: v for k, v in after.items() if k not in ("created", "seconds", "code_version")} == {
        k: v for k, v in before.items() if k not in ("created", "seconds", "code_version")
    }


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(1)", "@SUM(A1)", "+1+cmd|' /C calc'!A1", "-2+3", "\t=1", "  =1", "\uff1d1"]
)
def test_no_text_is_a_formula_in_a_spreadsheet(text):
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-0.25", "+1", "1e-5", "-1.5E+3", "abmil", "", "nan", "-inf", "a=b"])
def test_numbers_and_names_stay_as_they_are(text):
    assert harmless(text) == text


def test_a_model_named_like_a_formula_is_text_on_every_page(tmp_path):
    rows = make.experiment(0.1, model="=HYPERLINK(1)", patients=60, recipe="@SUM(A1)", backbone="-2+3")
    table = make.predictions(rows, 60)
    make.write(tmp_path / "results", make.agreeing(rows, table), table)
    paths = publish(tmp_path / "results", tmp_path / "pages").paths
    cells = [cell for line in csv.reader(io.StringIO(paths["csv"].read_text())) for cell in line]
    cells += [cell.strip() for line in paths["md"].read_text().splitlines() for cell in line.split("|")]
    cells += [cell.strip() for line in paths["tex"].read_text().splitlines() for cell in line.split("&")]
    assert any("HYPERLINK" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+")) or cell.startswith("-2+")]


@pytest.mark.parametrize("text", ['{"settled": 3}', '{"id_fields": [1]}', "[]", "null", '{"settled": "x"}'])
def test_a_description_that_is_no_object_is_a_line(two_models, text):
    results, home = two_models
    for folder in results.glob("experiments/*"):
        (folder / "experiment.json").write_text("{}")
    (home / "experiment.json").write_text(text)
    with pytest.raises(RowError, match=rf"{home.name}/experiment.json: cannot be read"):
        select([results], with_patients=True)


def test_other_json_in_the_cache_is_not_taken_for_a_value(two_models, tmp_path):
    results, _ = two_models
    cache, fresh = Cache(tmp_path / "cache"), publish(results, tmp_path / "a").paths["html"].read_bytes()
    publish(results, tmp_path / "b", cache)
    files = sorted((tmp_path / "cache").glob("*.json"))
    texts = [path.read_bytes() for path in files]
    for path, other in zip(files, texts[1:] + texts[:1], strict=True):
        path.write_bytes(other.replace(b"1", b"2"))
    assert publish(results, tmp_path / "c", cache).paths["html"].read_bytes() == fresh


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [("survival_1", "abc", "a number from 0 to 1"), ("survival_1", "1.5", "a number from 0 to 1"),
     ("fold", "inf", "a whole number"), ("fold", "0.5", "a whole number"), ("risk", "nan", "a number")],
)  # fmt: skip
def test_text_in_a_cell_of_predictions_is_named_by_line(entry, edit, column, value, expected):
    header, *lines = edit.lines(entry)
    at = header.split(",").index(column)
    cells = lines[3].split(",")
    lines[3] = ",".join([*cells[:at], value, *cells[at + 1 :]])
    edit.save(entry, [header, *lines])
    (problem,) = gather(entry).problems
    assert f"line 5, {column} is" in problem.message and expected in problem.message
