"""Architecture: where tissue lies, where its tumour is, and whether that grows in glands or in solid sheets.

One pixel is a micron. The share of the tumour that is solid is set exactly; all else is chance.
"""

from dataclasses import dataclass

import numpy as np

from .fields import enlarge, grid, ramp, smooth

COARSE = 8  # microns of a pixel of the fields that outlines come from
SPACING = 104.0  # microns between the centres of glands
TUMOUR = 0.62  # of the tissue
DEEP = 0.04  # of the field of the outline: tumour keeps away from the edge


@dataclass(frozen=True)
class Gland:
    """A gland: where its centre is, half its long axis in microns, the short axis relative, and its turn in radians.

    `waves` and `phases` (3,) make its outline uneven; `lumen` is the radius of the lumen relative to the outline.
    """

    x: float
    y: float
    radius: float
    flat: float
    angle: float
    waves: np.ndarray
    phases: np.ndarray
    lumen: float

    def edge(self, theta: np.ndarray) -> np.ndarray:
        """Microns from the centre to the outline, by the angle from the long axis."""
        ellipse = self.radius / np.sqrt(np.cos(theta) ** 2 + (np.sin(theta) / self.flat) ** 2)
        uneven = (w * np.cos(k * theta + p) for k, w, p in zip((2, 3, 4), self.waves, self.phases, strict=True))
        return ellipse * (1 + sum(uneven))

    def place(self, r: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Slide coordinates (n, 2) of polar ones."""
        turned = theta + self.angle
        return np.stack([self.x + r * np.cos(turned), self.y + r * np.sin(turned)], 1)


@dataclass(frozen=True)
class Architecture:
    """Maps float32 (h, w) from 0 to 1, one pixel a micron, and the glands drawn into them.

    `tissue`; `sheet` and `ring`, the epithelium of solid sheets and of glands; `lumen`. All else is stroma.
    """

    tissue: np.ndarray
    sheet: np.ndarray
    ring: np.ndarray
    lumen: np.ndarray
    glands: tuple[Gland, ...]


def draw(rng: np.random.Generator, shape: tuple[int, int], area: float, solid: float) -> Architecture:
    """The architecture of `shape` square microns with `area` of tissue, `solid` of whose tumour grows in sheets."""
    coarse = (shape[0] // COARSE, shape[1] // COARSE)
    outline = _outline(rng, coarse, area)  # above 0 in tissue
    growth = smooth(rng, coarse, 22) + 0.35 * smooth(rng, coarse, 8)  # above 0 in tumour
    growth -= np.quantile(growth[outline > 0], 1 - TUMOUR)
    manner = smooth(rng, coarse, 24) + 0.25 * smooth(rng, coarse, 9)  # above 0 where tumour is solid
    manner -= np.quantile(manner[(outline > DEEP) & (growth > 0)], 1 - np.clip(solid, 0.01, 0.99))
    outline, growth, manner = (enlarge(field, COARSE) for field in (outline, growth, manner))

    rough = smooth(rng, shape, 6)
    septa = np.minimum(np.abs(smooth(rng, shape, 55)) - 0.13, np.abs(smooth(rng, shape, 80)) - 0.08)
    deep = outline + 0.006 * rough > DEEP
    sheet = np.where(deep, ramp(septa + 0.03 * rough, 0.05), 0)
    sheet *= ramp(growth + 0.03 * rough, 0.05) * ramp(manner + 0.03 * rough, 0.05)
    ring, lumen = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    glands = _scatter(rng, deep & (growth > 0) & (manner <= 0))
    glands = tuple(gland for gland in glands if _stamp(gland, deep, ring, lumen))
    sheet *= 1 - np.maximum(ring, lumen)
    return Architecture(ramp(outline + 0.006 * rough, 0.012), sheet.astype(np.float32), ring, lumen, glands)


def _outline(rng: np.random.Generator, shape: tuple[int, int], area: float) -> np.ndarray:
    """Above zero where there is tissue: one or two pieces with ragged edges, never touching the border."""
    h, w = shape
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    pieces = 2 if rng.random() < 0.35 else 1
    field = np.full(shape, -1, np.float32)
    for piece in range(pieces):
        cx = w * ((piece + 0.5) / pieces + 0.03 * rng.standard_normal())
        cy = h * (0.5 + 0.03 * rng.standard_normal())
        sx, sy = 0.5 * w / pieces * rng.uniform(0.85, 1.0), 0.5 * h * rng.uniform(0.8, 1.0)
        field = np.maximum(field, 1 - np.hypot((x - cx) / sx, (y - cy) / sy))
    field += 0.17 * smooth(rng, shape, 26) + 0.07 * smooth(rng, shape, 9) + 0.02 * smooth(rng, shape, 3)
    border = np.minimum(np.minimum(x, w - 1 - x), np.minimum(y, h - 1 - y))
    field = np.minimum(field, (border - 10 - 5 * smooth(rng, shape, 12)) / 40)
    return field - np.quantile(field, 1 - min(0.8, area / (h * w * COARSE**2)))


def _scatter(rng: np.random.Generator, where: np.ndarray) -> list[Gland]:
    """Glands wherever a point of a shaken grid is in `where`."""
    glands = []
    for x, y in grid(rng, where.shape, SPACING, 0.17):
        radius, flat, angle = 51 * np.exp(0.2 * rng.standard_normal()), rng.uniform(0.6, 0.98), rng.uniform(0, np.pi)
        waves, phases = np.array([0.07, 0.05, 0.025]) * rng.standard_normal(3), rng.uniform(0, 2 * np.pi, 3)
        gland = Gland(x, y, radius, flat, angle, waves, phases, rng.uniform(0.38, 0.62))
        if where[int(y), int(x)]:
            glands.append(gland)
    return glands


def _stamp(gland: Gland, tissue: np.ndarray, ring: np.ndarray, lumen: np.ndarray) -> bool:
    """Draw a gland unless it would leave the tissue or run into another one."""
    half = int(gland.radius * 1.35) + 3
    top, left = int(gland.y) - half, int(gland.x) - half
    if top < 0 or left < 0 or top + 2 * half >= ring.shape[0] or left + 2 * half >= ring.shape[1]:
        return False
    window = np.s_[top : top + 2 * half, left : left + 2 * half]
    y, x = np.mgrid[top : top + 2 * half, left : left + 2 * half].astype(np.float32)
    x, y = x - gland.x, y - gland.y
    u, v = x * np.cos(gland.angle) + y * np.sin(gland.angle), y * np.cos(gland.angle) - x * np.sin(gland.angle)
    edge, r = gland.edge(np.arctan2(v, u)), np.hypot(u, v)
    outer = ramp(edge - r, 2)
    taken = np.maximum(np.maximum(ring[window], lumen[window]), ~tissue[window])
    if (outer * taken).sum() > 0.06 * outer.sum():
        return False
    inner = ramp(gland.lumen * edge - r, 2)
    free = 1 - taken
    ring[window] = np.maximum(ring[window], (outer - inner) * free)
    lumen[window] = np.maximum(lumen[window], inner * free)
    return True
