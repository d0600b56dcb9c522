"""The demo: the whole way from slides to a board, and on from where it stopped."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from milsurv.benchmark.cli.main import app
from milsurv.benchmark.recipe import RECIPES
from milsurv.datasets.features.opening import open_features
from typer.testing import CliRunner


def demo(out: Path) -> dict:
    arguments = ["demo", "--out", str(out), "--patients", "24", "--area", "0.12", "--tracking", "none", "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_the_demo_goes_all_the_way_and_typed_again_skips_what_is_done(tmp_path: Path, monkeypatch) -> None:
    # Few steps: whether training learns is what tests/benchmark/test_learning.py asks.
    monkeypatch.setitem(RECIPES, "default", replace(RECIPES["default"], steps=30))
    found = demo(tmp_path)
    assert (found["patients"], found["slides"], found["events"]) == (24, 26, 17)
    # Nineteen patients to learn from are too few to ask for skill; docs/demo.md has what the default size reaches.
    assert found["oracle"] > 0.75
    assert found["c_index"].keys() == {"abmil", "crossfusion"}
    assert all(score is not None for score in found["c_index"].values())
    assert 0.1 < found["chance"] < 0.3
    assert (tmp_path / "results" / "leaderboard" / "leaderboard.html").is_file()
    reader = open_features(tmp_path / "data" / "demo" / "features")
    assert reader.synthetic
    assert reader.magnifications == (5, 10, 20)
    before = written(tmp_path)
    assert demo(tmp_path) == found
    assert written(tmp_path) == before


def written(out: Path) -> dict[Path, int]:
    """When slides, features and folds were written."""
    files = [*out.rglob("*.tiff"), *out.rglob("*.h5"), *out.rglob("fold-*/result.json")]
    return {path: path.stat().st_mtime_ns for path in files}
