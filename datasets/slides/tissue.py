"""Where the tissue is: colourful pixels of a small picture of the slide, less ink, specks and holes.

At 8 um per pixel (about 1.25x), a pixel is tissue if its saturation in HSV is above Otsu's threshold over this slide,
held between 0.05 and 0.12: without the lower bound a blank slide would be halved into noise, without the upper one a
strongly stained part would hide a pale one. How they absorb, as optical density of red, green and blue,
tells ink from stain; haematoxylin and eosin both absorb green most. Excluded are

    green, blue ink     red is absorbed 1.15 times as much as green, or more
    red ink             blue is absorbed 0.7 times as much as green, or more, and red less than 0.12 times (blood: 0.17)
    black ink, shadow   no channel is brighter than 0.25

and what lies within 3 pixels of strokes of 0.004 mm2 or more. Then gaps up to 2 pixels are closed, pieces below 0.02
mm2 (about one tile at 20x) are specks and go, and holes below 0.06 mm2 are filled.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .slide import Slide

MICRONS = 8.0
SATURATION = (0.05, 0.12)
COLD_INK, RED_INK, RED_OF_RED_INK, DARK = 1.15, 0.7, 0.12, 0.25
COLD_DENSITY, RED_DENSITY = 0.25, 0.5  # optical densities from which the ratio of two channels says anything
INK_MARGIN, CLOSING = 3, 2  # pixels
SPECK, HOLE, STROKE = 0.02, 0.06, 0.004  # mm2
BLOCK = 2048  # pixels of a level that are read at once


@dataclass(frozen=True)
class Tissue:
    """A small picture (h, w, 3), where it shows tissue (h, w) and ink (h, w), and how many level-0 pixels one pixel
    is.
    """

    picture: np.ndarray
    mask: np.ndarray
    ink: np.ndarray
    step: int

    def share(self, corners: np.ndarray, side: int) -> np.ndarray:
        """The share of tissue (n,) of squares with level-0 corners (n, 2), exact for parts of pixels."""
        total = np.zeros(np.add(self.mask.shape, 1))
        total[1:, 1:] = self.mask.cumsum(0).cumsum(1)
        (x0, y0), (x1, y1) = corners.T / self.step, (corners.T + side) / self.step
        area = _at(total, y1, x1) - _at(total, y0, x1) - _at(total, y1, x0) + _at(total, y0, x0)
        return np.round(area / (side / self.step) ** 2, 9)  # all is 1 and nothing is 0, not nearly so


def find_tissue(slide: Slide) -> Tissue:
    """The tissue of a slide. DataError if it cannot be read."""
    mpp = slide.resolution.mpp
    step = max(1, round(MICRONS / mpp))
    picture = thumbnail(slide, step)
    mask, ink = mask_of(picture, (step * mpp / 1000) ** 2)
    return Tissue(picture, mask, ink, step)


def thumbnail(slide: Slide, step: int) -> np.ndarray:
    """The slide with one pixel for `step` level-0 pixels, uint8 (h, w, 3), read in blocks: memory does not depend on
    it.
    """
    width, height = (math.ceil(extent / step) for extent in slide.size)
    level = slide.level_for(step)
    scale = step / slide.downsamples[level]  # pixels of the level for one of the picture
    block = max(1, int(BLOCK / scale))
    picture = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, block):
        for x in range(0, width, block):
            w, h = min(block, width - x), min(block, height - y)
            region = slide.region(x * step, y * step, level, math.ceil(w * scale), math.ceil(h * scale))
            small = region.resize((w, h), Image.Resampling.BOX, box=(0, 0, w * scale, h * scale))
            picture[y : y + h, x : x + w] = np.asarray(small)
    return picture


def mask_of(picture: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Tissue and ink, bool (h, w) both, of an RGB picture whose pixels are `pixel` mm2 each."""
    from scipy.ndimage import binary_fill_holes, gaussian_filter
    from skimage.filters import threshold_otsu
    from skimage.morphology import closing, dilation, disk, remove_small_objects

    rgb = gaussian_filter(picture.astype(np.float32) / 255, (1, 1, 0))
    ink = remove_small_objects(_ink(rgb), max_size=round(STROKE / pixel))
    ink = dilation(ink, disk(INK_MARGIN))
    bright = rgb.max(2)
    saturation = (bright - rgb.min(2)) / np.maximum(bright, 1e-3)
    rest = saturation[~ink]
    low, high = SATURATION
    threshold = float(np.clip(threshold_otsu(rest), low, high)) if rest.size and np.ptp(rest) else high
    mask = closing((saturation > threshold) & ~ink, disk(CLOSING))
    mask = remove_small_objects(mask, max_size=round(SPECK / pixel))
    filled = binary_fill_holes(mask)  # glass that reaches the edge of the slide is no hole
    mask = filled & ~remove_small_objects(filled & ~mask, max_size=round(HOLE / pixel))
    return mask & ~ink, ink


def _ink(rgb: np.ndarray) -> np.ndarray:
    red, green, blue = (-np.log10(np.maximum(rgb[..., i], 1 / 255)) for i in range(3))
    cold = (red > COLD_INK * green) & (red > COLD_DENSITY)
    warm = (blue > RED_INK * green) & (red < RED_OF_RED_INK * green) & (green > RED_DENSITY)
    return cold | warm | (rgb.max(2) < DARK)


def _at(total: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values of a table of sums between its entries: linear, which is exact for areas."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(total, [y, x], order=1, mode="nearest")
