"""Nuclei: an atlas of stamps by kind, drawn once, and their placing on a slide."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

from .fields import ramp

TURNS = 16  # orientations, over half a turn
VARIANTS = 10
PX = 0.5  # microns


@dataclass(frozen=True)
class Kind:
    """What nuclei of one kind look like. Lengths are microns, densities amounts of haematoxylin."""

    radius: float  # of the circle of the same area
    spread: float  # of the radius, relative
    elongation: float  # long axis over short
    wobble: float  # of the outline, relative
    density: float
    rim: float  # more at the membrane, less within
    clumps: float  # of the chromatin, relative
    nucleoli: int


KINDS: dict[str, Kind] = {
    "typical": Kind(3.3, 0.08, 1.25, 0.03, 1.15, 0.08, 0.12, 0),
    "atypical": Kind(5.0, 0.18, 1.35, 0.08, 0.86, 0.55, 0.24, 2),
    "fibroblast": Kind(2.5, 0.12, 3.6, 0.05, 1.15, 0.05, 0.12, 0),
    "lymphocyte": Kind(2.6, 0.06, 1.08, 0.03, 1.6, 0.10, 0.25, 0),
}


@cache
def atlas(kind: str) -> tuple[tuple[tuple[np.ndarray, np.ndarray], ...], ...]:
    """Stamps by variant and orientation: (cover, density), float32 (s, s) each, s odd."""
    rng = np.random.default_rng([20250301, list(KINDS).index(kind)])
    return tuple(_variant(rng, KINDS[kind]) for _ in range(VARIANTS))


def _variant(rng: np.random.Generator, kind: Kind) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """One nucleus in every orientation."""
    radius = kind.radius * np.exp(kind.spread * rng.standard_normal()) / PX
    long = kind.elongation * np.exp(0.1 * rng.standard_normal())
    waves = kind.wobble * rng.standard_normal(4) / np.arange(1, 5) ** 0.5
    phases = rng.uniform(0, 2 * np.pi, 4)
    half = int(np.ceil(radius * np.sqrt(long) * 1.35)) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    grain = [gaussian_filter(rng.standard_normal(x.shape), s) * 2 * np.sqrt(np.pi) * s for s in (0.7, 1.6)]
    spots = [(rng.uniform(0.05, 0.5), rng.uniform(0, 2 * np.pi), rng.uniform(2.0, 3.4)) for _ in range(kind.nucleoli)]
    stamps = []
    for turn in range(TURNS):
        angle = np.pi * turn / TURNS
        u = (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(long)
        v = (y * np.cos(angle) - x * np.sin(angle)) * np.sqrt(long)
        theta = np.arctan2(v, u)
        uneven = sum(w * np.cos(k * theta + p) for k, w, p in zip(range(2, 6), waves, phases, strict=True))
        edge = radius * (1 + uneven)
        r = np.hypot(u, v)
        cover = ramp(edge - r, 1.1)
        inside = np.clip(r / edge, 0, 1)
        chromatin = 1 + kind.rim * (inside**3 - 0.6) + kind.clumps * (0.5 * grain[0] + 0.7 * grain[1])
        for away, where, size in spots:
            du, dv = u - away * edge * np.cos(where), v - away * edge * np.sin(where)
            chromatin += 1.0 * np.exp(-(du**2 + dv**2) / (2 * (0.5 * size) ** 2))
        stamps.append((cover, kind.density * cover * np.clip(chromatin, 0.3, 2.2)))
    return tuple((c.astype(np.float32), d.astype(np.float32)) for c, d in stamps)


def place(
    rng: np.random.Generator, cover: np.ndarray, density: np.ndarray, kind: str, at: np.ndarray, angle: np.ndarray
) -> None:
    """Stamp nuclei of one kind on `cover` and `density`, float32 (h, w), at pixels `at` (n, 2: x, y), turned by
    `angle`.

    Where nuclei overlap, the denser one is seen. Those that do not lie wholly within are left out.
    """
    stamps = atlas(kind)
    which = rng.integers(VARIANTS, size=len(at))
    turn = np.round(angle * TURNS / np.pi).astype(int) % TURNS
    strength = np.clip(1 + 0.13 * rng.standard_normal(len(at)), 0.6, 1.4).astype(np.float32)
    height, width = cover.shape
    for (x, y), v, t, s in zip(np.round(at).astype(int), which, turn, strength, strict=True):
        mask, stain = stamps[v][t]
        half = mask.shape[0] // 2
        top, left = y - half, x - half
        if top < 0 or left < 0 or y + half >= height or x + half >= width:
            continue
        window = np.s_[top : y + half + 1, left : x + half + 1]
        np.maximum(cover[window], mask, out=cover[window])
        np.maximum(density[window], stain * s, out=density[window])
