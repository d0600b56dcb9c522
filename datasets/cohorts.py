"""The cohorts: those of TCGA that papers on slide-level survival report, with their public counts, and simulated ones.

Of seven, counts, median times and shares were counted in the public label tables named in `labels_source`; a test
compares them with those tables. Every table gives overall survival, one row a slide, censorship 1 = censored. Of ten
others no such table is public; their patients and deaths were counted in the TCGA-CDR, which names no slides. Those of
CPTAC, for external validation, have no counts here.
"""

import re
from dataclasses import dataclass

from ..errors import UnknownName, UsageError
from ..names import check_choice


@dataclass(frozen=True)
class Cohort:
    """One cohort as its public label table and official folds give it.

    Counts are those of the public table as published, before any row is left out, and None where no public table
    says them: the slides of cohorts counted in the TCGA-CDR, and everything about a cohort of one's own
    (`own_cohort`), which is held against nothing. `zero_time_slides` of them
    have a survival time of 0 months and cannot be analysed. `median_months` is the median observed time of
    the patients (event or censored, whichever came first), `female` the share of women where the table says
    (else None). Both shape the simulated cohort. `official_folds` is the fingerprint of the official folds'
    identifiers. A corrected cohort is a new `version`; rows of results that were made with the old one stay.
    `planted` says where the hazard lives in a planted cohort, which exists only once it is simulated (one of
    `planted.KINDS`); it is None for all others. `clinical` are the covariates of the clinical baseline that models
    of this cohort are tested against, named here before any is run; none where its tables hold none.
    """

    name: str
    title: str
    projects: tuple[str, ...]
    endpoint: str
    patients: int | None = None
    slides: int | None = None
    events: int | None = None
    multi_slide_patients: int | None = None
    max_slides: int | None = None
    median_months: float | None = None
    female: float | None = None
    months: str = ""
    labels_source: str = ""
    folds_source: str = ""
    official_folds: str = ""
    zero_time_slides: int = 0
    planted: str | None = None
    clinical: tuple[str, ...] = ("age", "is_female")
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
        zero_time_slides=zero_time_slides, clinical=() if female is None else ("age", "is_female"),
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


def _counted(name: str, title: str, patients: int, events: int, median_months: float, female: float) -> Cohort:
    return Cohort(
        name=name, title=title, projects=(f"TCGA-{name.upper()}",), endpoint="OS", patients=patients, events=events,
        median_months=median_months, female=female, months=_DAYS, labels_source="TCGA-CDR (Liu et al. 2018)",
    )  # fmt: skip


CDR: dict[str, Cohort] = {
    cohort.name: cohort
    for cohort in (
        _counted("gbm", "Glioblastoma multiforme", 596, 491, 12.09, 0.39),
        _counted("hnsc", "Head and neck squamous cell carcinoma", 528, 223, 21.16, 0.27),
        _counted("kirc", "Kidney renal clear cell carcinoma", 537, 177, 39.13, 0.36),
        _counted("kirp", "Kidney renal papillary cell carcinoma", 291, 44, 25.3, 0.26),
        _counted("lgg", "Brain lower grade glioma", 515, 125, 22.27, 0.45),
        _counted("lihc", "Liver hepatocellular carcinoma", 377, 132, 19.78, 0.32),
        _counted("lusc", "Lung squamous cell carcinoma", 504, 219, 21.91, 0.26),
        _counted("paad", "Pancreatic adenocarcinoma", 185, 100, 15.34, 0.45),
        _counted("skcm", "Skin cutaneous melanoma", 470, 216, 36.07, 0.38),
        _counted("stad", "Stomach adenocarcinoma", 443, 172, 14.65, 0.36),
    )
}
"""Cohorts whose patients and deaths the TCGA-CDR counts; it names no slides, so these counts are not known."""


def _cptac(name: str, title: str) -> Cohort:
    return Cohort(name=f"cptac-{name}", title=f"{title} (CPTAC)", projects=(), endpoint="OS")


CPTAC: dict[str, Cohort] = {
    cohort.name: cohort
    for cohort in (
        _cptac("brca", "Breast invasive carcinoma"),
        _cptac("ccrcc", "Clear cell renal cell carcinoma"),
        _cptac("coad", "Colon adenocarcinoma"),
        _cptac("gbm", "Glioblastoma multiforme"),
        _cptac("hnscc", "Head and neck squamous cell carcinoma"),
        _cptac("lscc", "Lung squamous cell carcinoma"),
        _cptac("luad", "Lung adenocarcinoma"),
        _cptac("pda", "Pancreatic ductal adenocarcinoma"),
        _cptac("ucec", "Uterine corpus endometrial carcinoma"),
    )
}
"""Cohorts to validate models on that TCGA trained. No count is held against their tables: releases differ."""


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
        _planted("place", "Known truth: the same patches in every patient; only where they lie tells"),
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
    known = COHORTS | CDR | CPTAC | SIMULATED
    check_choice("cohort", wanted, known, UnknownName)
    return known[wanted]


def own_cohort(name: str, title: str = "", clinical: tuple[str, ...] = ("age", "is_female")) -> Cohort:
    """A cohort of one's own: no public count, project or endpoint is held against it.

    UsageError for a name that cannot be one: letters, digits, dots, dashes and underscores.
    """
    if not re.fullmatch(r"\w[\w.-]{0,79}", name):
        raise UsageError(f"{name!r} cannot name a cohort: use letters, digits, dots, dashes and underscores")
    return Cohort(name=name, title=title or name, projects=(), endpoint="", clinical=clinical)
