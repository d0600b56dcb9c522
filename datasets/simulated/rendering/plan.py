"""What a rendered cohort will be: its patients, their outcomes and what each slide shows, before anything is drawn."""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from ...cohorts import Cohort
from ..patients import follow, identifiers, oracle, size_of, slides_per_patient
from .factors import draw_factors, share_of, weights_of
from .slide import Content

BLANK = "SYNT-BLANK"
"""The slide without tissue. It is nobody's, so that no patient is lost with it."""


@dataclass(frozen=True)
class Person:
    """A patient: months and event as labels have them, the true log hazard and the factors that it rests on."""

    id: str
    age: int
    months: float
    event: bool
    risk: float
    fine: float
    coarse: float


@dataclass(frozen=True)
class PlannedSlide:
    """A slide to be drawn; `content` is None for the blank one, `pen` says whether somebody has drawn on it."""

    name: str
    patient: str
    site: str
    content: Content | None
    pen: bool = False


@dataclass(frozen=True)
class Plan:
    """Patients in the order of their ids, slides with the blank one last, and the C-index of the true risks."""

    people: tuple[Person, ...]
    slides: tuple[PlannedSlide, ...]
    oracle_c_index: float


def plan_cohort(cohort: Cohort, patients: int | None, seed: int, strength: float, area: float) -> Plan:
    """Draw who there is. `strength` is the SD of the log hazard over patients, `area` a slide's mean tissue in mm2.

    DataError for a cohort that cannot be rendered.
    """
    weights, size = weights_of(cohort.name), size_of(cohort, patients)
    rng = np.random.default_rng([seed, zlib.crc32(cohort.name.encode()), 2])
    ids = sorted(identifiers(rng, size.patients))
    counts = slides_per_patient(rng, size)
    fine, coarse = draw_factors(rng, size.patients)
    risk = strength * (weights[0] * fine + weights[1] * coarse)
    assert cohort.median_months is not None  # size_of refuses cohorts without public counts
    months, event = follow(rng, risk, size.events, cohort.median_months)
    age = np.clip(np.round(62 + 12 * rng.standard_normal(size.patients)), 18, 90).astype(int)
    people = tuple(
        Person(i, int(a), float(t), bool(e), float(r), float(f), float(c))
        for i, a, t, e, r, f, c in zip(ids, age, months, event, risk, fine, coarse, strict=True)
    )
    atypia, solid = share_of(fine), share_of(coarse)
    slides = []
    for i, name in enumerate(ids):
        for k in range(counts[i]):
            content = Content(float(atypia[i]), float(solid[i]), area * float(np.exp(0.2 * rng.standard_normal())))
            slides.append(
                PlannedSlide(f"{name}-01Z-00-DX{k + 1}.{rng.bytes(6).hex().upper()}", name, name[5:7], content)
            )
    inked = int(rng.integers(len(slides)))
    slides[inked] = replace(slides[inked], pen=True)
    slides.append(PlannedSlide(BLANK, "", ids[0][5:7], None))
    return Plan(people, tuple(slides), oracle(event, months, risk))
