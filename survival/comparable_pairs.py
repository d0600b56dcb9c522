"""Comparable pairs, and how far a C-index strays from one half by chance alone."""

import numpy as np


def comparable_pairs(event: np.ndarray, time: np.ndarray) -> tuple[int, np.ndarray]:
    """How many pairs have a known order, and for each patient in how many they are the earlier minus the later.

    `event` bool (n,), `time` (n,). A pair is comparable if the earlier time is a death, or if times are equal and
    exactly one died (Harrell's definition).
    """
    first = event[:, None] & ((time[:, None] < time) | ((time[:, None] == time) & ~event))  # (n, n): i before j
    return int(first.sum()), first.sum(axis=1) - first.sum(axis=0)


def chance_sd(event: np.ndarray, time: np.ndarray) -> float:
    """The standard deviation of Harrell's C-index of risks that know nothing of these outcomes; NaN without pairs.

    Exact, given the outcomes, for independent risks without ties: with P comparable pairs, of which patient i is the
    earlier in a_i and the later in b_i, Var(C) = (P + sum_i (a_i - b_i)^2) / (12 P^2). Two pairs that share the
    earlier (or the later) patient agree with probability 1/3, a chain of two with 1/6, and a pair by itself has
    variance 1/4; summing these covariances gives the formula. Without censoring it is the variance of Kendall's tau
    (Kendall, Biometrika 1938), (2n + 5) / (18 n (n - 1)) on the scale of C.
    """
    pairs, difference = comparable_pairs(event, time)
    return float(np.sqrt(pairs + np.square(difference, dtype=float).sum()) / (np.sqrt(12) * pairs)) if pairs else np.nan
