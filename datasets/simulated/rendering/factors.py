"""The two factors that a hazard rests on, and how much of it each carries, by cohort."""

import numpy as np
from scipy.stats import norm

from ....errors import DataError
from ....names import did_you_mean

HAZARDS: dict[str, tuple[float, float]] = {
    "demo": (1.0, 1.0),
    "planted-fine": (1.0, 0.0),
    "planted-coarse": (0.0, 1.0),
    "planted-null": (0.0, 0.0),
}
"""Relative weights of the fine factor (nuclei, 20x) and of the coarse one (architecture, 5x)."""

SHUFFLES = 64


def weights_of(cohort: str) -> tuple[float, float]:
    """The weights of `cohort`, of length 1, or 0 where there is no hazard. DataError if it cannot be rendered."""
    if cohort not in HAZARDS:
        hint = did_you_mean(cohort, HAZARDS)
        raise DataError(f"{cohort} cannot be rendered.{hint} These can: {', '.join(HAZARDS)}.")
    fine, coarse = HAZARDS[cohort]
    length = float(np.hypot(fine, coarse)) or 1.0
    return fine / length, coarse / length


def draw_factors(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The fine and the coarse factor of `n` patients, (n,) each: standard normal, and hardly correlated.

    Normal scores, not draws: in a small cohort chance would make one factor strong and another weak. The second order
    is that of several shuffles which is least correlated with the first.
    """
    scores = norm.ppf((np.arange(n) + 0.5) / n)
    scores /= scores.std()
    fine = rng.permutation(scores)
    return fine, min((rng.permutation(scores) for _ in range(SHUFFLES)), key=lambda coarse: abs(fine @ coarse))


def share_of(factor: np.ndarray) -> np.ndarray:
    """A standard normal factor as a share between 0.02 and 0.98, evenly spread over patients."""
    return np.clip(norm.cdf(factor), 0.02, 0.98)
