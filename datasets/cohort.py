"""Cohort: what is publicly known about one TCGA cohort, as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cohort:
    """One cohort as its public label table and official folds give it.

    Counts are those of the public table as published, before any row is left out; `zero_time_slides` of them
    have a survival time of 0 months and cannot be analysed. `median_months` is the median observed time of
    the patients (event or censored, whichever came first), `female` the share of women where the table says
    (else None). Both shape the synthetic twin. `official_folds` is the fingerprint of the official folds'
    identifiers. A corrected cohort is a new `version`; rows of results that were made with the old one stay.
    `planted` says where the hazard lives in a cohort that exists only once it is drawn (one of `planted.KINDS`); it is
    None for all others.
    """

    name: str
    title: str
    projects: tuple[str, ...]
    endpoint: str
    patients: int
    slides: int
    events: int
    multi_slide_patients: int
    max_slides: int
    median_months: float
    female: float | None
    months: str
    labels_source: str
    folds_source: str
    official_folds: str
    zero_time_slides: int = 0
    planted: str | None = None
    version: str = "1"
