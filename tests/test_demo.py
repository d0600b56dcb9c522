"""The demo: the whole way from slides to a board, which learns, says what is true, and goes on where it stopped."""

import json
import time
from pathlib import Path

import pytest
from milsurv.benchmark.cli.main import app
from milsurv.datasets.features.opening import open_features
from typer.testing import CliRunner


def demo(out: Path) -> dict:
    arguments = ["demo", "--out", str(out), "--patients", "24", "--area", "0.12", "--tracking", "none", "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_the_demo_learns_from_pixels_and_typed_again_skips_what_is_done(tmp_path: Path) -> None:
    start = time.process_time()
    found = demo(tmp_path)
    first = time.process_time() - start
    assert (found["patients"], found["slides"], found["events"]) == (24, 26, 17)
    assert found["oracle"] > 0.85
    assert found["c_index"]["abmil"] > 0.5 + found["chance"]
    assert found["c_index"]["crossfusion"] > 0.5
    assert (tmp_path / "results" / "leaderboard" / "leaderboard.html").is_file()
    reader = open_features(tmp_path / "data" / "demo" / "features")
    assert reader.synthetic
    assert reader.magnifications == (5, 10, 20)
    start = time.process_time()
    assert demo(tmp_path) == found
    assert time.process_time() - start < first / 3
