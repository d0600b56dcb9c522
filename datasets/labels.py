"""Labels: who was followed for how long and who died, by patient, with everything odd about the table listed."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from .cohort import Cohort
from .cohorts import COHORTS
from .errors import DataError, some
from .findings import Finding, finding
from .fingerprint import fingerprint
from .label_table import Row, read_label_table
from .patient import BARCODE, SYNTHETIC_PREFIX, Patient, patient_of, site_of
from .truth import read_truth


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

    `excluded` maps each patient of the table who cannot be analysed to the reason; `table_counts` counts the
    table as it stands, before they were left out, `counts` what is left. `fingerprint` hashes ids, times,
    events and slides; it does not depend on the order of rows. `oracle` is each patient's true risk, for
    synthetic cohorts only.
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
        return counts_of(self.patients)

    @property
    def by_id(self) -> dict[str, Patient]:
        """The patients by id."""
        return {patient.id: patient for patient in self.patients}


def read_labels(path: str | Path, cohort: Cohort | str, unusable_times: Literal["error", "drop"] = "error") -> Labels:
    """Labels from a table in the public format (csv, zipped csv, zip inside a zip): one row a slide.

    Columns: case_id, slide_id (with or without .svs), survival_months, censorship (1 = censored); age,
    is_female and oncotree_code where present. Patients are the unit: a case id that is a slide barcode is cut
    to its patient.

    A patient whose time is missing or not above zero cannot be analysed. That is a DataError, unless
    `unusable_times="drop"` or the cohort's public table is known to hold that many zeros (COAD): then they
    are left out, counted and listed. Also DataError: conflicting times or events of one patient, one slide
    under two patients, and all faults of single rows, see `read_label_table`.
    """
    path = Path(path)
    known = cohort if isinstance(cohort, Cohort) else COHORTS.get(cohort)
    findings: list[Finding] = []
    rows = _by_patient(path, read_label_table(path), findings)
    excluded = _unusable(path, rows, known, unusable_times, findings)
    everybody = [_patient(identifier, rows[identifier]) for identifier in sorted(rows)]
    kept = tuple(patient for patient in everybody if patient.id not in excluded)
    if not kept:
        raise DataError(f"{path} holds no patient that can be analysed.")
    synthetic = _synthetic(path, everybody)
    counts = counts_of(everybody)
    findings += _oddities(everybody, counts, None if synthetic else known)
    oracle = _oracle(path, kept, findings) if synthetic else None
    records = [[p.id, repr(p.time), p.event, p.slides] for p in kept]
    name = cohort.name if isinstance(cohort, Cohort) else cohort
    return Labels(name, kept, tuple(findings), fingerprint(records), str(path), synthetic, oracle, counts, excluded)


def counts_of(patients: Iterable[Patient]) -> Counts:
    """Counts of these patients."""
    listed = list(patients)
    slides = [len(patient.slides) for patient in listed]
    events = sum(patient.event for patient in listed)
    return Counts(len(listed), sum(slides), events, sum(n > 1 for n in slides), max(slides, default=0))


def _by_patient(path: Path, rows: list[Row], findings: list[Finding]) -> dict[str, list[Row]]:
    """Rows by patient, repeated ones once; patients with conflicting rows and slides of two patients are refused."""
    seen: dict[Row, Row] = {}
    repeated = []
    for row in rows:
        if seen.setdefault(replace(row, line=0), row) is not row:
            repeated.append(row)
    if repeated:
        message = "slides have rows that repeat another row exactly; each is used once"
        findings.append(finding("duplicate_rows", "warning", message, (row.slide_id for row in repeated)))
    cut = [row.case_id for row in rows if patient_of(row.case_id) != row.case_id]
    if cut:
        message = "case ids are slide barcodes; the patient is their first 12 characters"
        findings.append(finding("case_id_is_slide_barcode", "info", message, cut))
    patients: dict[str, list[Row]] = defaultdict(list)
    owners: dict[str, set[str]] = defaultdict(set)
    for row in seen.values():
        patient = patient_of(row.case_id)
        if BARCODE.match(row.slide_id) and BARCODE.match(patient) and patient_of(row.slide_id) != patient:
            raise DataError(
                f"{path}, line {row.line}: slide {row.slide_id} stands under {patient}, but its barcode names another "
                "patient. Correct case_id or slide_id."
            )
        patients[patient].append(row)
        owners[row.slide_id].add(patient)
    if shared := sorted(slide for slide, own in owners.items() if len(own) > 1):
        raise DataError(f"{path}: slides stand under several patients: {some(shared)}. Correct case_id.")
    if odd := sorted(p for p, own in patients.items() if len({(str(r.months), r.event) for r in own}) > 1):
        raise DataError(
            f"{path}: {len(odd)} patients have rows with different survival_months or censorship: {some(odd)}. "
            "A patient has one outcome: correct the table."
        )
    return patients


def _unusable(
    path: Path, rows: dict[str, list[Row]], known: Cohort | None, policy: str, findings: list[Finding]
) -> dict[str, str]:
    """Patients who cannot be analysed, with the reason; refused unless that is allowed or publicly known."""
    bad = [row for own in rows.values() for row in own if not row.months > 0]
    if not bad:
        return {}
    patients = {patient_of(row.case_id): row for row in bad}
    as_published = known and all(row.months == 0 for row in bad) and len(bad) == known.zero_time_slides
    if policy != "drop" and not as_published:
        raise DataError(
            f"{path}, line {some(sorted(row.line for row in bad))}: survival_months is missing or not above zero for "
            f"{len(patients)} patients ({some(sorted(patients))}). Correct or remove these rows, or leave the patients "
            "out on purpose (unusable_times='drop')."
        )
    died = sum(row.event for row in patients.values())
    message = (
        f"slides of {len(patients)} patients ({died} of whom died) have a survival time that is missing or not above "
        "zero; these patients are left out"
    )
    findings.append(finding("time_not_positive", "warning", message, (row.slide_id for row in bad)))
    return {
        patient: "survival_months is missing" if math.isnan(row.months) else f"survival_months is {row.months:g}"
        for patient, row in sorted(patients.items())
    }


def _patient(identifier: str, rows: list[Row]) -> Patient:
    covariates: dict[str, object] = {}
    for name in ("age", "is_female", "oncotree_code"):
        known = [value for row in rows if (value := getattr(row, name)) is not None]
        if known:
            covariates[name] = known[0]
    if site := site_of(identifier):
        covariates["site"] = site
    slides = tuple(sorted({row.slide_id for row in rows}))
    return Patient(identifier, rows[0].months, rows[0].event, site, slides, covariates)


def _oracle(path: Path, patients: tuple[Patient, ...], findings: list[Finding]) -> Mapping[str, float] | None:
    truth = read_truth(path.parent)
    if truth is None or any(p.id not in truth.risk for p in patients):
        message = "synthetic patients have no truth beside the table; the oracle cannot be shown"
        findings.append(finding("oracle_missing", "warning", message, (p.id for p in patients)))
        return None
    return {p.id: truth.risk[p.id] for p in patients}


def _synthetic(path: Path, patients: list[Patient]) -> bool:
    drawn = [p.id for p in patients if p.id.startswith(SYNTHETIC_PREFIX)]
    if drawn and len(drawn) < len(patients):
        raise DataError(f"{path} mixes synthetic patients ({some(drawn, 3)}) with others: keep them apart.")
    return bool(drawn)


def _oddities(patients: list[Patient], counts: Counts, known: Cohort | None) -> list[Finding]:
    found = []
    frozen = [s for p in patients for s in p.slides if BARCODE.match(s) and s[20:22].upper() in {"BS", "TS", "MS"}]
    if frozen:
        message = "slides are frozen sections (TS, MS or BS in the barcode), not diagnostic ones"
        found.append(finding("frozen_slides", "warning", message, frozen))
    if several := [p.id for p in patients if len(p.slides) > 1]:
        message = f"patients have several slides (at most {counts.max_slides}); these form one bag"
        found.append(finding("several_slides", "info", message, several))
    if no_age := [p.id for p in patients if "age" not in p.covariates]:
        found.append(finding("age_missing", "info", "patients have no age in the table", no_age))
    if known is not None:
        public = (known.patients, known.slides, known.events)
        here = (counts.patients, counts.slides, counts.events)
        if here != public:
            message = "the table has {} patients, {} slides and {} events; the public one has {}, {} and {}"
            found.append(Finding("counts_differ", "warning", 1, message.format(*here, *public)))
    return found
