"""Units of time: how days became the months of a table, and whether months can be months at all."""

import math
from collections.abc import Iterable, Sequence

DAYS = 30.44
"""Days in a month, as MCAT, PORPOISE and CrossFusion count; used here wherever days become months."""

PER_MONTH = {"months": 1.0, "days": DAYS, "years": 1 / 12}
"""How many of a unit make a month."""

BASES = (30.44, 30.0, 30.4375, 365 / 12)
"""Days in a month that tables are known to divide by."""


def unit_in(name: str) -> str | None:
    """The unit that a column's name says: days, months or years; None where it says none."""
    lower = name.lower()
    return next((unit for unit in ("months", "days", "years") if unit[:-1] in lower), None)


def basis_of(months: Sequence[str], days: Sequence[str] | None = None) -> str:
    """Which division of days gives these months, as text: "days / 30.44", "days / 30, whole months", "unknown", ...

    `months` as the table writes them, because the decimals tell; `days` from a column beside them where there is
    one. A basis is named when 98 % of the values are whole days divided by it, rounded as the table rounds, and
    when a month of 30 days and one of 30.4 can be distinguished.
    """
    pairs = [(t, d) for t, d in zip(months, days or [None] * len(months), strict=True) if _number(t) is not None]
    places = max((len(t.partition(".")[2].rstrip("0")) for t, _ in pairs), default=0)
    whole = ", whole months" if places == 0 else ""
    known = [(t, d) for t, d in pairs if _number(d) is not None]
    if places == 0 and len(known) < 20:
        return "whole months"
    if len(pairs) < 20:
        return "too few to tell how days became months"
    shares = {basis: _share(known or pairs, basis, min(places, 6)) for basis in BASES}
    best = max(BASES, key=lambda basis: shares[basis])
    told_apart = min(shares[30.0], max(shares[basis] for basis in BASES if basis != 30.0)) < 0.9
    return f"days / {best:.6g}{whole}" if shares[best] >= 0.98 and told_apart else "how days became months is unknown"


def _share(pairs: Sequence[tuple[str, str | None]], basis: float, places: int) -> float:
    half = 0.5 * 10.0**-places + 1e-9
    fits = 0
    for text, companion in pairs:
        months = float(text)
        days = [float(companion)] if companion else [math.floor(months * basis), math.ceil(months * basis)]
        fits += any(abs(day / basis - months) <= half for day in days)
    return fits / len(pairs)


def looks_like(months: Iterable[float], typical: float) -> str | None:
    """ "days" or "years" if these times are far from a cohort whose median observed time is `typical` months."""
    times = sorted(t for t in months if t > 0)
    if len(times) < 10:
        return None
    ratio = times[len(times) // 2] / typical
    return "days" if ratio > 12 else "years" if ratio < 1 / 6 else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
