"""The dials of planted cohorts: each makes the task harder or easier in one known way.

One table, from which the command line, the docs, `bench list dials` and the identity of a cohort are made. Who turns
no dial draws the cohort as it is without them, to the last bit.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...errors import UsageError
from ...names import check_choice

PATTERNED = ("fine", "coarse", "place")
"""Cohorts whose hazard follows a pattern that grows by degrees."""
ALL = ("fine", "coarse", "cross", "place", "site", "null")


@dataclass(frozen=True)
class Dial:
    """One dial.

    Parameters
    ----------
    name
        As `--dial NAME=VALUE` takes it.
    low, high
        The smallest and the largest value.
    default
        Its value where it is not turned; None where what it sets then follows from other options.
    what
        What it sets, in a sentence.
    kinds
        Planted cohorts that have it.

    """

    name: str
    low: float
    high: float
    default: float | None
    what: str
    kinds: tuple[str, ...] = ALL


DIALS: dict[str, Dial] = {
    dial.name: dial
    for dial in (
        Dial("oracle", 0.5, 0.95, None,
             "C-index that the true hazard is expected to have; the strength is solved for",
             ("fine", "coarse", "cross", "place", "site")),
        Dial("deaths", 0.05, 0.95, 0.6, "share of patients who die, exactly"),
        Dial("patches", 32, 20_000, 40, "mean number of 20x patches of a slide"),
        Dial("informative", 0.005, 0.5, None,
             "mean share of 20x patches that hold the fine pattern", ("fine", "cross", "place")),
        Dial("interaction", 0, 1, 1,
             "weight of co-location in the score; the rest is two main effects, one at 5x and one at 20x", ("cross",)),
        Dial("noise", 0, 0.4, 0, "share of patients who are given time and event of another"),
        Dial("censoring-hazard", -2, 2, 0,
             "how much earlier patients are censored per SD of the hazard, in log time"),
        Dial("censoring-site", 0, 2, 0, "SD between hospitals of the log time to censoring"),
        Dial("confounder", 0, 1, 0,
             "share of the score that is age, and the correlation of the pattern with age", PATTERNED),
        Dial("subtypes", 0, 0.5, 0,
             "share of patients of a second subtype, visible in the stain, in whom the pattern protects", PATTERNED),
        Dial("stain", 0, 10, 0,
             "another hospital: how far its stain and scanner move every slide, in SDs between hospitals"),
    )
}  # fmt: skip
"""Every dial by its name."""


def parse_dials(pairs: Iterable[str], kind: str) -> dict[str, float]:
    """Dials from `NAME=VALUE`, by name; those at their default are left out, since they change nothing.

    Raises
    ------
    UsageError
        For an unknown dial, one that this `kind` of planted cohort does not have, one that is given twice, and a
        value out of its range.

    Examples
    --------
    >>> parse_dials(["noise=0.2", "deaths=0.6"], "fine")
    {'noise': 0.2}

    """
    found: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip().replace("_", "-")
        if not equals:
            raise UsageError(f"--dial {pair}: expected NAME=VALUE")
        check_choice("dial", name, DIALS)
        dial = DIALS[name]
        if kind not in dial.kinds:
            having = ", ".join(f"planted-{one}" for one in dial.kinds)
            raise UsageError(f"--dial {name}: planted-{kind} has no such dial; {having} have it")
        if name in found:
            raise UsageError(f"--dial {name} is given twice")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not dial.low <= value <= dial.high:
            raise UsageError(f"--dial {pair}: expected a number from {dial.low:g} to {dial.high:g}")
        found[name] = value
    patches = found.get("patches", DIALS["patches"].default or 0)
    if "informative" in found and found["informative"] * patches < 2:
        raise UsageError(
            f"--dial informative={found['informative']:g}: of {patches:g} patches that is less than two; add --dial "
            f"patches={math.ceil(2 / found['informative'])} or more"
        )
    return {name: found[name] for name in DIALS if name in found and found[name] != DIALS[name].default}


def text_of(dials: Mapping[str, float]) -> str:
    """Dials as text, in the order of the table.

    >>> text_of({"deaths": 0.3, "noise": 0.1})
    'deaths=0.3, noise=0.1'
    """
    return ", ".join(f"{name}={value:.12g}" for name, value in dials.items())


def value_of(dials: Mapping[str, float], name: str) -> float:
    """The value of a dial that has a default."""
    default = DIALS[name].default
    assert default is not None, f"{name} has no default"
    return dials.get(name, default)
