"""Smooth random fields, soft edges and shaken grids: what everything on a slide is made of."""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter


def smooth(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """A Gaussian random field of mean 0 and variance about 1, float32 `shape`, that changes over `scale` pixels.

    Drawn on a grid as coarse as `scale` allows and enlarged: its cost hardly depends on `shape`.
    """
    step = max(1, int(scale / 3))
    coarse = (-(-shape[0] // step) + 4, -(-shape[1] // step) + 4)
    sigma = scale / step
    noise = gaussian_filter(rng.standard_normal(coarse, np.float32), sigma, mode="wrap")
    noise *= np.float32(2 * np.sqrt(np.pi) * sigma)  # a filter of width sigma divides the variance by 4 pi sigma^2
    return enlarge(noise, step)[: shape[0], : shape[1]]


def enlarge(field: np.ndarray, factor: int) -> np.ndarray:
    """`field` float32 (h, w), bicubic to (h * factor, w * factor)."""
    if factor == 1:
        return field
    height, width = field.shape
    image = Image.fromarray(np.ascontiguousarray(field, np.float32))
    return np.array(image.resize((width * factor, height * factor), Image.Resampling.BICUBIC))


def ramp(field: np.ndarray, width: float) -> np.ndarray:
    """0 below -width, 1 above width, smooth between: a soft edge where `field` is 0."""
    x = np.clip(field / (2 * width) + 0.5, 0, 1)
    return x * x * (3 - 2 * x)


def grid(rng: np.random.Generator, shape: tuple[int, int], spacing: float, shake: float) -> np.ndarray:
    """Points of a hexagonal grid over `shape`, each moved at random by `shake` of the spacing."""
    rows = np.arange(0, shape[0], spacing * np.sqrt(3) / 2)
    x, y = np.meshgrid(np.arange(0, shape[1], spacing), rows)
    x = x + (np.arange(len(rows)) % 2)[:, None] * spacing / 2
    points = np.stack([x.ravel(), y.ravel()], 1) + shake * spacing * rng.standard_normal((x.size, 2))
    return points[((points >= 1) & (points < np.array(shape[::-1]) - 1)).all(1)]
