"""Units of time: how days became the months of a table, and whether months can be months at all."""

import math
import re
from collections.abc import Iterable, Sequence

DAYS = 30.44
"""Days in a month, as MCAT, PORPOISE and CrossFusion count; used here wherever days become months."""

PER_MONTH = {"months": 1.0, "days": DAYS, "weeks": DAYS / 7, "years": 1 / 12}
"""How many of a unit make a month."""

_WORDS = {
    "days": "days day d tage tagen tag jours jour dias dia días día giorni giorno dagen dag gün 天 日",
    "weeks": "weeks week wks wk w wochen woche semaines semanas settimane weken hafta 周",
    "months": "months month mos mo mths m monate monaten monat mois meses mes mesi maanden 月 个月",
    "years": "years year yrs yr y jahre jahren jahr ans années annees años anos anni jaren a y\u0131l 年",
}
UNIT_WORDS = {word: unit for unit, words in _WORDS.items() for word in words.split()}
"""What units are called, in the languages of the tables that were met."""

LONGEST = 600.0
"""Months: nobody is followed for more than 50 years."""

BASES = (30.44, 30.0, 30.4375, 365 / 12)
"""Days in a month that tables are known to divide by."""


def _telling(word: str) -> bool:
    """Whether a word says its unit inside a name: `m`, `a` and `d` do not, one Chinese sign does."""
    return len(word) > 2 or not word.isascii()


def unit_named(word: str) -> str | None:
    """The unit that a word names, in any case ("Days", "d", "Jahre"); None where it names none."""
    return UNIT_WORDS.get(word.strip().lower())


def units_in(name: str) -> tuple[str, ...]:
    """The units that a column's name says; more than one where it says several, none where it says none.

    `month`, `day`, `week` and `year` count wherever they stand (`OSmonth`), other words of three letters and more
    where they stand alone (`OS (Jahre)`).
    """
    lower = name.lower()
    inside = {unit for unit in PER_MONTH if unit[:-1] in lower}
    alone = {UNIT_WORDS[word] for word in re.findall(r"[^\W\d_]+", lower) if word in UNIT_WORDS and _telling(word)}
    return tuple(unit for unit in PER_MONTH if unit in inside | alone)


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
