"""One slide as an image: the amounts of two stains from architecture, fibres and nuclei, and then their colours."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from . import architecture
from .architecture import Architecture
from .cells import stroma_cells, tumour_cells
from .fields import enlarge, smooth
from .nuclei import PX, place
from .stain import Stain
from .stroma import collagen

MPP = PX  # of level 0: a 20x slide
SCALE = round(1 / PX)  # level-0 pixels a micron


@dataclass(frozen=True)
class Content:
    """What a slide shows.

    atypia: the share of tumour nuclei that are atypical; the fine factor, to be seen at 20x.
    solid: the share of the tumour that grows in sheets and not in glands; the coarse factor, to be seen at 5x.
    area: of the tissue, square millimetres.
    """

    atypia: float
    solid: float
    area: float


def draw(rng: np.random.Generator, content: Content, stain: Stain, shape: tuple[int, int]) -> np.ndarray:
    """The image of a slide, uint8 (h, w, 3), of `shape` level-0 pixels (both sides multiples of 16)."""
    microns = (shape[0] // SCALE, shape[1] // SCALE)
    plan = architecture.draw(rng, microns, content.area * 1e6, content.solid)
    texture, direction = collagen(rng, microns)
    tumour = tumour_cells(rng, plan, content.atypia)
    amounts = _background(rng, plan, texture, np.concatenate([cells.at for cells in tumour]))
    cover, density = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for cells in (*tumour, *stroma_cells(rng, plan, direction)):
        place(rng, cover, density, cells.kind, cells.at * SCALE, cells.angle)
    haematoxylin, eosin = (enlarge(amount, SCALE) for amount in amounts)
    grain = _grain(rng, shape)
    haematoxylin *= grain
    haematoxylin *= 1 - cover
    haematoxylin += density
    eosin *= grain[::-1, ::-1]
    eosin *= 1 - 0.6 * cover
    return stain.colour(np.maximum(haematoxylin, 0, out=haematoxylin), np.maximum(eosin, 0, out=eosin))


def blank(rng: np.random.Generator, stain: Stain, shape: tuple[int, int]) -> np.ndarray:
    """A slide without tissue: glass, a little uneven, and some dust."""
    haze = 0.004 * (1 + smooth(rng, shape, 400)).clip(0)
    for x, y in np.stack([rng.uniform(8, shape[1] - 8, 40), rng.uniform(8, shape[0] - 8, 40)], 1).astype(int):
        haze[y - 1 : y + 2, x - 1 : x + 2] += 0.1
    return stain.colour(haze, haze)


def _background(
    rng: np.random.Generator, plan: Architecture, texture: np.ndarray, cells: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Haematoxylin and eosin without nuclei, float32 (h, w) each, one pixel a micron."""
    epithelium = np.maximum(plan.sheet, plan.ring)
    loose = smooth(rng, texture.shape, 70)
    slits = np.clip(-1.1 - texture - 0.5 * loose, 0, 1.2)
    fibres = np.clip(0.36 + 0.10 * loose + 0.13 * texture - 0.22 * slits, 0.03, 1.2)
    border, tone = _membranes(rng, cells, texture.shape)
    eosin = fibres * (1 - epithelium) + (0.44 + 0.05 * tone) * (1 - 0.35 * border) * epithelium
    haematoxylin = (0.045 + 0.02 * texture) * (1 - epithelium)
    haematoxylin += (0.24 + 0.05 * tone) * (1 - 0.3 * border) * epithelium
    secretion = np.clip(0.5 * smooth(rng, texture.shape, 40) - 0.25, 0, 0.35)
    eosin += plan.lumen * (0.015 + 0.5 * secretion - eosin)
    haematoxylin += plan.lumen * (0.06 * secretion - haematoxylin)
    return haematoxylin * plan.tissue, eosin * plan.tissue


def _membranes(rng: np.random.Generator, cells: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """How near a pixel is to the border of two cells (1 on it), and the tone of its cell, float32 `shape` each."""
    step, far = 2, 20.0
    y, x = np.mgrid[0 : shape[0] : step, 0 : shape[1] : step]
    pixels = np.stack([x.ravel(), y.ravel()], 1)
    found, nearest = map(np.asarray, KDTree(cells).query(pixels, k=2, distance_upper_bound=far))  # (pixels, 2) each
    between = np.minimum(found[:, 1], 2 * far) - np.minimum(found[:, 0], far)
    border = np.exp(-0.5 * (between / 1.3) ** 2).astype(np.float32).reshape(x.shape)
    tones = np.append(rng.standard_normal(len(cells)), 0).astype(np.float32)  # the last is nobody's
    return enlarge(border, step), enlarge(tones[nearest[:, 0]].reshape(x.shape), step)


def _grain(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Fine unevenness of the stain, float32 `shape` about 1: one tile, repeated."""
    side = 768
    tile = 1 + 0.10 * smooth(rng, (side, side), 1) + 0.05 * smooth(rng, (side, side), 2.2)
    return np.tile(tile, (-(-shape[0] // side), -(-shape[1] // side)))[: shape[0], : shape[1]]
