"""Risk, survival and risk group of one line come from one score, so a line in which one was changed shows itself."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...leaderboards.result_row import ResultRow
from .ids import row_name
from .verification import Verification

_ROUNDED = 1e-4
"""How far rounded risks and rounded survival may be from each other."""
_DISCRETE = ("nll", "ce")
"""Losses whose risk is minus the sum of the survival curve."""


def check_agreement(
    row: ResultRow, part: pd.DataFrame, alive: NDArray[np.float64] | None, result: Verification
) -> None:
    """Check that lines of one fold and reading agree with themselves. `alive` (n, bins) is their survival, where known.

    Discrete losses: risk is minus the sum of survival. Others, and what is joined with covariates: whoever has the
    higher risk survives no longer, but for means over slides. Groups: nobody of the low-risk group has a higher risk
    than one of the high-risk group.
    """
    risk, groups = np.asarray(part["risk"], dtype=float), np.asarray(part["risk_group"])
    high, low = np.flatnonzero(groups == "high"), np.flatnonzero(groups == "low")
    if len(high) and len(low):
        least, most = high[np.argmin(risk[high])], low[np.argmax(risk[low])]
        if risk[most] > risk[least] + 1e-5 * (1 + abs(risk[most])):
            result.fault(
                f"{row_name(row)}: {_named(part, most)} has risk {risk[most]:.6g} and is of the low-risk group, "
                f"{_named(part, least)} has {risk[least]:.6g} and is of the high-risk group"
            )
    if alive is None:
        return
    if not row.covariates and row.chosen.get("loss", row.loss) in _DISCRETE:
        apart = np.abs(risk + alive.sum(axis=1))
        at = int(np.argmax(apart))
        if apart[at] > _ROUNDED:
            result.fault(
                f"{row_name(row)}: {_named(part, at)} has risk {risk[at]:.6g}, "
                f"its survival gives {-alive[at].sum():.6g}"
            )
    elif row.slides != "mean-risk":
        order = np.argsort(risk, kind="stable")
        apart = (alive[order] - np.minimum.accumulate(alive[order], axis=0)).max(axis=1)
        at = int(np.argmax(apart))
        if apart[at] > _ROUNDED:
            result.fault(
                f"{row_name(row)}: {_named(part, int(order[at]))} survives longer than patients whose risk is lower"
            )
    result.passed("lines that agree with themselves", len(part))


def _named(part: pd.DataFrame, at: int) -> str:
    return f"predictions line {part['line'].iloc[at]} ({part['patient'].iloc[at]})"
