"""The cohorts: seven TCGA cohorts that papers on slide-level survival report, with their public counts.

Counts, median times and shares were counted in the public label tables named in `labels_source`; a test
compares them with those tables. Every table gives overall survival, one row a slide, censorship 1 = censored.
"""

from dataclasses import dataclass

from ..errors import UnknownName
from ..names import check_choice


@dataclass(frozen=True)
class Cohort:
    """One cohort as its public label table and official folds give it.

    Counts are those of the public table as published, before any row is left out; `zero_time_slides` of them
    have a survival time of 0 months and cannot be analysed. `median_months` is the median observed time of
    the patients (event or censored, whichever came first), `female` the share of women where the table says
    (else None). Both shape the simulated cohort. `official_folds` is the fingerprint of the official folds'
    identifiers. A corrected cohort is a new `version`; rows of results that were made with the old one stay.
    `planted` says where the hazard lives in a planted cohort, which exists only once it is simulated (one of
    `planted.KINDS`); it is None for all others.
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


_FOLDS = "RustinS/CrossFusion, splits/tcga_{}"
_DAYS = "days / 30.44"


def _cohort(
    name: str,
    title: str,
    projects: tuple[str, ...],
    counts: tuple[int, int, int, int, int],
    median_months: float,
    female: float | None,
    labels_source: str,
    official_folds: str,
    months: str = _DAYS,
    zero_time_slides: int = 0,
) -> Cohort:
    patients, slides, events, multi, most = counts
    return Cohort(
        name=name, title=title, projects=projects, endpoint="OS", patients=patients, slides=slides, events=events,
        multi_slide_patients=multi, max_slides=most, median_months=median_months, female=female, months=months,
        labels_source=labels_source, folds_source=_FOLDS.format(name), official_folds=official_folds,
        zero_time_slides=zero_time_slides,
    )  # fmt: skip


_CROSSFUSION = "RustinS/CrossFusion, tcga_{}_all_clean.csv"
_PORPOISE = "mahmoodlab/PORPOISE, tcga_{}_all_clean.csv"

#                 patients, slides, events, patients with several slides, most slides of one patient
COHORTS: dict[str, Cohort] = {
    cohort.name: cohort
    for cohort in (
        _cohort(
            "blca", "Bladder urothelial carcinoma", ("TCGA-BLCA",), (373, 437, 169, 25, 9), 17.61, 0.26,
            _CROSSFUSION.format("blca"), "b77dbb107f191bbf",
        ),
        _cohort(
            "brca", "Breast invasive carcinoma", ("TCGA-BRCA",), (956, 1022, 130, 62, 4), 28.93, 0.99,
            _PORPOISE.format("brca"), "16440a1a702a0c02",
        ),
        _cohort(
            "coad", "Colon adenocarcinoma", ("TCGA-COAD",), (416, 424, 95, 7, 3), 21.0, None,
            _CROSSFUSION.format("coad"), "2224f27e794b0e54", "days / 30, whole months", 23,
        ),
        _cohort(
            "coadread", "Colorectal adenocarcinoma", ("TCGA-COAD", "TCGA-READ"), (339, 344, 80, 4, 3), 22.08, None,
            _CROSSFUSION.format("coadread"), "47467ea1ebf507b0",
        ),
        _cohort(
            "gbmlgg", "Glioma", ("TCGA-GBM", "TCGA-LGG"), (569, 1011, 187, 148, 17), 19.22, 0.42,
            _PORPOISE.format("gbmlgg"), "0608a5ac40cdf268",
        ),
        _cohort(
            "luad", "Lung adenocarcinoma", ("TCGA-LUAD",), (444, 507, 157, 21, 10), 21.95, 0.55,
            _CROSSFUSION.format("luad"), "c5ac62bb60c9f6ce",
        ),
        _cohort(
            "ucec", "Uterine corpus endometrial carcinoma", ("TCGA-UCEC",), (480, 539, 75, 39, 8), 31.0, 1.0,
            _CROSSFUSION.format("ucec"), "f2e8a80ec9af348b",
        ),
    )
}  # fmt: skip


def _planted(kind: str, title: str) -> Cohort:
    return Cohort(
        name=f"planted-{kind}", title=title, projects=(), endpoint="OS", patients=600, slides=660, events=360,
        multi_slide_patients=60, max_slides=2, median_months=24.0, female=0.5, months=_DAYS,
        labels_source="simulated", folds_source="simulated", official_folds="", planted=kind,
    )  # fmt: skip


SIMULATED: dict[str, Cohort] = {
    cohort.name: cohort
    for cohort in (
        _planted("fine", "Known truth: the hazard lives at 20x alone"),
        _planted("coarse", "Known truth: the hazard lives at 5x alone"),
        _planted("cross", "Known truth: a fine pattern inside a coarse region; no single scale tells"),
        _planted("site", "Known truth: the hazard belongs to the site, whose scanner leaves its mark"),
        _planted("null", "Known truth: there is nothing to find"),
        Cohort(
            name="demo", title="Rendered adenocarcinoma (simulated, not observed)", projects=(), endpoint="OS",
            patients=80, slides=86, events=56, multi_slide_patients=6, max_slides=2, median_months=20.0, female=None,
            months=_DAYS, labels_source="bench data render", folds_source="bench data render", official_folds="",
        ),
    )
}  # fmt: skip
"""Cohorts that exist only once they are simulated or rendered; the counts are those of the default size."""


def get(name: str) -> Cohort:
    """The cohort called `name` ("brca", "BRCA" or "tcga_brca"); UnknownName lists the known and the nearest."""
    wanted = name.strip().lower().removeprefix("tcga").lstrip("-_")
    known = COHORTS | SIMULATED
    check_choice("cohort", wanted, known, UnknownName)
    return known[wanted]
