"""Tissue: stain is found; glass, ink, specks and small holes are not."""

import numpy as np
import pytest
from milsurv.datasets.slides.tissue import Tissue, mask_of
from slide_writers import GLASS, tissue_image

PIXEL = 0.008**2  # mm2
INKS = {
    "green": (40, 160, 90),
    "blue": (40, 90, 190),
    "cyan": (60, 170, 190),
    "red": (215, 40, 60),
    "black": (30, 30, 35),
}


def slide() -> np.ndarray:
    return tissue_image(200, 150, [(40, 30, 120, 110)])


def test_the_mask_covers_tissue_and_no_glass():
    mask, ink = mask_of(slide(), PIXEL)
    assert mask[33:107, 43:117].all()
    assert not mask[:25].any() and not mask[:, :35].any() and not mask[:, 125:].any()
    assert not ink.any()


@pytest.mark.parametrize("colour", INKS)
def test_ink_is_no_tissue_and_leaves_the_tissue_beside_it(colour):
    picture = slide()
    picture[20:130, 140:150] = INKS[colour]  # a stroke on glass
    picture[60:66, 40:80] = INKS[colour]  # and one over tissue
    mask, ink = mask_of(picture, PIXEL)
    assert ink[25:125, 141:149].all() and not mask[20:130, 138:152].any()
    assert not mask[61:65, 44:76].any()
    assert mask[75:105, 45:115].all()


@pytest.mark.parametrize(
    "stain", [(150, 90, 160), (90, 60, 130), (235, 150, 190), (200, 60, 110), (170, 120, 140), (200, 60, 70)]
)
def test_no_stain_is_taken_for_ink(stain):
    picture = np.full((80, 80, 3), GLASS, np.uint8)
    picture[20:60, 20:60] = stain
    mask, ink = mask_of(picture, PIXEL)
    assert mask[22:58, 22:58].all() and not ink.any()


def test_blank_glass_dust_and_shading_hold_no_tissue():
    rng = np.random.default_rng(0)
    blank = np.clip(np.array(GLASS) + rng.integers(-5, 6, (150, 200, 3)), 0, 255).astype(np.uint8)
    assert not mask_of(blank, PIXEL)[0].any()
    assert not mask_of((blank * np.linspace(0.7, 1, 200)[None, :, None]).astype(np.uint8), PIXEL)[0].any()
    blank[50:58, 50:58] = (150, 90, 160)  # 0.004 mm2
    assert not mask_of(blank, PIXEL)[0].any()


def test_small_holes_are_filled_and_large_ones_are_not():
    picture = slide()
    picture[50:60, 60:70] = GLASS  # 0.006 mm2
    picture[70:105, 60:110] = GLASS  # 0.11 mm2
    mask, _ = mask_of(picture, PIXEL)
    assert mask[50:60, 60:70].all()
    assert not mask[75:100, 65:105].any()


def test_glass_at_the_edge_is_no_hole_however_small_the_slide():
    mask, _ = mask_of(tissue_image(32, 32, [(0, 0, 20, 32)]), PIXEL)  # 0.025 mm2 of glass
    assert mask[:, :19].all() and not mask[:, 22:].any()


def test_the_share_of_a_square_is_exact_for_parts_of_pixels():
    mask = np.zeros((10, 10), bool)
    mask[:, :5] = True
    tissue = Tissue(np.zeros((10, 10, 3), np.uint8), mask, ~mask, step=16)
    corners = np.array([(0, 0), (72, 3), (60, 17), (100, 100)])
    assert tissue.share(corners, 20) == pytest.approx([1, 8 / 20, 1, 0])


@pytest.mark.parametrize("side", [563, 556, 512])
def test_all_of_it_is_one_and_nothing_is_zero_whatever_the_grid(side):
    mask = np.zeros((90, 120), bool)
    mask[:45] = True
    tissue = Tissue(np.zeros((90, 120, 3), np.uint8), mask, ~mask, 35)
    at = np.stack(np.meshgrid(np.arange(120 * 35 // side), np.arange(90 * 35 // side)), -1).reshape(-1, 2) * side
    share = tissue.share(at, side)
    assert (share[at[:, 1] + side <= 45 * 35] == 1).all()
    assert (share[at[:, 1] >= 45 * 35] == 0).all() and (share >= 0).all()
