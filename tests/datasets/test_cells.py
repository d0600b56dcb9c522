"""Cells: one grid per slide, shared by its scales."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milsurv.datasets.bags import Bags
from milsurv.datasets.features.cells import cells_of, patch_sides
from milsurv.datasets.features.geometry import Geometry
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.patient import Patient

QUARTER = np.array([(0, 0), (1, 0), (0, 1), (1, 1)])


def nested(coarse: np.ndarray, side: float, origin: np.ndarray, scales: int) -> dict[int, np.ndarray]:
    cells = {5 * 2**k: coarse for k in range(scales)}
    for m in list(cells)[1:]:
        cells[m] = (2 * cells[m // 2][:, None] + QUARTER).reshape(-1, 2)
    return {m: np.round(origin + c * side * 5 / m).astype(np.int32) for m, c in cells.items()}


places = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=12, unique=True)


@given(coarse=places, side=st.sampled_from([2048.0, 1101.3, 1024.5]), x=st.integers(0, 9999), y=st.integers(0, 9999))
def test_the_parent_of_a_cell_is_half_of_it(coarse, side, x, y):
    corners = nested(np.array(coarse), side, np.array([x, y]), 3)
    cells = cells_of(corners, {m: side * 5 / m for m in corners})
    assert (cells[10] // 2 == np.repeat(cells[5], 4, 0)).all()
    assert (cells[20] // 4 == np.repeat(cells[5], 16, 0)).all()
    assert all(c.dtype == np.int32 and c.min() >= 0 for c in cells.values())
    assert len(np.unique(cells[20], axis=0)) == len(cells[20])


@given(coarse=places, x=st.integers(0, 9999), y=st.integers(0, 9999))
def test_cells_do_not_move_with_the_slide(coarse, x, y):
    corners = nested(np.array(coarse), 2048, np.array([0, 0]), 2)
    moved = {m: c + np.array([x, y]) for m, c in corners.items()}
    sides = {5: 2048.0, 10: 1024.0}
    for m, c in cells_of(corners, sides).items():
        assert (cells_of(moved, sides)[m] == c).all()


def test_finer_patches_before_the_first_coarse_one_keep_their_parents():
    corners = {5: np.array([[2048, 0], [4096, 2048]]), 10: np.array([[0, 0], [1024, 1024], [2048, 0]])}
    cells = cells_of(corners, {5: 2048.0, 10: 1024.0})
    assert cells[5].tolist() == [[1, 0], [2, 1]]
    assert (cells[10] // 2).tolist() == [[0, 0], [0, 0], [1, 0]]


def test_the_side_is_that_of_the_file_else_of_neighbours_else_of_another_scale():
    corners = {5: np.array([[0, 0]]), 10: np.array([[0, 0], [0, 1024], [4096, 9000]]), 20: np.array([[0, 0], [9, 9]])}
    sides = patch_sides(corners, {5: Geometry(), 10: Geometry(), 20: Geometry(level0_px=500)})
    assert sides == {10: 1024, 20: 500, 5: 2048}


def test_patches_of_unknown_size_are_refused_unless_there_is_one():
    far = {20: np.array([[0, 0], [7000, 901]])}
    assert patch_sides(far, {20: Geometry()}) == {}
    with pytest.raises(ValueError, match="no patch size"):
        cells_of(far, {})
    assert cells_of({20: np.array([[70, 90]])}, {})[20].tolist() == [[0, 0]]


def test_the_slides_of_a_simulated_cohort_have_cells_that_nest(cohort_folder):
    reader = open_features(cohort_folder / "features")
    slides = sorted(reader.slides)[:3]
    bags = Bags(reader, [Patient("p", 1.0, False, "", tuple(slides), {})], (5, 10, 20), places=True)
    bags.check()
    bag = bags["p"]
    start = dict.fromkeys((5, 10, 20), 0)
    for k in range(3):
        one = {m: bag.cells[m][start[m] : start[m] + bag.slide_lengths[m][k]] for m in start}
        start = {m: start[m] + bag.slide_lengths[m][k] for m in start}
        tree = {tuple(c) for c in one[5].tolist()}
        assert {tuple(c) for c in (one[10] // 2).tolist()} == tree == {tuple(c) for c in (one[20] // 4).tolist()}
        assert one[20].min() == 0
    assert Bags(reader, [Patient("p", 1.0, False, "", tuple(slides), {})], (20,))["p"].cells == {}
