"""Stroma: wavy bundles of collagen, from strips of noise in every direction that a field of directions picks from."""

from functools import cache

import numpy as np

from .fields import smooth

DIRECTIONS = 12
SIDE = 512  # pixels of the atlas, which tiles


@cache
def fibres() -> np.ndarray:
    """Noise drawn out along each direction, float32 (DIRECTIONS, SIDE, SIDE), mean 0 and variance 1; edges meet."""
    rng = np.random.default_rng(20250302)
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")
    bands = []
    for d in range(DIRECTIONS):
        angle = np.pi * d / DIRECTIONS
        along, across = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
        total = np.zeros((SIDE, SIDE))
        for long, short, weight in ((28, 1.3, 1.0), (40, 3.5, 1.0), (12, 0.8, 0.5)):
            spectrum = np.fft.rfft2(rng.standard_normal((SIDE, SIDE)))
            spectrum *= np.exp(-2 * np.pi**2 * ((long * along) ** 2 + (short * across) ** 2))
            band = np.fft.irfft2(spectrum, (SIDE, SIDE))
            total += weight * band / band.std()
        bands.append(total / total.std())
    return np.array(bands, np.float32)


def collagen(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Texture and direction of stroma, float32 `shape` each, one pixel a micron: mean 0 and variance 1, and radians."""
    direction = np.float32(rng.uniform(0, np.pi)) + 1.1 * smooth(rng, shape, 130)
    wave = 5 * smooth(rng, shape, 22)
    y, x = np.indices(shape, np.int32, sparse=True)
    row = (y + wave + 9 * smooth(rng, shape, 60)).astype(np.int32) % SIDE
    column = (x + wave[::-1] + rng.integers(SIDE)).astype(np.int32) % SIDE
    place = direction * (DIRECTIONS / np.pi)
    lower = np.floor(place).astype(np.int32)
    share = place - lower
    atlas = fibres()
    texture = (1 - share) * atlas[lower % DIRECTIONS, row, column]
    texture += share * atlas[(lower + 1) % DIRECTIONS, row, column]
    return texture, direction
