"""Which patches of one scale lie in which of another, by level-0 coordinates alone."""

import numpy as np


def overlap(
    coarse: np.ndarray, coarse_side: float, fine: np.ndarray, fine_side: float
) -> tuple[np.ndarray, np.ndarray]:
    """Finer patches in no coarser one, bool (n_fine,), and coarser ones without any finer one, bool (n_coarse,).

    A finer patch belongs to the coarser patches that its centre lies in (borders count). Grids need not be
    aligned, and rows need no order. coarse and fine are (n, 2) top-left corners, sides are in the same pixels.
    """
    centres = fine + fine_side / 2  # (n_fine, 2)
    if not len(coarse) or not len(fine):
        return np.ones(len(fine), bool), np.ones(len(coarse), bool)
    unmatched = ~_hit(centres, coarse, coarse_side)
    # No centre of a finer patch lies in [corner, corner + side]: seen from the corner, the same question.
    without_tiles = ~_hit(coarse + coarse_side, centres, coarse_side)
    return unmatched, without_tiles


def _hit(points: np.ndarray, corners: np.ndarray, side: float) -> np.ndarray:
    """Whether each point lies in any square [corner, corner + side], bool (n,); squares may overlap.

    A square of that side covers a point only if the nearest square centre, by the larger of the two coordinate
    distances, is no further than half a side.
    """
    from scipy.spatial import KDTree

    distance, _ = KDTree(corners + side / 2).query(points, p=np.inf, distance_upper_bound=side / 2 + 1e-6)
    return np.isfinite(distance)


def stride(corners: np.ndarray) -> float | None:
    """The usual distance of neighbours in a row of patches: their side, where they do not overlap. None if none are."""
    order = np.lexsort((corners[:, 0], corners[:, 1]))
    steps = np.diff(corners[order].astype(np.int64), axis=0)  # (n - 1, 2)
    across = steps[(steps[:, 1] == 0) & (steps[:, 0] > 0), 0]
    if not len(across):
        return None
    values, counts = np.unique(across, return_counts=True)
    return float(values[counts.argmax()])
