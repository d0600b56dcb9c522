"""A board from memory is the board: the same bytes, and never the bytes of other rows."""

import importlib.util
import json
import os
import time
from pathlib import Path

import pytest
from milsurv.leaderboards import cached_evidence as recalled
from milsurv.leaderboards.cache import store as memory
from milsurv.leaderboards.cache.store import DAYS, Memory, user_cache
from milsurv.leaderboards.publish import gather, publish
from milsurv.leaderboards.ranking.comparisons import judged
from milsurv.leaderboards.ranking.published_evidence import NO_EVIDENCE

_spec = importlib.util.spec_from_file_location("leaderboard_rows", Path(__file__).with_name("leaderboard_rows.py"))
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    for number, model in enumerate(("abmil", "dsmil")):
        rows = make.experiment(0.1, model=model, patients=60)
        table = make.predictions(rows, 60, hazard=1 + number, noise=number)
        make.write(folder, make.agreeing(rows, table), table)
    return folder


def texts(published):
    return {kind: path.read_bytes() for kind, path in published.paths.items()}


def test_a_board_from_memory_has_the_same_bytes(results, tmp_path):
    memory = Memory(tmp_path / "memory")
    fresh = texts(publish(results, tmp_path / "a"))
    assert texts(publish(results, tmp_path / "b", memory)) == fresh
    assert texts(publish(results, tmp_path / "c", memory)) == fresh


def test_nothing_is_reckoned_twice(results, tmp_path, monkeypatch):
    memory = Memory(tmp_path / "memory")
    publish(results, tmp_path / "a", memory)

    def again(*_):
        raise AssertionError("reckoned again")

    for name in ("curves_of", "plot"):
        monkeypatch.setattr(recalled, name, again)
    monkeypatch.setattr("milsurv.leaderboards.cache.predictions.read_predictions", again)
    found = gather(results, judge=False, memory=memory)
    recalled.judged(found.boards, found.predictions, memory, judge=again, also=NO_EVIDENCE.text)
    recalled.plots(found.boards, found.predictions, memory)


def test_a_value_is_forgotten_when_any_file_of_the_code_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "__file__", str(tmp_path / "code" / "memory.py"))
    monkeypatch.setattr(memory, "_code", memory._code.__wrapped__)  # read anew each time
    kept, path = Memory(tmp_path / "memory"), tmp_path / "code" / "ranking" / "comparisons.py"
    path.parent.mkdir(parents=True)
    found = []
    for code, value in (("old", 1), ("new", 2), ("old", 3)):
        path.write_text(code)
        found.append(kept.recall("number", [], lambda value=value: value))
    assert found == [1, 2, 1]


@pytest.mark.parametrize("change", ["a risk", "a row"])
def test_other_rows_or_predictions_are_another_board(results, tmp_path, change):
    memory = Memory(tmp_path / "memory")
    before = texts(publish(results, tmp_path / "a", memory))
    (home, *_) = sorted((results / "experiments").iterdir())
    if change == "a risk":
        path = home / "predictions.csv"
        head, first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([head, first.replace("high", "low") if "high" in first else first, *rest[:-1]]))
    else:
        path = home / "fold-0" / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"c_index_selected": 0.9}))
    after = texts(publish(results, tmp_path / "b", memory))
    assert after["html"] != before["html"]
    assert after == texts(publish(results, tmp_path / "c"))


def test_evidence_comes_back_to_the_last_bit(results, tmp_path):
    memory = Memory(tmp_path / "memory")
    found = gather(results, judge=False)
    expected = judged(found.boards, found.predictions)
    assert recalled.judged(found.boards, found.predictions, memory) == expected
    assert recalled.judged(found.boards, found.predictions, memory) == expected


def test_a_damaged_file_is_a_problem_every_time(results, tmp_path):
    memory = Memory(tmp_path / "memory")
    (home, *_) = sorted((results / "experiments").iterdir())
    (home / "predictions.csv").write_text("patient,fold\nx,0\n")
    said = [publish(results, tmp_path / name, memory).problems for name in "ab"]
    assert "column reading, time, event, risk, risk_group is missing" in said[0][0].message
    assert said[0] == said[1]


@pytest.mark.parametrize("fault", ["damaged", "a file"])
def test_a_memory_that_cannot_be_used_only_costs_time(results, tmp_path, fault):
    memory = Memory(tmp_path / "memory")
    fresh = texts(publish(results, tmp_path / "a"))
    if fault == "damaged":
        publish(results, tmp_path / "b", memory)
        for path in memory.folder.iterdir():
            path.write_text("{")
    else:
        memory.folder.write_text("in the way")
    assert texts(publish(results, tmp_path / "c", memory)) == fresh


def test_what_no_board_needs_is_forgotten(results, tmp_path):
    memory = Memory(tmp_path / "memory")
    publish(results, tmp_path / "a", memory)
    kept = len(list(memory.folder.iterdir()))
    stale = memory.folder / "evidence-0123.json"
    stale.write_text("{}")
    past = time.time() - (DAYS + 1) * 86_400
    os.utime(stale, (past, past))
    publish(results, tmp_path / "b", memory)
    assert len(list(memory.folder.iterdir())) == kept


def test_where_the_memory_lies_can_be_said(monkeypatch, tmp_path):
    monkeypatch.setenv("MILSURV_CACHE", "")
    assert user_cache().folder is None
    monkeypatch.setenv("MILSURV_CACHE", str(tmp_path))
    assert user_cache().folder == tmp_path / "boards"
    monkeypatch.delenv("MILSURV_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache().folder == tmp_path / "milsurv" / "boards"
