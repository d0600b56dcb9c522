"""Patients of a synthetic cohort: as many as the real one has, with its slides, events and follow-up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, UsageError
from ...survival.concordance import c_index
from ...survival.followup import NotComputable
from ..cohorts import COHORTS, SIMULATED, Cohort

SHAPE = 2.0  # of the Weibull baseline; an increasing hazard
DAYS = 30.44  # days in a month, as in the public tables
STRONGEST = 20.0  # log hazard ratio per SD beyond which no strength is looked for
_MOMENTS = 400  # at which hazards are integrated


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
    rng: np.random.Generator,
    log_hazard: np.ndarray,
    events: int,
    median_months: float,
    watched: NDArray[np.float64] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Observed months and events, (n,) each, with exactly `events` deaths and the given median observed time.

    Time to death is Weibull with proportional hazards, S(t) = exp(-t^k exp(log_hazard)) (Bender, Augustin and
    Blettner, Statistics in Medicine 2005); time to censoring is gamma, independent of it, and stretched until
    exactly `events` patients die first: those with the smallest ratio of the two times. `watched` (n,) multiplies the
    time to censoring of every patient, which then may depend on the hazard.
    """
    n = len(log_hazard)
    death = (rng.standard_exponential(n) / np.exp(log_hazard)) ** (1 / SHAPE)
    censoring = rng.standard_gamma(2.0, n)
    if watched is not None:
        censoring = censoring * watched
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


def expected_oracle(
    log_hazard: NDArray[np.float64], deaths: float, watched: NDArray[np.float64] | None = None
) -> float:
    """The C-index that these true log hazards (n,) have on average, over all times of death and censoring of `follow`.

    Nothing is drawn: with survival S_i and the chance G_i not to be censored by t, patient i is seen to die at t and
    patient j is then at risk with density f_i G_i S_j G_j, which is summed over pairs and integrated over time.

    Parameters
    ----------
    log_hazard
        Of every patient.
    deaths
        The share of patients who are seen to die.
    watched
        As in `follow`.

    """
    from scipy.optimize import root_scalar

    hazard = np.exp(log_hazard - log_hazard.mean())
    paces = np.ones(len(hazard)) if watched is None else watched
    # Evenly spaced quantiles of all times of death, where the integrand is smooth.
    grid = np.quantile(hazard, np.linspace(0, 1, 33))
    reach = (np.array([1e-6, 40.0]) / grid[[-1, 0]]) ** (1 / SHAPE)
    edges = np.geomspace(reach[0], reach[1], _MOMENTS + 1)
    alive = np.exp(-np.outer(edges**SHAPE, hazard))  # (edges, n)
    dying = alive[:-1] - alive[1:]
    alive, middle = (alive[:-1] + alive[1:]) / 2, np.sqrt(edges[:-1] * edges[1:])

    def seen(stretch: float) -> NDArray[np.float64]:
        share = np.outer(middle, 1 / (paces * stretch))
        return (1 + share) * np.exp(-share)  # of a gamma time of shape 2

    log_stretch = root_scalar(
        lambda s: float((dying * seen(np.exp(s))).sum() / len(hazard)) - deaths, bracket=(-30, 30), method="brentq"
    ).root
    there = seen(np.exp(log_stretch))
    order = np.argsort(hazard, kind="stable")
    first, later = (dying * there)[:, order], (alive * there)[:, order]
    # Of all who are at risk: those of a lower hazard count one, those of the same hazard one half.
    low, high = (np.searchsorted(hazard[order], hazard[order], side) for side in ("left", "right"))
    below = np.concatenate([np.zeros((len(later), 1)), np.cumsum(later, axis=1)], axis=1)
    right = first * (below[:, low] + below[:, high]) / 2 - first * later / 2  # nobody is compared with themselves
    pairs = first * below[:, [-1]] - first * later
    return float(right.sum() / pairs.sum())


def strength_for(
    score: NDArray[np.float64],
    wanted: float,
    deaths: float,
    pull: float = 0.0,
    watched: NDArray[np.float64] | None = None,
) -> float:
    """The log hazard ratio per SD of `score` (n,), standardised, at which the oracle's expected C-index is `wanted`.

    `pull` is the log time by which censoring comes earlier per SD of the score; `deaths` and `watched` are those of
    `expected_oracle`. Errors: `DataError` where no hazard is strong enough.
    """
    from scipy.optimize import root_scalar

    others = np.ones(len(score)) if watched is None else watched
    scale = others * np.exp(-pull * score)

    def missing(strength: float) -> float:
        return expected_oracle(strength * score, deaths, scale) - wanted

    if wanted <= 0.5:
        return 0.0
    if (most := missing(STRONGEST)) < 0:
        raise DataError(
            f"oracle={wanted:g}: the strongest hazard that this cohort can have gives {wanted + most:.3f}; ask for less"
        )
    return float(root_scalar(missing, bracket=(0, STRONGEST), method="brentq", xtol=1e-4).root)
