"""Derived scales: means over the cells of the 20x grid, named so wherever they are shown."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_writers import trident_file
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request, parse_command
from milsurv.datasets.bags import Bags
from milsurv.datasets.features.derived import derive
from milsurv.datasets.features.nesting import check_nesting
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.labels.read import read_labels
from milsurv.errors import DataError, UsageError


def write(folder: Path, slide: str, cells: np.ndarray, origin: tuple[int, int] = (3, 7)) -> np.ndarray:
    """A slide with 20x patches in these cells (n, 2) of its grid; gives the features."""
    rng = np.random.default_rng(len(cells))
    features = rng.normal(size=(len(cells), 4)).astype(np.float32)
    trident_file(folder / f"20x_256px_0px_overlap/features_mine/{slide}.h5", features, cells * 512 + origin, 20)
    return features.astype(np.float16).astype(np.float64)


cells_drawn = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=40, unique=True)


@given(cells_drawn)
@settings(max_examples=25, deadline=None)
def test_a_derived_vector_is_the_mean_of_its_cell(tmp_path_factory: pytest.TempPathFactory, drawn: list) -> None:
    folder = tmp_path_factory.mktemp("derived")
    drawn = [(0, 0), (1, 0), *[c for c in drawn if c not in ((0, 0), (1, 0))]]  # the grid and its patches' side show
    cells = np.array(drawn)
    features = write(folder, "a", cells)
    reader = derive(open_features(folder))
    assert reader.magnifications == (5, 10, 20) and reader.derived == (5, 10)
    for m, step in ((10, 2), (5, 4)):
        half, corners = reader.read("a", m)
        assert corners is not None
        where = [tuple(c) for c in ((corners - (3, 7)) // (512 * step)).tolist()]
        assert sorted(where) == sorted({(x // step, y // step) for x, y in drawn})
        for cell, vector in zip(where, half, strict=True):
            inside = [features[i] for i, (x, y) in enumerate(drawn) if (x // step, y // step) == cell]
            np.testing.assert_allclose(vector, np.mean(inside, 0), atol=2e-3)
        assert reader.counts("a")[m] == len(half)
    np.testing.assert_array_equal(reader.read("a", 20)[0], features.astype(np.float16))


def test_derived_scales_nest_and_have_places_for_models(tmp_path: Path) -> None:
    write(tmp_path, "a", np.array([(x, y) for x in range(6) for y in range(5)]))
    reader = derive(open_features(tmp_path))
    assert [f.code for f in check_nesting(reader).findings] == []
    labels = tmp_path / "labels.csv"
    labels.write_text("case_id,slide_id,survival_months,censorship\nP,a,3,0\n")
    bags = Bags(reader, read_labels(labels, "mine").patients, (5, 10, 20), places=True)
    assert "scales_derived" in {f.code for f in bags.check()}
    bag = bags["P"]
    fine = {tuple(c // 4) for c in bag.cells[20]}
    assert fine == {tuple(c) for c in bag.cells[5]}, "a cell of 5x is four cells of 20x wide"


def test_what_cannot_be_derived_is_said(tmp_path: Path, cohort_folder: Path) -> None:
    with pytest.raises(UsageError, match="holds 5x and 10x itself: leave --derive-scales out"):
        derive(open_features(cohort_folder / "features"))
    np.save(tmp_path / "a.npy", np.zeros((3, 4), np.float32))
    with pytest.raises(DataError, match=r"slide a has no patch coordinates at 20x.*--coords"):
        derive(open_features(tmp_path, magnification=20)).counts("a")
    with pytest.raises(UsageError, match="holds none"):
        derive(open_features(tmp_path, magnification=10))


@pytest.fixture(scope="module")
def fine_only(made_once, cohort_folder: Path) -> Path:
    """The simulated cohort's features at 20x alone."""
    from milsurv.datasets.features.store import write_slide

    def make(folder: Path) -> None:
        reader = open_features(cohort_folder / "features")
        for slide in reader.slides:
            features, coords = reader.read(slide, 20)
            geometry = {20: reader.facts(slide)[20].geometry}
            write_slide(folder, slide, {20: features}, {20: coords}, backbone="tiny", patch_px=256, synthetic=True,
                        geometry=geometry)  # fmt: skip

    return made_once("fine-only", make)


def test_a_run_names_derived_scales_and_only_where_it_reads_them(
    fine_only: Path, cohort_folder: Path, tmp_path: Path, bench
) -> None:
    asked = Request("crossfusion", "blca", features_path=str(fine_only), labels_path=cohort_folder / "labels.csv",
                    folds=3, derive_scales=True, settings={"epochs": "1"}, out=tmp_path / "results")  # fmt: skip
    with pytest.raises(DataError, match=r"There is 20x: .*--scale 20; a model of several scales .*--derive-scales"):
        load(replace(asked, derive_scales=False))
    assert parse_command(asked.command).derive_scales
    experiment, _ = load(asked)
    assert experiment.backbone == "tiny (derived 5x, 10x)"
    single, _ = load(replace(asked, model="abmil"))
    assert single.backbone == "tiny" and single.id == load(replace(asked, model="abmil", derive_scales=False))[0].id
    words = ["--cohort", "blca", "--features", fine_only, "--labels", asked.labels_path, "--folds", 3, "--set",
             "epochs=1", "--out", asked.out, "--tracking", "none", "--derive-scales"]  # fmt: skip
    for model in ("abmil", "abmil-late"):
        status, _, err = bench("run", "--model", model, *words)
        assert status == 0, err
    board = (asked.out / "leaderboard" / "leaderboard.md").read_text("utf-8")
    assert board.count("## ") >= 2 and "scales DERIVED from 20x" in board and "tiny (derived 5x, 10x)" in board
    assert "ranked in a table of their own" in board
    rows = [json.loads(p.read_text()) for p in asked.out.glob("experiments/*/fold-0/result.json")]
    assert {(r["model"], r["backbone"]) for r in rows} == {("abmil", "tiny"), ("abmil-late", "tiny (derived 5x, 10x)")}
