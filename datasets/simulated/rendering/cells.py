"""Where nuclei lie: in sheets, around lumens, and between fibres. All places are microns (n, 2: x, y)."""

from dataclasses import dataclass

import numpy as np

from .architecture import Architecture, Gland
from .fields import grid, smooth
from .nuclei import KINDS

SPACING = 9.6  # microns between typical tumour nuclei


@dataclass(frozen=True)
class Cells:
    """Cells of one kind: places (n, 2) and the angles (n,) of their long axes, in radians."""

    kind: str
    at: np.ndarray
    angle: np.ndarray


def tumour_cells(rng: np.random.Generator, plan: Architecture, atypia: float) -> tuple[Cells, Cells]:
    """Typical and atypical cells of the tumour; each is atypical by itself, wherever it lies."""
    spacing = spacing_of(atypia)
    sheet = grid(rng, plan.sheet.shape, spacing, 0.22)
    sheet = sheet[value(plan.sheet, sheet) > 0.6]
    turn = np.pi * value(smooth(rng, plan.sheet.shape, 60), sheet) + 0.5 * rng.standard_normal(len(sheet))
    rings = [_ring(rng, gland, spacing) for gland in plan.glands]
    at = np.concatenate([sheet, *(ring for ring, _ in rings)])
    angle = np.concatenate([turn, *(angles for _, angles in rings)])
    chosen = rng.random(len(at)) < atypia
    return Cells("typical", at[~chosen], angle[~chosen]), Cells("atypical", at[chosen], angle[chosen])


def spacing_of(atypia: float) -> float:
    """Microns between tumour nuclei.

    Atypical nuclei are larger and lie wider, so that the same share of the tumour is nucleus, whatever `atypia`.
    """
    typical, atypical = KINDS["typical"].radius, KINDS["atypical"].radius
    return SPACING * float(np.sqrt((1 - atypia) + atypia * (atypical / typical) ** 2))


def stroma_cells(rng: np.random.Generator, plan: Architecture, direction: np.ndarray) -> tuple[Cells, Cells]:
    """Fibroblasts along the fibres, and lymphocytes, some scattered and some in clusters."""
    free = plan.tissue * (1 - np.maximum(np.maximum(plan.sheet, plan.ring), plan.lumen))
    spindle = grid(rng, free.shape, 22, 0.35)
    spindle = spindle[(value(free, spindle) > 0.9) & (rng.random(len(spindle)) < 0.8)]
    along = value(direction, spindle) + 0.25 * rng.standard_normal(len(spindle))
    small = grid(rng, free.shape, 7.5, 0.3)
    crowd = value(smooth(rng, free.shape, 45), small)
    likely = np.select([crowd > 1.9, crowd > 1.2], [0.85, 0.07], 0.02)
    small = small[(value(free, small) > 0.9) & (rng.random(len(small)) < likely)]
    return Cells("fibroblast", spindle, along), Cells("lymphocyte", small, rng.uniform(0, np.pi, len(small)))


def value(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`field` (h, w), one pixel a micron, at `points`."""
    return field[points[:, 1].astype(int), points[:, 0].astype(int)]


def _ring(rng: np.random.Generator, gland: Gland, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Places and angles of the nuclei of a gland: a row near its outer edge, a second one here and there."""
    places, angles = [], []
    for row, keep in ((0.80, 0.97), (0.42 + 0.5 * gland.lumen, 0.35)):
        theta = np.linspace(0, 2 * np.pi, 361)
        edge = gland.edge(theta) * row
        length = np.append(0, np.cumsum(np.hypot(np.diff(edge * np.cos(theta)), np.diff(edge * np.sin(theta)))))
        n = max(6, int(length[-1] / (0.82 * spacing)))
        along = (np.arange(n) + rng.uniform() + 0.18 * rng.standard_normal(n)) / n * length[-1] % length[-1]
        t = np.interp(along[rng.random(n) < keep], length, theta)
        r = gland.edge(t) * (row + 0.035 * rng.standard_normal(len(t)))
        places.append(gland.place(r, t))
        angles.append(t + gland.angle + 0.2 * rng.standard_normal(len(t)))  # towards the lumen
    return np.concatenate(places), np.concatenate(angles)
