"""Features as float16: half the bytes of float32, and a check that nothing was lost on the way."""

import numpy as np

from ...errors import DataError

LARGEST = 65504.0  # of float16


def to_half(features: np.ndarray, where: str, out: np.ndarray | None = None, first: int = 0) -> np.ndarray:
    """`features` (n, d) of any float dtype as float16; `where` names slide, scale and file for the message.

    `first` is the number of the first row, where the rows are a piece of a matrix. Raises DataError naming the first
    bad row if a value is NaN or infinite, or too large for float16.
    """
    if out is None:
        out = np.empty(features.shape, np.float16)
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(out, features, casting="same_kind")
    row = first_bad_row(out)
    if row is not None:
        with np.errstate(invalid="ignore"):
            line = np.asarray(features[row], np.float64)
            bad = line[~(np.abs(line) <= LARGEST)]
        value = float(bad[0]) if len(bad) else float("inf")
        kind = "NaN" if np.isnan(value) else "an infinite value" if np.isinf(value) else f"{value:g}, more than float16"
        raise DataError(f"{where}, row {first + row}: holds {kind}. Extract this slide again.")
    return out


def first_bad_row(half: np.ndarray, rows: int = 4096) -> int | None:
    """Index of the first row of float16 (n, d) with a NaN or an infinity, or None. Works in pieces: no large copy."""
    bits = half.view(np.uint16)
    for start in range(0, len(bits), rows):
        piece = bits[start : start + rows] & 0x7C00  # all exponent bits set: NaN or infinity
        bad = (piece == 0x7C00).any(axis=1)
        if bad.any():
            return start + int(bad.argmax())
    return None
