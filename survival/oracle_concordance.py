"""Harrell's concordance of a synthetic cohort's truth with its outcomes: what an oracle would reach."""

import numpy as np


def concordance(event: np.ndarray, time: np.ndarray, risk: np.ndarray) -> float:
    """Harrell's C-index: of the pairs whose order is known, the share in which who died earlier has the
    higher risk.

    `event` bool (n,), `time` months (n,), `risk` (n,). A pair is comparable if the earlier time is a death,
    or if times are equal and exactly one died; risks closer than 1e-8 count one half. NaN without a
    comparable pair.
    """
    earlier = event[:, None] & ((time[:, None] < time) | ((time[:, None] == time) & ~event))  # (n, n): i before j
    difference = risk[:, None] - risk
    tied = np.abs(difference) <= 1e-8
    pairs = earlier.sum()
    return (
        float(((difference > 0) & ~tied & earlier).sum() + 0.5 * (tied & earlier).sum()) / pairs
        if pairs
        else float("nan")
    )
