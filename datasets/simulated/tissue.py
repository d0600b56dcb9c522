"""Tissue of one synthetic slide: an irregular blob of patches, nested over three magnifications, and what is
in them.

Every 5x patch holds four 10x patches and each of those four 20x patches, exactly, in level-0 pixels. A 20x
patch has one of six tissue types; the last is the aggressive one, on which the planted hazard rests.
"""

from dataclasses import dataclass

import numpy as np

MAGNIFICATIONS = (5, 10, 20)
MPP = 0.25  # of level 0: a 40x slide
PATCH_PX = 256
SIDE = {m: round(PATCH_PX * 10 / m / MPP) for m in MAGNIFICATIONS}  # level-0 pixels; 10 / m is um per pixel at m
QUARTER = np.array([(0, 0), (1, 0), (0, 1), (1, 1)])  # where a patch's four children of the next scale lie in it
TYPES = 6
AGGRESSIVE = TYPES - 1
FACTORS = 4  # continuous variation: stain, texture, ...
SHARES = (0.5, 0.3, 0.2)  # of the variance of the hidden field at 5x, 10x and 20x: like tissue lies together
MEAN, SPREAD = -0.6, 0.8  # of a patient's tendency to aggressive tissue, in units of the hidden field


@dataclass(frozen=True)
class SimulatedTissue:
    """Coordinates int32 (n, 2) by magnification, parents of 20x in 10x and of 10x in 5x by row, and contents
    at 20x.

    `aggressive` is bool (n20,), `latent` float32 (n20, TYPES + FACTORS): which tissue type, and the
    continuous factors.
    """

    coords: dict[int, np.ndarray]
    aggressive: np.ndarray
    latent: np.ndarray


def draw_tissue(rng: np.random.Generator, tendency: float, cells: float) -> SimulatedTissue:
    """One slide of about `cells` 5x patches; `tendency` moves the share of aggressive tissue.

    Rows of every magnification come parent by parent here: row i of 10x has the rows 4i to 4i+3 of 20x. The
    order in the files is another one, see `shuffled`.
    """
    cells5 = blob(rng, 1 + int(rng.poisson(max(cells - 1, 0))))
    coords = nested(rng, cells5)
    n = len(cells5)
    fields = [rng.standard_normal((n * k, TYPES)) * np.sqrt(s) for k, s in zip((1, 4, 16), SHARES, strict=True)]
    field = np.repeat(fields[0], 16, axis=0) + np.repeat(fields[1], 4, axis=0) + fields[2]  # (n20, TYPES), variance 1
    aggressive = field[:, AGGRESSIVE] < tendency
    kind = np.where(aggressive, AGGRESSIVE, field[:, :AGGRESSIVE].argmax(axis=1))
    latent = np.zeros((16 * n, TYPES + FACTORS), np.float32)
    latent[np.arange(16 * n), kind] = 1
    stain = 0.3 * rng.standard_normal(FACTORS)  # of this slide
    latent[:, TYPES:] = stain + 0.3 * rng.standard_normal((16 * n, FACTORS))
    return SimulatedTissue(coords, aggressive, latent)


def blob(rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` connected grid cells, (n, 2), grown one random neighbour at a time: an irregular outline."""
    cells = [(0, 0)]
    taken, edge = {(0, 0)}, [(1, 0), (0, 1), (-1, 0), (0, -1)]
    for choice in rng.random(n - 1):
        x, y = edge.pop(int(choice * len(edge)))
        cells.append((x, y))
        taken.add((x, y))
        around = ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1))
        edge += [c for c in around if c not in taken and c not in edge]
    grid = np.array(cells)
    return grid - grid.min(axis=0)


def nested(rng: np.random.Generator, cells: np.ndarray) -> dict[int, np.ndarray]:
    """Level-0 corners int32 (n, 2) by magnification of 5x grid `cells` (n, 2), put somewhere on a slide.

    Row i of a scale has the rows 4i to 4i+3 of the next finer one.
    """
    origin = rng.integers(1, 20, 2) * SIDE[5] + rng.integers(0, SIDE[5], 2)
    coords = {5: origin + cells * SIDE[5]}
    for m in (10, 20):
        coords[m] = (coords[m // 2][:, None, :] + QUARTER * SIDE[m]).reshape(-1, 2)
    return {m: corners.astype(np.int32) for m, corners in coords.items()}


@dataclass(frozen=True)
class Look:
    """How a backbone shows tissue: a fixed random projection of the latent contents by magnification, and noise."""

    weights: dict[int, np.ndarray]  # (TYPES + FACTORS, dim) by magnification
    noise: float


def look_of(backbone_seed: int, dim: int) -> Look:
    """The projections of one backbone. Scales see the same tissue alike (70 % of the variance), not the same."""
    shape = (TYPES + FACTORS, dim)
    shared = np.random.default_rng([backbone_seed, 0]).standard_normal(shape)
    size = np.full((TYPES + FACTORS, 1), 0.6)
    size[AGGRESSIVE] = 0.9
    weights = {}
    for m in MAGNIFICATIONS:
        own = np.random.default_rng([backbone_seed, m]).standard_normal(shape)
        weights[m] = (size * (np.sqrt(0.7) * shared + np.sqrt(0.3) * own)).astype(np.float32)
    return Look(weights, 0.4)


# The coarser the patch, the less faithfully it shows what its children hold.
BLUR = {20: 0.0, 10: 0.15, 5: 0.25}


def show(
    rng: np.random.Generator, tissue: SimulatedTissue, look: Look
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Features float32 (n, dim) and coordinates int32 (n, 2) by magnification, rows in reading order of each
    scale.

    A patch at 10x or 5x shows the mean contents of its children, blurred, plus noise of its own. Rows follow
    the coordinates (top to bottom, then left to right), so that scales can be joined by coordinates and never
    by row.
    """
    features, coords = {}, {}
    total = sum(len(c) for c in tissue.coords.values())
    dim = look.weights[20].shape[1]
    noise = rng.standard_normal((total, dim), np.float32)  # one draw a slide: the costly part
    start = 0
    for m in MAGNIFICATIONS:
        corners = tissue.coords[m]
        latent = tissue.latent.reshape(len(corners), -1, TYPES + FACTORS).mean(axis=1)
        if BLUR[m]:
            latent = latent + BLUR[m] * rng.standard_normal(latent.shape, np.float32)
        matrix = noise[start : start + len(corners)]
        start += len(corners)
        matrix *= look.noise
        matrix += latent @ look.weights[m]
        order = np.lexsort((corners[:, 0], corners[:, 1]))
        features[m], coords[m] = matrix[order], corners[order]
    return features, coords
