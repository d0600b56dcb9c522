"""Patients of a synthetic cohort: as many as the real one has, with its slides, events and follow-up."""

from dataclasses import dataclass

import numpy as np

from ...errors import UsageError
from ...survival.concordance import c_index
from ...survival.followup import NotComputable
from ..cohorts import COHORTS, SIMULATED, Cohort

SHAPE = 2.0  # of the Weibull baseline; an increasing hazard
DAYS = 30.44  # days in a month, as in the public tables


@dataclass(frozen=True)
class Size:
    """How many patients, slides, events and patients with several slides a cohort has."""

    patients: int
    slides: int
    events: int
    multi: int
    most: int


def size_of(cohort: Cohort, patients: int | None) -> Size:
    """The cohort's public counts, or the same shares of fewer (or more) patients.

    UsageError for a cohort whose public counts are not known: it has no size to take.
    """
    counts = cohort.patients, cohort.slides, cohort.events, cohort.multi_slide_patients, cohort.max_slides
    public = [count for count in counts if count is not None]
    if len(public) < len(counts):
        raise UsageError(
            f"{cohort.name} cannot be simulated: no public table says how many slides its patients have. Simulate "
            f"one of {', '.join((*COHORTS, *SIMULATED))}"
        )
    full = Size(*public)
    if patients is None or patients == full.patients:
        return full
    if patients < 10:
        raise ValueError(f"a simulated cohort needs at least 10 patients, not {patients}")
    share = patients / full.patients
    multi = max(1, round(full.multi * share))
    extra = max(round((full.slides - full.patients) * share), multi)
    most = min(full.most, 1 + extra - (multi - 1))
    return Size(patients, patients + extra, max(2, round(full.events * share)), multi, most)


def slides_per_patient(rng: np.random.Generator, size: Size) -> np.ndarray:
    """How many slides each patient has, (patients,): `multi` have several, one has `most`, all together `slides`."""
    slides = np.ones(size.patients, int)
    several = rng.permutation(size.patients)[: size.multi]
    slides[several] = 2
    slides[several[:1]] = size.most
    left = size.slides - slides.sum()
    others = several[1:]
    while left > 0:
        room = others[slides[others] < size.most]
        chosen = rng.choice(room)
        slides[chosen] += 1
        left -= 1
    return slides


def identifiers(rng: np.random.Generator, n: int) -> list[str]:
    """Ids in the shape of TCGA barcodes, with a site at characters 6 and 7, and SYNT where TCGA stands."""
    letters = np.array(list("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"))
    sites = ["".join(rng.choice(letters, 2)) for _ in range(max(4, min(36, n // 20)))]
    weights = 1 / np.arange(1, len(sites) + 1)  # a few large centres, many small ones
    names: dict[str, None] = {}
    while len(names) < n:
        names[f"SYNT-{rng.choice(sites, p=weights / weights.sum())}-{''.join(rng.choice(letters, 4))}"] = None
    return list(names)


def follow(
    rng: np.random.Generator, log_hazard: np.ndarray, events: int, median_months: float
) -> tuple[np.ndarray, np.ndarray]:
    """Observed months and events, (n,) each, with exactly `events` deaths and the given median observed time.

    Time to death is Weibull with proportional hazards, S(t) = exp(-t^k exp(log_hazard)) (Bender, Augustin and
    Blettner, Statistics in Medicine 2005); time to censoring is gamma, independent of it, and stretched until
    exactly `events` patients die first: those with the smallest ratio of the two times.
    """
    n = len(log_hazard)
    death = (rng.standard_exponential(n) / np.exp(log_hazard)) ** (1 / SHAPE)
    censoring = rng.standard_gamma(2.0, n)
    ratio = np.sort(death / censoring)
    stretch = np.sqrt(ratio[events - 1] * ratio[events]) if events < n else 2 * ratio[-1]
    event = death <= stretch * censoring
    time = np.minimum(death, stretch * censoring)
    days = np.maximum(1, np.round(time * (median_months / np.median(time)) * DAYS))
    return np.round(days / DAYS, 2), event


def oracle(event: np.ndarray, time: np.ndarray, log_hazard: np.ndarray) -> float:
    """The C-index of the true log hazard; NaN where no two patients can be compared."""
    try:
        return c_index(time, event, log_hazard)
    except NotComputable:
        return float("nan")
