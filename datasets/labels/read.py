"""Labels: who was followed for how long and who died, by patient, with everything odd about the table listed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import DataError, some
from ...files import fingerprint
from ..cohorts import CDR, COHORTS, Cohort
from ..findings import Finding, finding
from ..patient import BARCODE, SYNTHETIC_PREFIX, Patient, site_of
from ..truth import read_truth
from .options import LabelOptions
from .panther import is_fold_folder, table_of_folds
from .quality import check_quality
from .rows import by_patient, of_cohort, unusable
from .slide_table import with_slide_table
from .table import Row, Table, read_label_table


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
    synthetic cohorts only. `endpoint` is os, dss, pfi or dfi, `kind` the kind of table, `unit` how its times
    were written. `clinical` are the covariates of the clinical baseline of the cohort.
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
    endpoint: str = "os"
    kind: str = "public"
    unit: str = ""
    clinical: tuple[str, ...] = ("age", "is_female")

    @property
    def counts(self) -> Counts:
        """Counts of the patients that can be analysed."""
        return counts_of(self.patients)

    @property
    def by_id(self) -> dict[str, Patient]:
        """The patients by id."""
        return {patient.id: patient for patient in self.patients}

    @property
    def without_slides(self) -> bool:
        """Whether the table names no slides: `link_slides` then adds them from a manifest or from features."""
        return not any(patient.slides for patient in self.patients)


def read_labels(path: str | Path, cohort: Cohort | str, options: LabelOptions | None = None, **changes: Any) -> Labels:
    """Labels from a table (text, workbook, Parquet or the GDC's JSON, packed or not) or from PANTHER's folder of folds.

    What kind of table it is, its columns tell, see `forms.FORMS`; any other is read with `columns`, see
    `parse_columns`. Patients are the unit: a case id that is a slide barcode is cut to its patient. Tables of several
    projects are cut to the cohort's. `changes` are fields of `LabelOptions`: `endpoint="dss"`.

    A patient whose time is missing or not above zero, or whose outcome is missing, cannot be analysed. That is a
    DataError, unless `unusable_times="drop"` or the public table is known to hold such patients (COAD's 23 zeros, the
    CDR): then they are left out, counted and listed. Also DataError: conflicting times or events of one patient, one
    slide under two patients, one patient in several spellings, and all faults of single rows, see `read_label_table`.
    """
    labels, faults = survey_labels(path, cohort, options, **changes)
    if faults:
        raise DataError(faults[0].message)
    return labels


def survey_labels(
    path: str | Path, cohort: Cohort | str, options: LabelOptions | None = None, **changes: Any
) -> tuple[Labels, tuple[Finding, ...]]:
    """As `read_labels`, but what that would refuse is collected as findings of severity error.

    Returns the labels of the patients without a fault, and the faults. Raises DataError only for a table that
    cannot be read at all.
    """
    path = Path(path)
    options = replace(options or LabelOptions(), **changes)
    endpoint = options.endpoint
    known = cohort if isinstance(cohort, Cohort) else (COHORTS | CDR).get(cohort)
    name = cohort.name if isinstance(cohort, Cohort) else cohort
    table = _table(path, name, options)
    if options.slide_table is not None:
        table = with_slide_table(table, options.slide_table, options.max_bytes)
    faults, findings = list(table.faults), list(table.notes)
    rows = by_patient(path, of_cohort(path, table.rows, known, name, findings), table.columns, findings, faults)
    borrowed = known is not None and _is_borrowed(known, rows)
    excluded = unusable(path, rows, table.columns, known, options.unusable_times, endpoint, findings, faults)
    everybody = [_patient(identifier, rows[identifier]) for identifier in sorted(rows)]
    kept = tuple(patient for patient in everybody if patient.id not in excluded)
    if not kept and not faults:
        faults.append(Finding("nobody_left", "error", 1, f"{path} holds no patient that can be analysed."))
    synthetic = [p.id for p in everybody if p.id.startswith(SYNTHETIC_PREFIX)]
    if synthetic and len(synthetic) < len(everybody):
        message = f"{path} mixes synthetic patients ({some(synthetic, 3)}) with others: keep them apart."
        faults.append(finding("synthetic_mixed", "error", message, synthetic))
    counts = counts_of(everybody)
    if borrowed:
        message = (
            f"no patient and no slide has a TCGA barcode: this is a cohort of your own and not the public {name}. It "
            f"is called {OWN}{name}, and public counts are not held against it"
        )
        findings.append(finding("own_cohort", "info", message, [f"{OWN}{name}"]))
        name = f"{OWN}{name}"
    findings += check_quality(table, everybody, kept, None if synthetic else known, endpoint, counts, borrowed)
    oracle = _oracle(path, kept, findings) if synthetic else None
    labels = Labels(
        name, kept, tuple(findings), fingerprint_of_patients(kept), str(path), bool(synthetic), oracle, counts,
        excluded, endpoint, table.columns.kind, table.basis,
        known.clinical if known else ("age", "is_female"),
    )  # fmt: skip
    return labels, tuple(faults)


OWN = "own-"
"""Before the name of a cohort that borrows a registered one: the two never share a board."""


def _is_borrowed(known: Cohort, rows: Mapping[str, list[Row]]) -> bool:
    """Whether the table of a TCGA cohort holds nobody of TCGA (simulated patients have barcodes, too)."""
    if not known.projects or not rows:
        return False
    return not any(BARCODE.match(row.case_id) or BARCODE.match(row.slide_id) for own in rows.values() for row in own)


def counts_of(patients: Iterable[Patient]) -> Counts:
    """Counts of these patients."""
    listed = list(patients)
    slides = [len(patient.slides) for patient in listed]
    events = sum(patient.event for patient in listed)
    return Counts(len(listed), sum(slides), events, sum(n > 1 for n in slides), max(slides, default=0))


def fingerprint_of_patients(patients: Iterable[Patient]) -> str:
    """What `Labels.fingerprint` is: a hash of ids, times, events and slides."""
    return fingerprint([p.id, repr(p.time), p.event, p.slides] for p in patients)


def _table(path: Path, cohort: str, options: LabelOptions) -> Table:
    if path.is_dir() and is_fold_folder(path):
        return table_of_folds(path, cohort, options)
    return read_label_table(path, options)


def _patient(identifier: str, rows: list[Row]) -> Patient:
    covariates: dict[str, object] = {}
    for name in ("age", "is_female", "oncotree_code", "stage", "grade", "histology"):
        known = [value for row in rows if (value := getattr(row, name)) is not None]
        if known:
            covariates[name] = known[0]
    site = site_of(identifier) or next((row.site for row in rows if row.site), "")
    if site:
        covariates["site"] = site
    slides = tuple(sorted({row.slide_id for row in rows if row.slide_id}))
    return Patient(identifier, rows[0].months, rows[0].event, site, slides, covariates)


def _oracle(path: Path, patients: tuple[Patient, ...], findings: list[Finding]) -> Mapping[str, float] | None:
    truth = read_truth(path.parent)
    if truth is None or any(p.id not in truth.risk for p in patients):
        message = "synthetic patients have no truth beside the table; the oracle cannot be shown"
        findings.append(finding("oracle_missing", "warning", message, (p.id for p in patients)))
        return None
    return {p.id: truth.risk[p.id] for p in patients}
