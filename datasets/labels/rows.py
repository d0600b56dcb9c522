"""From rows to patients: which rows belong to the cohort, to whom, and who cannot be analysed."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import DataError, some
from ..cohorts import Cohort
from ..findings import Finding, finding
from ..patient import BARCODE, patient_of
from ..slide_names import spelt_twice
from .columns import ENDPOINTS, LabelColumns
from .table import Row


def of_cohort(path: Path, rows: list[Row], known: Cohort | None, name: str, notes: list[Finding]) -> list[Row]:
    """The rows of the cohort's projects, where the table says the project; DataError if it holds none of them."""
    projects = {row.project.upper() for row in rows if row.project}
    wanted = {p.upper() for p in ((known and known.projects) or (name, f"TCGA-{name}"))}
    wanted |= {p.removeprefix("TCGA-") for p in wanted}
    if not projects or (known is None and len(projects) == 1):
        return rows
    if known is not None and not known.projects and not projects & wanted:  # a cohort of one's own may be of any
        message = "projects of the table are all used: the cohort names none"
        notes.append(finding("all_projects", "info", message, projects))
        return rows
    if not projects & wanted:
        raise DataError(f"{path} holds no patient of {name}: its projects are {some(sorted(projects), 12)}.")
    mine = [row for row in rows if (row.project or "").upper() in wanted]
    if len(mine) < len(rows):
        others = {row.project or "none" for row in rows} - {row.project for row in mine}
        message = f"projects of the table are not {name}; their {len(rows) - len(mine)} rows are not used"
        notes.append(finding("other_projects", "info", message, others))
    return mine


def by_patient(
    path: Path, rows: Sequence[Row], columns: LabelColumns, notes: list[Finding], faults: list[Finding]
) -> dict[str, list[Row]]:
    """Rows by patient, repeated ones once; patients whose rows contradict each other are faults and left out."""
    seen: dict[Row, Row] = {}
    repeated = []
    for row in rows:
        if seen.setdefault(replace(row, line=0), row) is not row:
            repeated.append(row)
    if repeated and columns.kind != "PANTHER":  # whose folds repeat every patient on purpose
        message = "slides have rows that repeat another row exactly; each is used once"
        notes.append(finding("duplicate_rows", "warning", message, (row.slide_id or row.case_id for row in repeated)))
    if cut := [row.case_id for row in rows if patient_of(row.case_id) != row.case_id]:
        message = "case ids are slide barcodes; the patient is their first 12 characters"
        notes.append(finding("case_id_is_slide_barcode", "info", message, cut))
    if spellings := spelt_twice({patient_of(row.case_id) for row in rows}):
        listed = some(" and ".join(group) for group in spellings)
        message = (
            f"{path}: {len(spellings)} patients are spelt in several ways ({listed}). They would count as several "
            f"people, in training and in test: write each in one way in {columns.patient}."
        )
        faults.append(
            finding("patients_spelt_twice", "error", message, (name for group in spellings for name in group))
        )
    patients: dict[str, list[Row]] = defaultdict(list)
    owners: dict[str, set[str]] = defaultdict(set)
    mismatched = []
    for row in seen.values():
        patient = patient_of(row.case_id)
        if BARCODE.match(row.slide_id) and BARCODE.match(patient) and patient_of(row.slide_id) != patient:
            mismatched.append(row)
            continue
        patients[patient].append(row)
        if row.slide_id:
            owners[row.slide_id].add(patient)
    if mismatched:
        row = mismatched[0]
        others = f" (and {len(mismatched) - 1} more such rows)" if len(mismatched) > 1 else ""
        message = (
            f"{path}, line {row.line}: slide {row.slide_id} stands under {patient_of(row.case_id)}, but its barcode "
            f"names another patient{others}. Correct case_id or slide_id."
        )
        faults.append(finding("slide_names_other_patient", "error", message, (r.slide_id for r in mismatched)))
    if shared := sorted(slide for slide, own in owners.items() if len(own) > 1):
        message = (
            f"{path}: slides stand under several patients: {some(shared)}. Correct case_id, or give every slide a name "
            "of its own (folders before it do not count)."
        )
        faults.append(finding("slide_of_two_patients", "error", message, shared))
    if columns.time_censored:
        patients = {patient: _latest(own) for patient, own in patients.items()}
    odd = sorted(p for p, own in patients.items() if len({(str(r.months), r.event, r.recorded) for r in own}) > 1)
    if odd:
        message = (
            f"{path}: {len(odd)} patients have rows with different {columns.time} or {columns.outcome}: {some(odd)}. "
            "A patient has one outcome: correct the table."
        )
        faults.append(finding("patients_conflict", "error", message, odd))
    left_out = {*odd, *(patient for slide in shared for patient in owners[slide])}
    _differing(patients, notes)
    return {patient: own for patient, own in patients.items() if patient not in left_out}


def _latest(rows: list[Row]) -> list[Row]:
    """Rows with the latest time of a patient, whom such tables list once a diagnosis; all where none has a time.

    A time of death is the same in all of them; the last contact is the latest of those noted.
    """
    timed = [row for row in rows if not math.isnan(row.months) and row.known]
    if not timed or any(row.event != timed[0].event for row in timed) or timed[0].event:
        return timed or rows
    latest = max(row.months for row in timed)
    return [row for row in timed if row.months == latest]


def _differing(patients: dict[str, list[Row]], notes: list[Finding]) -> None:
    for name in ("age", "is_female", "oncotree_code", "stage", "grade", "histology"):
        differ = [p for p, own in patients.items() if len({v for r in own if (v := getattr(r, name)) is not None}) > 1]
        if differ:
            message = f"patients have rows with different {name}; the first is used"
            notes.append(finding(f"{name}_differs", "warning", message, differ))


def unusable(
    path: Path,
    rows: dict[str, list[Row]],
    columns: LabelColumns,
    known: Cohort | None,
    policy: str,
    endpoint: str,
    notes: list[Finding],
    faults: list[Finding],
) -> dict[str, str]:
    """Patients who cannot be analysed, with the reason: those whom nobody may refuse, those left out on purpose or
    as publicly known, and those who are faults.
    """
    reasons: dict[str, str] = {}
    if redacted := [p for p, own in rows.items() if any(r.redacted for r in own)]:
        reasons |= dict.fromkeys(redacted, "redacted by the source of the table")
        message = "patients were redacted by the source of the table; left out"
        notes.append(finding("redacted", "warning", message, redacted))
    if missing := [p for p, own in rows.items() if p not in reasons and not own[0].recorded]:
        reasons |= dict.fromkeys(missing, f"the table has no {endpoint}")
        message = f"patients have no {ENDPOINTS[endpoint]} in the table; left out"
        notes.append(finding("endpoint_missing", "warning", message, missing))
    if unknown := [p for p, own in rows.items() if p not in reasons and not all(row.known for row in own)]:
        reasons |= dict.fromkeys(unknown, f"{columns.outcome} is missing")
        message = f"patients have no {columns.outcome}; left out"
        notes.append(finding("outcome_missing", "warning", message, unknown))
    bad = [row for p, own in rows.items() if p not in reasons for row in own if not row.months > 0]
    if not bad:
        return dict(sorted(reasons.items()))
    patients = {patient_of(row.case_id): row for row in bad}
    zeros = all(row.months == 0 for row in bad)
    as_published = zeros and (columns.gaps or (known is not None and len(bad) == known.zero_time_slides))
    if policy != "drop" and not as_published:
        message = (
            f"{path}, line {some(sorted(row.line for row in bad))}: {columns.time} is missing or not above zero for "
            f"{len(patients)} patients ({some(sorted(patients))}). Correct or remove these rows, or leave the patients "
            "out on purpose (--unusable-times drop)."
        )
        if columns.time_censored is None and all(math.isnan(row.months) and not row.event for row in bad):
            message += (
                " All of them are censored: if another column holds their time, name it (--columns time_censored=...)."
            )
        faults.append(finding("time_not_positive", "error", message, (row.slide_id or row.case_id for row in bad)))
    else:
        died = sum(row.event for row in patients.values())
        message = (
            f"slides of {len(patients)} patients ({died} of whom died) have a survival time that is missing or not "
            "above zero; these patients are left out"
        )
        notes.append(finding("time_not_positive", "warning", message, (row.slide_id or row.case_id for row in bad)))
    reasons |= {
        patient: f"{columns.time} is missing" if math.isnan(row.months) else f"{columns.time} is {row.months:g}"
        for patient, row in patients.items()
    }
    return dict(sorted(reasons.items()))
