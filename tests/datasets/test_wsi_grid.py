"""The grid: whole level-0 pixels, scales that nest exactly, and tissue as the only reason to read a tile."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milsurv.datasets.slides.grid import choose_tiles, plan_grid
from milsurv.errors import DataError

EVERYWHERE = lambda corners, side: np.ones(len(corners))  # noqa: E731


@pytest.mark.parametrize(
    ("mpp", "side"), [(0.5, 256), (0.499, 256), (0.2525, 512), (0.2462, 512), (0.23, 557), (0.1, 1280), (0.55, 233)]
)
def test_pixels_of_the_scanner_are_taken_where_the_factor_is_nearly_whole(mpp, side):
    grid, _ = plan_grid((20_000, 20_000), mpp, (20, 10, 5), 256)
    assert [grid.side_of(m) for m in (20, 10, 5)] == [side, 2 * side, 4 * side]


@given(
    mpp=st.floats(0.1, 0.54),
    size=st.tuples(st.integers(6000, 12_000), st.integers(6000, 12_000)),
    overlap=st.integers(0, 100),
    least=st.floats(0.05, 1),
    seed=st.integers(0, 99),
)
def test_every_tile_lies_in_one_of_the_next_scale_and_none_is_beyond_the_slide(mpp, size, overlap, least, seed):
    grid, _ = plan_grid(size, mpp, (5, 20, 10), 256, overlap)
    tissue = lambda corners, side: np.random.default_rng(seed + side).random(len(corners))  # noqa: E731
    tiles = choose_tiles(grid, tissue, least)
    for m, at in tiles.at.items():
        assert ((grid.corners(m, at) + grid.side_of(m)) <= size).all()
        assert len(np.unique(at, axis=0)) == len(at)
    for fine, coarse in ((20, 10), (10, 5)):
        inner, outer = grid.corners(fine, tiles.at[fine]), grid.corners(coarse, tiles.at[coarse])
        parents = {tuple(corner): 0 for corner in outer.tolist()}
        step = 2 * grid.stride * grid.times(fine)
        for corner in inner:
            parent = corner // step * step
            parents[tuple(parent.tolist())] += 1  # KeyError: a tile without a parent
            assert (corner + grid.side_of(fine) <= parent + grid.side_of(coarse)).all()
        assert all(1 <= children <= 4 for children in parents.values())


def test_where_there_is_tissue_everywhere_children_are_2_by_2_and_4_by_4():
    grid, _ = plan_grid((4096, 4096), 0.499, (20, 10, 5), 256)
    tiles = choose_tiles(grid, EVERYWHERE, 0.5)
    assert {m: len(at) for m, at in tiles.at.items()} == {20: 256, 10: 64, 5: 16}


def test_no_tile_with_enough_tissue_is_lost_by_nesting_inside_the_slide():
    grid, _ = plan_grid((4096, 4096), 0.5, (20, 10, 5), 256)
    shares = np.random.default_rng(0).random((16, 16))

    def tissue(corners, side):
        k = side // 256
        return np.array([shares[y // 256 : y // 256 + k, x // 256 : x // 256 + k].mean() for x, y in corners])

    nested, alone = choose_tiles(grid, tissue, 0.6), choose_tiles(grid, tissue, 0.6, nest=False)
    assert np.array_equal(nested.at[20], alone.at[20])
    for m in (10, 5):
        assert {tuple(at) for at in alone.at[m]} <= {tuple(at) for at in nested.at[m]}


@pytest.mark.parametrize("magnifications", [(20,), (10,), (5,), (10, 5), (20, 5)])
def test_scales_alone_have_the_grid_that_they_have_together(magnifications):
    together, _ = plan_grid((9000, 9000), 0.23, (20, 10, 5), 256)
    some, _ = plan_grid((9000, 9000), 0.23, magnifications, 256)
    assert all(some.side_of(m) == together.side_of(m) and some.full(m) == together.full(m) for m in magnifications)


def test_a_magnification_that_the_scanner_did_not_reach_is_refused_and_a_little_less_is_said():
    with pytest.raises(DataError, match=r"too coarse for 20x.*--magnifications 10,5"):
        plan_grid((9000, 9000), 1.0, (20, 10, 5), 256)
    _, remarks = plan_grid((9000, 9000), 0.53, (20,), 256)
    assert remarks == ("20x is enlarged by 6% from 0.53 um per pixel",)
    with pytest.raises(DataError, match="no tile of 1024 pixels"):
        plan_grid((1000, 3000), 0.5, (5,), 256)
