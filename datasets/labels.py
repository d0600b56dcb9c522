"""Labels: who was followed for how long and who died, by patient, with everything odd about the table listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .cohort import Cohort
from .cohorts import COHORTS
from .errors import DataError, some
from .findings import Finding, finding
from .fingerprint import fingerprint
from .label_table import read_label_table
from .patient import BARCODE, SYNTHETIC_PREFIX, Patient, patient_of, site_of
from .truth import read_truth

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Counts:
    """How many patients, slides and events (patients who died), and how many patients have several slides."""

    patients: int
    slides: int
    events: int
    multi_slide_patients: int
    max_slides: int


@dataclass(frozen=True)
class Labels:
    """The patients of a cohort who can be analysed, in the order of their ids, and what was noticed.

    `excluded` maps each patient of the table who cannot be analysed to the reason; `table_counts` counts the table as
    it stands, before they were left out, `counts` what is left. `fingerprint` hashes ids, times, events and slides; it
    does not depend on the order of rows. `oracle` is each patient's true risk, for synthetic cohorts only.
    """

    cohort: str
    patients: tuple[Patient, ...]
    findings: tuple[Finding, ...]
    fingerprint: str
    source: str
    synthetic: bool
    oracle: Mapping[str, float] | None
    table_counts: Counts
    excluded: Mapping[str, str]

    @property
    def counts(self) -> Counts:
        """Counts of the patients that can be analysed."""
        slides = [len(patient.slides) for patient in self.patients]
        events = sum(patient.event for patient in self.patients)
        return Counts(len(slides), sum(slides), events, sum(n > 1 for n in slides), max(slides, default=0))

    @property
    def by_id(self) -> dict[str, Patient]:
        """The patients by id."""
        return {patient.id: patient for patient in self.patients}


def read_labels(path: str | Path, cohort: Cohort | str, unusable_times: Literal["error", "drop"] = "error") -> Labels:
    """Labels from a table in the public format (csv, zipped csv, zip inside a zip): one row a slide.

    Columns: case_id, slide_id (with or without .svs), survival_months, censorship (1 = censored); age, is_female and
    oncotree_code where present. Patients are the unit: a case id that is a slide barcode is cut to its patient.

    A patient whose time is missing or not above zero cannot be analysed. That is a DataError, unless
    `unusable_times="drop"` or the cohort's public table is known to hold that many zeros (COAD): then they are left
    out, counted and listed. Also DataError: conflicting times or events of one patient, one slide under two patients,
    and all faults of single rows, see `read_label_table`.
    """
    path = Path(path)
    known = cohort if isinstance(cohort, Cohort) else COHORTS.get(cohort)
    name = cohort.name if isinstance(cohort, Cohort) else cohort
    table = read_label_table(path)
    findings: list[Finding] = []
    table = _patients_and_slides(path, table, findings)
    _refuse_conflicts(path, table)
    excluded = _unusable(path, table, known, unusable_times, findings)
    patients = tuple(
        _patient(str(key), rows, str(key) not in excluded)
        for key, rows in table.sort_values(["patient", "slide_id"]).groupby("patient", sort=True)
    )
    every = Labels(name, patients, (), "", str(path), False, None, Counts(0, 0, 0, 0, 0), {})
    kept = tuple(patient for patient in patients if patient.id not in excluded)
    if not kept:
        raise DataError(f"{path} holds no patient that can be analysed.")
    synthetic = _synthetic(path, patients)
    truth = read_truth(path.parent) if synthetic else None
    findings += _oddities(patients, every.counts, known, synthetic)
    oracle = {p.id: truth.risk[p.id] for p in kept if p.id in truth.risk} if truth else None
    if synthetic and (oracle is None or len(oracle) < len(kept)):
        oracle = None
        message = f"no truth for every patient beside {path.name}: the oracle cannot be shown"
        findings.append(Finding("oracle_missing", "warning", len(kept), message))
    records = [[p.id, repr(p.time), p.event, p.slides] for p in kept]
    return Labels(
        name,
        kept,
        tuple(findings),
        fingerprint(records),
        str(path),
        synthetic,
        oracle,
        every.counts,
        excluded,
    )


def _patients_and_slides(path: Path, table: pd.DataFrame, findings: list[Finding]) -> pd.DataFrame:
    repeated = table.duplicated()
    if repeated.any():
        message = f"{repeated.sum()} rows repeat another row exactly; each is used once"
        findings.append(finding("duplicate_rows", "warning", message, table.slide_id[repeated]))
    table = table[~repeated].copy()
    table["patient"] = table.case_id.map(patient_of)
    cut = table.case_id != table.patient
    if cut.any():
        message = "case ids are slide barcodes; the patient is their first 12 characters"
        findings.append(finding("case_id_is_slide_barcode", "info", message, table.case_id[cut]))
    owner = table.slide_id.map(patient_of)
    strange = table.slide_id.map(lambda s: bool(BARCODE.match(s))) & (owner != table.patient)
    strange &= table.patient.map(lambda p: bool(BARCODE.match(p)))
    if strange.any():
        lines = some(f"{i} ({s} under {p})" for i, s, p in table[strange][["slide_id", "patient"]].itertuples())
        raise DataError(
            f"{path}, line {lines}: the slide's barcode names another patient. Correct case_id or slide_id."
        )
    shared = table.groupby("slide_id").patient.nunique()
    shared = shared[shared > 1]
    if len(shared):
        raise DataError(f"{path}: slides listed under several patients: {some(shared.index)}. Correct case_id.")
    return table


def _refuse_conflicts(path: Path, table: pd.DataFrame) -> None:
    spread = table.groupby("patient")[["months", "event"]].nunique(dropna=False).gt(1).any(axis=1)
    conflicting = list(spread.index[spread])
    if conflicting:
        raise DataError(
            f"{path}: {len(conflicting)} patients have rows with different survival_months or censorship: "
            f"{some(conflicting)}. A patient has one outcome: correct the table."
        )


def _unusable(
    path: Path, table: pd.DataFrame, known: Cohort | None, policy: str, findings: list[Finding]
) -> dict[str, str]:
    bad = table[~(table.months > 0)]
    if bad.empty:
        return {}
    zeros_as_published = known is not None and (bad.months == 0).all() and len(bad) == known.zero_time_slides
    if policy != "drop" and not zeros_as_published:
        raise DataError(
            f"{path}, line {some(bad.index)}: survival_months is missing or not above zero for "
            f"{bad.patient.nunique()} patients ({some(sorted(set(bad.patient)))}). Correct or remove these rows, "
            f"or leave the patients out on purpose (unusable_times='drop')."
        )
    reasons = {
        str(p): "survival_months is missing" if m != m else f"survival_months is {m:g}"
        for p, m in zip(bad.patient, bad.months, strict=True)
    }
    message = (
        f"{len(bad)} slides of {len(reasons)} patients ({bad[bad.event].patient.nunique()} of whom died) have a "
        "survival time that is missing or not above zero; these patients are left out"
    )
    examples = tuple(sorted(set(bad.slide_id)))[:10]
    findings.append(Finding("time_not_positive", "warning", len(bad), message, examples))
    return reasons


def _patient(identifier: str, rows: pd.DataFrame, usable: bool) -> Patient:
    first = rows.iloc[0]
    covariates: dict[str, object] = {}
    for column in ("age", "is_female", "oncotree_code"):
        values = list(rows[column].dropna()) if column in rows else []
        if values and (value := values[0] if column == "oncotree_code" else _number(values[0])) is not None:
            covariates[column] = value
    site = site_of(identifier)
    if site:
        covariates["site"] = site
    time = float(first.months) if usable else float("nan")
    return Patient(identifier, time, bool(first.event), site, tuple(sorted(set(rows.slide_id))), covariates)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _synthetic(path: Path, patients: tuple[Patient, ...]) -> bool:
    drawn = [p.id for p in patients if p.id.startswith(SYNTHETIC_PREFIX)]
    if drawn and len(drawn) < len(patients):
        raise DataError(f"{path} mixes synthetic patients ({some(drawn, 3)}) with others: keep them apart.")
    return bool(drawn)


def _oddities(patients: tuple[Patient, ...], counts: Counts, known: Cohort | None, synthetic: bool) -> list[Finding]:
    found = []
    frozen = [s for p in patients for s in p.slides if BARCODE.match(s) and s[20:22].upper() in {"BS", "TS", "MS"}]
    if frozen:
        message = "slides are frozen sections (TS, MS or BS in the barcode), not diagnostic ones"
        found.append(finding("frozen_slides", "warning", message, frozen))
    several = [p.id for p in patients if len(p.slides) > 1]
    if several:
        message = f"patients have several slides (at most {counts.max_slides}); these form one bag"
        found.append(finding("several_slides", "info", message, several))
    no_age = [p.id for p in patients if "age" not in p.covariates]
    if no_age:
        found.append(finding("age_missing", "info", "patients have no age in the table", no_age))
    if known is not None and not synthetic:
        public = (known.patients, known.slides, known.events)
        here = (counts.patients, counts.slides, counts.events)
        if here != public:
            message = "the table has {} patients, {} slides and {} events; the public one has {}, {} and {}"
            found.append(Finding("counts_differ", "warning", 1, message.format(*here, *public)))
    return found
