"""A board from the cache is the board: the same bytes, and never the bytes of other rows."""

import json
import os
import time

import leaderboard_rows as make
import pytest
from milsurv.leaderboards.cache import store
from milsurv.leaderboards.cache.store import DAYS, Cache, user_cache
from milsurv.leaderboards.publish import gather, publish, write
from milsurv.leaderboards.ranking import cached_evidence, patient_influence
from milsurv.leaderboards.ranking.cached_evidence import with_cached_evidence
from milsurv.leaderboards.ranking.comparisons import with_evidence
from milsurv.leaderboards.ranking.published_evidence import NO_EVIDENCE


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


def test_a_board_from_the_cache_has_the_same_bytes(results, tmp_path):
    cache = Cache(tmp_path / "cache")
    fresh = texts(publish(results, tmp_path / "a"))
    assert texts(publish(results, tmp_path / "b", cache)) == fresh
    assert texts(publish(results, tmp_path / "c", cache)) == fresh


def test_nothing_is_computed_twice(results, tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache")
    publish(results, tmp_path / "a", cache)

    def again(*_):
        raise AssertionError("computed again")

    for name in ("risk_group_curves", "evidence"):
        monkeypatch.setattr(cached_evidence, name, again)
    monkeypatch.setattr("milsurv.leaderboards.render.page.group_curve_plots.plot", again)
    monkeypatch.setattr("milsurv.leaderboards.render.page.board_views.forest", again)
    monkeypatch.setattr("milsurv.leaderboards.cache.predictions.read_predictions", again)
    write(gather(results, cache=cache), tmp_path / "b", cache)


def test_one_more_line_is_computed_alone(results, tmp_path, monkeypatch):
    cache, computed, influences = Cache(tmp_path / "cache"), [], patient_influence.influences
    publish(results, tmp_path / "a", cache)
    rows = make.experiment(0.1, model="third", patients=60)
    table = make.predictions(rows, 60, noise=7)
    make.write(results, make.agreeing(rows, table), table)

    def counted(time, event, risks, *rest):
        computed.append(len(risks))
        return influences(time, event, risks, *rest)

    monkeypatch.setattr(patient_influence, "influences", counted)
    after = texts(publish(results, tmp_path / "b", cache))
    assert computed == [3], "three readings of one experiment"
    assert after == texts(publish(results, tmp_path / "c"))


def test_the_same_experiment_among_other_patients_is_another_line(results, tmp_path):
    cache = Cache(tmp_path / "cache")
    found = gather(results, evidence=False)
    with_cached_evidence(found.boards, found.predictions, NO_EVIDENCE, cache)
    moved = {name: table.assign(time=table["time"] + 12) for name, table in found.predictions.items()}
    moved = dict([*found.predictions.items()][:1] + [*moved.items()][1:])
    expected = with_evidence(found.boards, moved)
    assert with_cached_evidence(found.boards, moved, NO_EVIDENCE, cache) == expected
    assert len(expected[0].rankings[0].evidence.left_out) == 1


def test_a_value_is_computed_again_when_any_file_of_the_code_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "__file__", str(tmp_path / "code" / "store.py"))
    monkeypatch.setattr(store, "_code", store._code.__wrapped__)  # read anew each time
    cache, path = Cache(tmp_path / "cache"), tmp_path / "code" / "ranking" / "comparisons.py"
    path.parent.mkdir(parents=True)
    found = []
    for code, value in (("old", 1), ("new", 2), ("old", 3)):
        path.write_text(code)
        found.append(cache.get(int, "number", list, lambda value=value: value))
    assert found == [1, 2, 1]


@pytest.mark.parametrize("change", ["a risk", "a row"])
def test_other_rows_or_predictions_are_another_board(results, tmp_path, change):
    cache = Cache(tmp_path / "cache")
    before = texts(publish(results, tmp_path / "a", cache))
    (home, *_) = sorted((results / "experiments").iterdir())
    if change == "a risk":
        path = home / "predictions.csv"
        head, first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([head, first.replace("high", "low") if "high" in first else first, *rest[:-1]]))
    else:
        path = home / "fold-0" / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"c_index_selected": 0.9}))
    after = texts(publish(results, tmp_path / "b", cache))
    assert after["html"] != before["html"]
    assert after == texts(publish(results, tmp_path / "c"))


def test_evidence_comes_back_to_the_last_bit(results, tmp_path):
    cache = Cache(tmp_path / "cache")
    found = gather(results, evidence=False)
    expected = with_evidence(found.boards, found.predictions)
    for _ in range(2):
        assert with_cached_evidence(found.boards, found.predictions, NO_EVIDENCE, cache) == expected


def test_a_damaged_file_is_a_problem_every_time(results, tmp_path):
    cache = Cache(tmp_path / "cache")
    (home, *_) = sorted((results / "experiments").iterdir())
    (home / "predictions.csv").write_text("patient,fold\nx,0\n")
    first, second = (publish(results, tmp_path / name, cache).problems for name in "ab")
    assert "column reading, time, event, risk, risk_group is missing" in first[0].message
    assert first == second


@pytest.mark.parametrize("fault", ["damaged", "a file"])
def test_a_cache_that_cannot_be_used_only_costs_time(results, tmp_path, fault):
    cache = Cache(tmp_path / "cache")
    fresh = texts(publish(results, tmp_path / "a"))
    if fault == "damaged":
        publish(results, tmp_path / "b", cache)
        for path in cache.folder.iterdir():
            path.write_text("{")
    else:
        cache.folder.write_text("in the way")
    assert texts(publish(results, tmp_path / "c", cache)) == fresh


def test_what_no_board_needs_is_removed(results, tmp_path):
    cache = Cache(tmp_path / "cache")
    publish(results, tmp_path / "a", cache)
    before = len(list(cache.folder.iterdir()))
    stale = cache.folder / "evidence-0123.json"
    stale.write_text("{}")
    past = time.time() - (DAYS + 1) * 86_400
    os.utime(stale, (past, past))
    publish(results, tmp_path / "b", cache)
    assert len(list(cache.folder.iterdir())) == before


def test_where_the_cache_lies_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("MILSURV_CACHE", "")
    assert user_cache().folder is None
    monkeypatch.setenv("MILSURV_CACHE", str(tmp_path))
    assert user_cache().folder == tmp_path / "boards"
    monkeypatch.delenv("MILSURV_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache().folder == tmp_path / "milsurv" / "boards"
