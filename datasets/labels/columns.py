"""Which column of a label table holds what: recognised in public tables, named by the user for others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...errors import DataError, some
from ...names import check_choice, did_you_mean
from .time_units import PER_MONTH, unit_in

ENDPOINTS = {
    "os": "overall survival",
    "dss": "disease-specific survival",
    "pfi": "progression-free interval",
    "dfi": "disease-free interval",
}
COVARIATES = ("age", "is_female", "sex", "oncotree_code", "stage", "grade", "histology", "site", "project", "redaction")
KEYS = ("patient", "slide", "time", "event", "censorship", "unit", *COVARIATES[:-1])

_PUBLIC = {name: (name,) for name in ("age", "is_female", "oncotree_code", "stage", "grade", "histology", "site")}
_LIU = {  # TCGA-CDR's own names, which PANTHER keeps
    "age": ("age_at_initial_pathologic_diagnosis",),
    "stage": ("ajcc_pathologic_tumor_stage", "clinical_stage"),
    "grade": ("histological_grade",),
    "histology": ("histological_type",),
}


@dataclass(frozen=True)
class LabelColumns:
    """Where a table keeps patient, slide (None: the table has no slides), time and outcome.

    `died` says what 1 means in `outcome`: True died, False censored. `unit` is months, days or years.
    `covariates` maps each covariate to columns, the first that is filled counts. `gaps`: patients without this
    endpoint are part of the published table (they are left out and listed, not refused), and so are zeros.
    """

    kind: str
    patient: str
    slide: str | None
    time: str
    outcome: str
    died: bool
    unit: str
    covariates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gaps: bool = False
    companion: str | None = None

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns without which no row can be read."""
        return tuple(name for name in (self.patient, self.slide, self.time, self.outcome) if name)


def parse_columns(text: str) -> dict[str, str]:
    """`patient=case,slide=file,time=os_days,event=dead,unit=days` as a mapping.

    DataError names the unknown key and the nearest known one, and what is missing.
    """
    given: dict[str, str] = {}
    for part in text.split(","):
        key, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            raise DataError(
                f"--columns: {part.strip()!r} is not of the form key=column. Known keys: {', '.join(KEYS)}."
            )
        check_choice("key of --columns", key, KEYS, DataError)
        if key in given:
            raise DataError(f"--columns: {key} is given twice.")
        given[key] = name
    return given


def recognise(path: object, header: Sequence[str], endpoint: str, columns: Mapping[str, str] | None) -> LabelColumns:
    """The Columns of a table with this header. DataError for a table that is none of the known ones."""
    check_choice("endpoint", endpoint, ENDPOINTS, DataError)
    if columns:
        return _named(path, header, columns)
    if {"bcr_patient_barcode", "type", "OS.time"} <= set(header):
        name = endpoint.upper()
        found = LabelColumns(
            "TCGA-CDR", "bcr_patient_barcode", None, f"{name}.time", name, True, "days",
            _LIU | {"sex": ("gender",), "project": ("type",), "redaction": ("Redaction",)}, gaps=True,
        )  # fmt: skip
    elif any(name.endswith("_survival_days") for name in header):
        found = LabelColumns(
            "PANTHER", "case_id", "slide_id", f"{endpoint}_survival_days", f"{endpoint}_censorship", False, "days",
            _LIU | {"sex": ("sex", "gender"), "oncotree_code": ("OncotreeCode",), "site": ("tissue_source_site",),
                    "project": ("project_id",), "redaction": ("redaction",)}, gaps=True,
        )  # fmt: skip
    else:
        tail = "" if endpoint == "os" else f"_{endpoint}"
        kind = "SurvPath" if "survival_months_dss" in header else "public"
        found = LabelColumns(
            kind, "case_id", "slide_id", f"survival_months{tail}", f"censorship{tail}", False, "months", _PUBLIC,
            gaps=bool(tail), companion="survival_days" if not tail and "survival_days" in header else None,
        )  # fmt: skip
    _complete(path, header, found, endpoint)
    return found


def _complete(path: object, header: Sequence[str], found: LabelColumns, endpoint: str) -> None:
    missing = [name for name in found.needed if name not in header]
    if not missing:
        return
    if endpoint != "os" and set(missing) <= {found.time, found.outcome}:
        raise DataError(
            f"{path} has no {ENDPOINTS[endpoint]} ({endpoint}): it lacks {', '.join(missing)}. Choose another "
            "endpoint, take the TCGA-CDR table, or name the columns (--columns)."
        )
    raise DataError(
        f"{path} lacks the columns {', '.join(missing)}. Expected {', '.join(found.needed)} "
        f"(and optionally age, is_female, oncotree_code); found {some(header, 12)}. Name them if they are called "
        "otherwise: --columns patient=...,slide=...,time=...,event=...,unit=days."
    )


def _named(path: object, header: Sequence[str], given: Mapping[str, str]) -> LabelColumns:
    parse_columns(",".join(f"{key}={name}" for key, name in given.items()))
    lacking = [key for key in ("patient", "time") if key not in given]
    if lacking or ("event" in given) == ("censorship" in given):
        raise DataError(
            f"{path}: --columns must name patient, time, and either event (1 = died) or censorship (1 = censored); "
            f"it names {', '.join(given)}."
        )
    absent = [name for key, name in given.items() if key != "unit" and name not in header]
    if absent:
        hint = did_you_mean(absent[0], header)
        raise DataError(f"{path} has no column {', '.join(absent)}.{hint} Found {some(header, 12)}.")
    unit = given.get("unit") or unit_in(given["time"])
    if unit not in PER_MONTH:
        raise DataError(
            f"{path}: the unit of {given['time']!r} is {f'{unit!r}' if unit else 'not in its name'}: "
            "add unit=days, unit=months or unit=years to --columns."
        )
    outcome = given.get("event") or given["censorship"]
    covariates = {key: (given[key],) for key in COVARIATES if key in given}
    return LabelColumns(
        "named", given["patient"], given.get("slide"), given["time"], outcome, "event" in given, unit, covariates
    )
