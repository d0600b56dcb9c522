"""Scales that truly nest: unmatched patches and impossible sizes, powers and counts are found, right ones accepted."""

from pathlib import Path

import feature_writers as W
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.datasets.features.nesting import check_nesting, true_magnification
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.features.tissue_overlap import overlap, stride


def grid(m: int, width: int = 4, height: int = 3) -> np.ndarray:
    """The patches at `m` of tissue that is `width` by `height` 5x patches."""
    k = m // 5
    x, y = np.meshgrid(np.arange(width * k), np.arange(height * k))
    return np.stack([x.ravel(), y.ravel()], 1) * W.side(m) + 1000


def write(root: Path, coords: dict[int, np.ndarray], name: str = "trident", slide: str = "a") -> Path:
    features = {m: np.ones((len(c), 4), np.float32) for m, c in coords.items()}
    return W.WRITERS[name](root, slide, features, coords, "mine")


WHOLE = {m: grid(m) for m in (5, 10, 20)}


def codes(folder: Path, **more: object) -> list[str]:
    return [f.code for f in check_nesting(open_features(folder), **more).findings]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [n for n in W.WRITERS if n != "panther-pt"])
def test_tissue_that_nests_has_no_findings_in_any_layout(tmp_path: Path, name: str) -> None:
    nesting = check_nesting(open_features(write(tmp_path, WHOLE, name)))
    assert nesting.findings == ()
    assert [(p.coarse, p.fine, p.finer, p.unmatched, p.coarser, p.without_tiles) for p in nesting.pairs] == [
        (5, 10, 48, 0, 12, 0), (10, 20, 192, 0, 48, 0),
    ]  # fmt: skip


def test_finer_patches_outside_and_coarser_ones_alone_are_counted(tmp_path: Path) -> None:
    cut = {**WHOLE, 10: WHOLE[10][:40]}  # the last row of 10x patches is gone
    nesting = check_nesting(open_features(write(tmp_path, cut)))
    assert [(p.unmatched, p.without_tiles) for p in nesting.pairs] == [(0, 0), (32, 0)]
    assert [(f.code, f.severity, f.examples) for f in nesting.findings] == [
        ("unmatched_tiles", "warning", ("a (20x in 10x): 17%",))
    ]
    less = {**WHOLE, 20: WHOLE[20][:96]}
    assert codes(write(tmp_path / "less", less)) == ["parents_without_tiles"]


def test_coordinates_of_another_slide_are_an_error(tmp_path: Path) -> None:
    moved = {**WHOLE, 20: WHOLE[20] + 50_000}
    nesting = check_nesting(open_features(write(tmp_path, moved)))
    assert {"scales_of_other_tissue": "error"}.items() <= {f.code: f.severity for f in nesting.findings}.items()


def attributes(folder: Path, scale: str = "20x", **changed: object) -> None:
    import h5py

    for path in folder.glob(f"{scale}_*/features_mine/*.h5"):
        with h5py.File(path, "a") as file:
            file["coords"].attrs.update(changed)


def test_a_level0_size_that_does_not_fit_the_claimed_magnification_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path, WHOLE)
    attributes(folder, patch_size_level0=256)
    assert "level0_size_mismatch" in codes(folder)


def test_an_objective_power_that_contradicts_the_mpp_is_reported(tmp_path: Path) -> None:
    """The COADREAD slides that say 20x at 0.23 um per pixel."""
    folder = write(tmp_path, WHOLE)
    assert codes(folder, mpp={"a": 0.23}) == []
    attributes(folder, "*", level0_magnification=20)
    for m in WHOLE:
        attributes(folder, f"{m}x", patch_size_level0=256 * 20 // m)
    assert "power_contradicts_mpp" in codes(folder, mpp={"a": 0.23})
    assert true_magnification(256, 256, 0.25) == 40


def test_patches_outside_of_the_slide_and_patches_twice_are_reported(tmp_path: Path) -> None:
    folder = write(tmp_path, {20: np.concatenate([WHOLE[20], WHOLE[20][:1]])})
    assert codes(folder) == ["duplicate_coordinates"]
    attributes(folder, level0_width=3000)
    assert "patches_beyond_slide" in codes(folder)


def test_one_magnification_of_two_sizes_is_said_where_the_power_is_unknown(tmp_path: Path) -> None:
    for slide in "abc":
        folder = write(tmp_path, WHOLE, "clam-pt", slide)
    for m in (5, 10, 20):
        W.patch_file(tmp_path / f"mine/x{m}/patches/c.h5", WHOLE[m], m * 2)
    found = [f for f in check_nesting(open_features(folder)).findings if f.code == "mixed_patch_sizes"]
    assert len(found) == 3
    assert all(f.examples == ("c",) for f in found)


def test_without_coordinates_only_counts_are_compared_and_that_is_said(tmp_path: Path) -> None:
    assert codes(write(tmp_path / "right", WHOLE, "panther-pt")) == ["nesting_unchecked"]
    wrong = {**WHOLE, 20: WHOLE[20][:60]}
    assert codes(write(tmp_path / "wrong", wrong, "panther-pt")) == ["implausible_counts", "nesting_unchecked"]


def test_slides_that_cannot_be_read_are_a_finding(tmp_path: Path) -> None:
    folder = write(tmp_path, WHOLE)
    write(tmp_path, WHOLE, slide="b")
    path = tmp_path / "10x_256px_0px_overlap/features_mine/b.h5"
    path.write_bytes(path.read_bytes()[:3000])
    nesting = check_nesting(open_features(folder))
    assert [f.code for f in nesting.findings] == ["unreadable_slides"]
    assert nesting.pairs[0].slides == 1


points = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=25).map(np.array)


@given(points, points, st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_unmatched_patches_and_patches_without_tiles_are_those_of_the_definition(
    coarse: np.ndarray, fine: np.ndarray, wide: int, narrow: int
) -> None:
    centre = fine + narrow / 2
    inside = ((centre[:, None] >= coarse[None]) & (centre[:, None] <= coarse[None] + wide)).all(2)  # (fine, coarse)
    unmatched, without_tiles = overlap(coarse, wide, fine, narrow)
    np.testing.assert_array_equal(unmatched, ~inside.any(1))
    np.testing.assert_array_equal(without_tiles, ~inside.any(0))


def test_the_stride_is_the_usual_distance_in_a_row() -> None:
    assert stride(WHOLE[20]) == 512
    assert stride(WHOLE[20][:1]) is None
