"""Conversion into our store: the same numbers, whole or not at all, resumable, and honest about bad slides."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import feature_writers as W
import numpy as np
import pytest
from milsurv.benchmark.cli.main import main
from milsurv.datasets.features.convert import convert
from milsurv.datasets.features.opening import open_features
from milsurv.errors import DataError

RNG = np.random.default_rng(0)
COORDS = {m: np.stack([np.arange(n) % 5, np.arange(n) // 5], 1) * W.side(m) for m, n in ((5, 2), (10, 8), (20, 30))}


def write(root: Path, slides: int = 6, name: str = "trident") -> Path:
    for k in range(slides):
        features = {m: RNG.standard_normal((len(c), 24), np.float32) for m, c in COORDS.items()}
        folder = W.WRITERS[name](root, f"s{k}", features, COORDS, "mine")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


@dataclass(frozen=True)
class Ran:
    """What a command said and how it ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs `bench features` in this process."""

    def call(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["bench", "features", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Ran(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.mark.parametrize("name", W.WRITERS)
def test_the_store_holds_what_the_tools_files_hold(tmp_path: Path, name: str) -> None:
    theirs = open_features(write(tmp_path / "theirs", 2, name))
    done = convert(theirs, tmp_path / "store")
    assert (done.written, done.skipped, done.bad) == (["s0", "s1"], [], {})
    ours = open_features(tmp_path / "store")
    assert (ours.layout, ours.slides, ours.dim) == ("store", theirs.slides, theirs.dim)
    for slide in theirs.slides:
        for m in COORDS:
            for a, b in zip(ours.read(slide, m), theirs.read(slide, m), strict=True):
                np.testing.assert_array_equal(a, b)
            a, b = ours.facts(slide)[m].geometry, theirs.facts(slide)[m].geometry
            assert (a.side(m), a.level0_magnification, a.claimed) == (b.side(m), b.level0_magnification, b.claimed)


def test_finished_slides_are_skipped_and_changed_ones_written_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "theirs")
    convert(open_features(folder), tmp_path / "store")
    before = content(tmp_path / "store")
    again = convert(open_features(folder), tmp_path / "store")
    assert (len(again.skipped), again.written) == (6, [])
    features = {m: RNG.standard_normal((len(c), 24), np.float32) for m, c in COORDS.items()}
    W.write_trident(tmp_path / "theirs", "s3", features, COORDS, "mine")
    (tmp_path / "store/s5.h5").write_bytes(before["s5.h5"][:-100])
    third = convert(open_features(folder), tmp_path / "store")
    assert third.written == ["s3", "s5"]
    after = content(tmp_path / "store")
    assert {name for name in after if after[name] != before[name]} == {"s3.h5"}


def test_a_killed_conversion_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    folder = write(tmp_path / "theirs", 40)
    convert(open_features(folder), tmp_path / "whole")
    code = (
        "import sys, time; from milsurv.datasets.features import convert, opening\n"
        "convert.convert(opening.open_features(sys.argv[1]), sys.argv[2], lambda done, total: time.sleep(0.02))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), str(tmp_path / "store")])
    while len(content(tmp_path / "store") if (tmp_path / "store").exists() else {}) < 5:
        time.sleep(0.01)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    half = content(tmp_path / "store")
    assert 5 <= len(half) < 40
    (tmp_path / "store/.s9.0badc0de.partial").write_bytes(b"left by the dead")
    done = convert(open_features(folder), tmp_path / "store")
    assert len(done.skipped) >= len(half) - 1
    assert content(tmp_path / "store") == content(tmp_path / "whole")
    assert not list((tmp_path / "store").glob("*.partial"))


def test_bad_slides_are_listed_with_reasons_and_leave_no_file(tmp_path: Path, bench: Callable[..., Ran]) -> None:
    folder = write(tmp_path / "theirs")
    scale = tmp_path / "theirs/20x_256px_0px_overlap/features_mine"
    (scale / "s1.h5").write_bytes((scale / "s1.h5").read_bytes()[:1500])
    bad = {m: np.full((len(c), 24), np.nan, np.float32) for m, c in COORDS.items()}
    W.write_trident(tmp_path / "theirs", "s2", bad, COORDS, "mine")
    ran = bench("convert", folder, tmp_path / "store", "--json")
    assert ran.returncode == 1
    said = json.loads(ran.stdout)
    assert set(said["bad"]) == {"s1", "s2"}
    assert "s1.h5 is truncated or damaged" in said["bad"]["s1"]
    assert "row 0: holds NaN" in said["bad"]["s2"]
    assert set(content(tmp_path / "store")) == {"s0.h5", "s3.h5", "s4.h5", "s5.h5"}
    assert said["saved"] == said["bytes_before"] - said["bytes_after"]


def test_a_store_of_another_backbone_or_among_the_files_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "theirs", 1)
    other = W.write_trident(tmp_path / "other", "a", {20: np.zeros((30, 8), np.float32)}, COORDS, "other")
    convert(open_features(folder), tmp_path / "store")
    with pytest.raises(DataError, match=r"holds features of mine \(24 wide\), these are of other \(8 wide\)"):
        convert(open_features(other), tmp_path / "store")
    with pytest.raises(DataError, match="lies in the folder that is converted"):
        convert(open_features(folder), folder / "store")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        convert(open_features(folder), tmp_path / "file")


def test_inspect_says_what_is_there(tmp_path: Path, cohort_folder: Path, bench: Callable[..., Ran]) -> None:
    folder = write(tmp_path / "theirs")
    ran = bench("inspect", folder, "--json")
    assert ran.returncode == 0, ran.stderr
    (said,) = json.loads(ran.stdout)["sets"]
    assert (said["layout"], said["backbone"], said["dim"], said["slides"]) == ("trident", "mine", 24, 6)
    assert said["dtypes"] == {"float32": 18}
    assert [s["patches"]["total"] for s in said["scales"]] == [12, 48, 180]
    assert [s["level0_px"] for s in said["scales"]] == [{"2048": 6}, {"1024": 6}, {"512": 6}]
    assert said["level0_magnifications"] == {"40": 6}
    assert [(p["coarse"], p["fine"], p["finer"]) for p in said["nesting"]["pairs"]] == [(5, 10, 48), (10, 20, 180)]
    ran = bench("inspect", cohort_folder, "--cohort", "blca", "--labels", cohort_folder / "labels.csv", "--json")
    coverage = json.loads(ran.stdout)["sets"][0]["coverage"]
    assert coverage["patients"] == coverage["patients_with_all_scales"] == 60


def test_inspect_for_people_and_its_mistakes(tmp_path: Path, bench: Callable[..., Ran]) -> None:
    folder = write(tmp_path / "theirs", 2)
    (tmp_path / "mpp.csv").write_text("slide,mpp\ns0,0.25\ns1,0.5\n")
    ran = bench("inspect", folder, "--mpp", tmp_path / "mpp.csv")
    assert "mine, 24 wide, trident layout, 2 slides (2 with all scales)" in ran.stdout
    assert "objective power that contradicts their microns per pixel" in ran.stderr
    assert "said to be 20x" not in ran.stderr
    assert "level-0 size does not fit the claimed magnification" in ran.stderr
    assert ran.returncode == 1
    (tmp_path / "mpp.csv").write_text("slide,mpp\ns0,many\n")
    assert "line 2: mpp 'many'" in bench("inspect", folder, "--mpp", tmp_path / "mpp.csv").stderr
    assert bench("inspect", folder, "--cohort", "blca").returncode == 2
    assert bench("inspect", tmp_path / "nowhere").returncode == 1
