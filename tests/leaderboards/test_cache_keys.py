"""What is cached of a board is found again by all that it follows from, and by nothing less."""

import json
from pathlib import Path

import leaderboard_rows as make
import pytest
from milsurv.leaderboards.cache import store


@pytest.fixture
def board(bench, monkeypatch, tmp_path):
    """`board(out, cached)`: the page of `tmp_path / "results"`, with the cache of this test or without any."""

    def call(out: str, cached: bool = True) -> bytes:
        monkeypatch.setenv("MILSURV_CACHE", str(tmp_path / "cache") if cached else "")
        status, _, err = bench("leaderboard", tmp_path / "results", "--out", tmp_path / out)
        assert status == 0, err
        return (tmp_path / out / "leaderboard.html").read_bytes()

    return call


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_row_that_changes_without_moving_a_rank_is_judged_again(board, tmp_path):
    means = {}
    for number, model in enumerate(("abmil", "dsmil")):
        rows = make.experiment(0.1, model=model, patients=60)
        table = make.predictions(rows, 60, hazard=6.0 if number else -6.0, noise=number)
        rows = make.agreeing(rows, table)
        home = make.write(tmp_path / "results", rows, table)
        means[sum(row["c_index_selected"] for row in rows)] = home / "fold-0" / "result.json"
    first = board("first")
    leader = means[max(means)]
    # A little higher, so that the order stays; but the predictions do not give this number any more.
    change(leader, c_index_selected=json.loads(leader.read_text())["c_index_selected"] + 0.01)
    fresh = board("fresh", cached=False)
    assert b"is not ranked" in fresh and b"is not ranked" not in first
    assert board("cached") == fresh


@pytest.mark.parametrize("library", ["numpy", "scipy", "pandas", "matplotlib"])
def test_another_version_of_a_library_that_computes_boards_is_another_key(monkeypatch, library):
    now, true = store._code.__wrapped__(), store.version
    monkeypatch.setattr(store, "version", lambda name: "another" if name == library else true(name))
    assert store._code.__wrapped__() != now
