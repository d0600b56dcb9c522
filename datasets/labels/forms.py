"""The tables that are recognised by their columns: one entry each in FORMS, tried in that order.

To add a format, write a function from the header and the endpoint to `LabelColumns` (None where the table is another),
and its entry.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...errors import DataError, some
from ...names import check_choice
from ..tables.cells import column_name
from .columns import ENDPOINTS, LabelColumns, changed, columns_named
from .time_units import UNIT_WORDS, units_in

Header = Sequence[str]
Found = LabelColumns | None


@dataclass(frozen=True)
class Form:
    """One kind of table: `read(header, endpoint)` gives its columns, or None where the header is of another kind.

    `known_by` says which columns give it away; `reference` is where such tables come from.
    """

    name: str
    known_by: str
    reference: str
    read: Callable[[Header, str], Found]


_PUBLIC = {name: (name,) for name in ("age", "is_female", "oncotree_code", "stage", "grade", "histology", "site")}
_LIU = {  # TCGA-CDR's own names, which PANTHER keeps
    "age": ("age_at_initial_pathologic_diagnosis",),
    "stage": ("ajcc_pathologic_tumor_stage", "clinical_stage"),
    "grade": ("histological_grade",),
    "histology": ("histological_type",),
}


def _cdr(header: Header, endpoint: str) -> Found:
    if not {"bcr_patient_barcode", "type", "OS.time"} <= set(header):
        return None
    name = endpoint.upper()
    return LabelColumns(
        "TCGA-CDR", "bcr_patient_barcode", None, f"{name}.time", name, True, "days",
        _LIU | {"sex": ("gender",), "project": ("type",), "redaction": ("Redaction",)}, gaps=True, words=False,
    )  # fmt: skip


def _xena(header: Header, endpoint: str) -> Found:
    if "_PATIENT" not in header:
        return None
    name = endpoint.upper()
    more = {
        "project": ("cancer type abbreviation",), "redaction": ("Redaction",), "sex": ("gender",),
        "age": ("age_at_initial_pathologic_diagnosis",), "stage": ("ajcc_pathologic_tumor_stage", "clinical_stage"),
    }  # fmt: skip
    time, outcome = (f"_{name}", f"_{name}_IND") if f"_{name}_IND" in header else (f"{name}.time", name)
    return LabelColumns("UCSC Xena", "_PATIENT", None, time, outcome, True, "days", more, gaps=True, words=False)


def _panther(header: Header, endpoint: str) -> Found:
    if not any(name.endswith("_survival_days") for name in header):
        return None
    return LabelColumns(
        "PANTHER", "case_id", "slide_id", f"{endpoint}_survival_days", f"{endpoint}_censorship", False, "days",
        _LIU | {"sex": ("sex", "gender"), "oncotree_code": ("OncotreeCode",), "site": ("tissue_source_site",),
                "project": ("project_id",), "redaction": ("redaction",)}, gaps=True, words=False,
    )  # fmt: skip


_CBIOPORTAL_TITLES = {  # as tables are called that are downloaded from a study's page
    "os": "Overall Survival", "dss": "Disease-specific Survival", "pfs": "Progress Free Survival",
    "dfs": "Disease Free", "rfs": "Relapse Free Status",
}  # fmt: skip


def _cbioportal(header: Header, endpoint: str) -> Found:
    name = endpoint.upper()
    more = {
        "age": ("AGE", "AGE_AT_DIAGNOSIS", "Diagnosis Age", "Age at Diagnosis"), "sex": ("SEX", "GENDER", "Sex"),
        "oncotree_code": ("ONCOTREE_CODE", "Oncotree Code"), "stage": ("AJCC_PATHOLOGIC_TUMOR_STAGE",),
    }  # fmt: skip
    if "PATIENT_ID" in header and any(re.fullmatch(r"[A-Z]+_MONTHS", column) for column in header):
        return LabelColumns(
            "cBioPortal", "PATIENT_ID", None, f"{name}_MONTHS", f"{name}_STATUS", True, "months", more,
            gaps=endpoint != "os",
        )  # fmt: skip
    if "Patient ID" in header and any(column.endswith("(Months)") for column in header):
        title = _CBIOPORTAL_TITLES.get(endpoint, name)
        outcome = f"{title} Status"
        return LabelColumns(
            "cBioPortal", "Patient ID", None, f"{title} (Months)", outcome, True, "months", more, gaps=endpoint != "os"
        )
    return None


def _metabric(header: Header, endpoint: str) -> Found:
    age = {"age": ("age_at_diagnosis",)}
    if endpoint not in ("os", "dss"):
        return None
    if {"METABRIC_ID", "last_follow_up_status", "T"} <= set(header):
        return LabelColumns("METABRIC", "METABRIC_ID", None, "T", "last_follow_up_status", True, "days", age)
    if {"patient_id", "overall_survival_months", "death_from_cancer"} <= set(header):
        # Its column overall_survival says 1 for the living; the words are what they say.
        return LabelColumns(
            "METABRIC", "patient_id", None, "overall_survival_months", "death_from_cancer", True, "months", age
        )
    return None


def _gdc(header: Header, endpoint: str) -> Found:
    present = set(header)

    def called(*names: str) -> str:
        return next((name for name in names if name in present), names[0])

    death = called("days_to_death", "demographic.days_to_death", "death_days_to", "Days to Death")
    follow_up = called(
        "days_to_last_follow_up", "diagnoses.days_to_last_follow_up", "days_to_last_followup", "last_contact_days_to",
        "Days to Last Follow Up",
    )  # fmt: skip
    status = called("vital_status", "demographic.vital_status", "Vital Status")
    patient = called(
        "case_submitter_id", "cases.submitter_id", "submitter_id", "bcr_patient_barcode", "case_id",
        "Cases Submitter ID",
    )  # fmt: skip
    if not {death, follow_up, status, patient} <= present:
        return None
    more = {
        "sex": ("gender", "demographic.gender"), "age": ("age_at_index", "demographic.age_at_index"),
        "project": ("project_id", "project.project_id"),
    }  # fmt: skip
    if endpoint != "os":  # the table has no other: what it lacks is named
        death = f"days_to_{endpoint}"
    return LabelColumns("GDC", patient, None, death, status, True, "days", more, time_censored=follow_up)


def _patho_bench(header: Header, endpoint: str) -> Found:
    name = endpoint.upper()
    time = next((f"{name}_{unit}" for unit in ("days", "months") if f"{name}_{unit}" in header), f"{name}_days")
    events = [column for column in header if re.fullmatch(r"[A-Z]{2,3}_event", column)]
    slide = "filename" if "filename" in header else "slide_id"
    if "case_id" not in header or slide not in header or not events:
        return None
    kind = "MOOZY" if slide == "filename" else "Patho-Bench"
    unit = time.partition("_")[2]
    return LabelColumns(kind, "case_id", slide, time, f"{name}_event", True, unit, _PUBLIC | {"sex": ("sex",)})


_PATIENT = (
    "patient", "patient_id", "patientid", "pid", "case", "case_id", "id", "subject", "subject_id", "paciente",
    "patienten_id", "patientennummer", "pat_id", "patient_no", "patient_nr", "record_id", "study_id", "mrn", "nhc",
)  # fmt: skip
_SLIDE = ("slide", "slide_id", "filename", "file", "image_id", "wsi", "praparat", "schnitt", "lame", "lamina")
_EVENT = (
    "event", "dead", "died", "death", "deceased", "{e}_event", "{e}_e", "{e}_status", "status", "vital_status",
    "vitalstatus", "exitus", "ereignis", "estado_vital", "statut_vital",
)  # fmt: skip
_CENSORSHIP = ("censorship", "censored", "{e}_censorship", "{e}_censored", "censor", "{e}_censor")
_TIME = r"(?:{e}|{full}|survival|follow_?up|fu|time|t|observed)?(?:_?(?:time|survival))?_?(?:in_)?(?:{unit})?"
_UNITS = "|".join(word for word in UNIT_WORDS if len(word) > 2)


_AGE = re.compile("age|alter|edad|eta|birth|geburt")


def likely_columns(header: Header, endpoint: str = "os") -> dict[str, list[str]]:
    """Columns whose names tell what they hold, by key of --columns; several where the names do not decide.

    Case, blanks, points and dashes do not matter.
    """
    plain = {name: re.sub(r"[^a-z0-9]+", "_", _plain(name)).strip("_") for name in header}
    full = ENDPOINTS[endpoint].replace(" ", "_").replace("-", "_")
    time = re.compile(_TIME.format(e=endpoint, full=full, unit=_UNITS))

    def among(names: Sequence[str]) -> list[str]:
        wanted = [name.format(e=endpoint) for name in names]
        return sorted((name for name in header if plain[name] in wanted), key=lambda name: wanted.index(plain[name]))

    found = {
        "patient": among(_PATIENT),
        "slide": among(_SLIDE),
        "time": [name for name in header if plain[name] and time.fullmatch(plain[name])]
        or [name for name in header if len(units_in(name)) == 1 and not _AGE.search(plain[name])],
        "event": among(_EVENT),
        "censorship": among(_CENSORSHIP),
        "age": among(("age", "age_at_diagnosis", "alter")),
        "sex": among(("sex", "gender", "geschlecht", "sexo", "sexe")),
        "is_female": among(("is_female", "female")),
        "site": among(("site", "centre", "center", "hospital", "zentrum", "institution")),
    }
    return {key: names for key, names in found.items() if names}


def _plain(name: str) -> str:
    """Lower case, and letters without their accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(c))


def _by_names(kind: str, marks: Sequence[str]) -> Callable[[Header, str], Found]:
    """A form whose ids have fixed names, `marks`, and whose outcomes have names that tell what they are."""

    def read(header: Header, endpoint: str) -> Found:
        if not set(marks) <= set(header):
            return None
        likely = likely_columns(header, endpoint)
        times = [name for name in likely.get("time", ()) if len(units_in(name)) == 1]
        events, censorships = likely.get("event", []), likely.get("censorship", [])
        if len(times) != 1 or len(events) + len(censorships) != 1:
            return None
        slide = next((name for name in (*marks[1:], "FILENAME", "slide_id") if name in header), None)
        more = {key: (likely[key][0],) for key in ("age", "sex", "is_female", "site") if len(likely.get(key, ())) == 1}
        outcome = (events or censorships)[0]
        # A column called status says nothing of what 1 means; its words are what they say.
        died = None if "status" in outcome.lower() else bool(events)
        return LabelColumns(kind, marks[0], slide, times[0], outcome, died, units_in(times[0])[0], more)

    return read


def _public(header: Header, endpoint: str) -> Found:
    tail = "" if endpoint == "os" else f"_{endpoint}"
    kind = "SurvPath" if "survival_months_dss" in header else "public"
    return LabelColumns(
        kind, "case_id", "slide_id", f"survival_months{tail}", f"censorship{tail}", False, "months", _PUBLIC,
        gaps=bool(tail), companion="survival_days" if not tail and "survival_days" in header else None, words=False,
    )  # fmt: skip


FORMS: tuple[Form, ...] = (
    Form("TCGA-CDR", "bcr_patient_barcode, type, OS.time", "Liu et al., Cell 2018", _cdr),
    Form("UCSC Xena", "_PATIENT, OS.time, OS", "xenabrowser.net, survival data of TCGA", _xena),
    Form("PANTHER", "os_survival_days, os_censorship", "mahmoodlab/PANTHER, splits/survival", _panther),
    Form("cBioPortal", "PATIENT_ID, OS_MONTHS, OS_STATUS", "data_clinical_patient.txt of a study", _cbioportal),
    Form("METABRIC", "overall_survival_months, death_from_cancer", "Curtis et al., Nature 2012", _metabric),
    Form("GDC", "vital_status, days_to_death, days_to_last_follow_up", "clinical.tsv of the GDC portal", _gdc),
    Form("Patho-Bench, MOOZY", "case_id, slide_id or filename, OS_event, OS_days", "MahmoodLab/Patho-Bench",
         _patho_bench),
    Form("STAMP", "PATIENT and a time and an event by name", "KatherLab/STAMP, clini table",
         _by_names("STAMP", ("PATIENT",))),
    Form("PathBench-MIL", "patient, slide and a time and an event by name", "Sbrussee/PathBench-MIL, annotations",
         _by_names("PathBench-MIL", ("patient", "slide"))),
    Form("CLAM", "case_id, slide_id and a time and an event by name", "mahmoodlab/CLAM, dataset_csv",
         _by_names("CLAM", ("case_id", "slide_id"))),
    Form("public", "case_id, slide_id, survival_months, censorship", "MCAT, PORPOISE, CrossFusion, SurvPath", _public),
)  # fmt: skip
"""In the order in which they are tried; the last takes every table, and says what it lacks."""


def recognise(path: object, header: Header, endpoint: str, columns: Mapping[str, str] | None) -> LabelColumns:
    """The columns of a table with this header. DataError for a table that is none of the known ones.

    Columns that are named count; where they do not name patient, time and outcome, they change a recognised table's.
    """
    check_choice("endpoint", endpoint, ENDPOINTS, DataError)
    columns = {key: column_name(name) for key, name in (columns or {}).items()}
    complete = columns and {"patient", "time"} <= columns.keys() and ({"event", "censorship"} & columns.keys())
    if columns and complete:
        return columns_named(path, header, columns)
    public = {"survival_months", "censorship"} <= set(header)  # a table that has these is one, whatever else it has
    found = next(
        (f for form in FORMS if (f := form.read(header, endpoint)) and not (public and form.read in _NAMED)), None
    )
    assert found is not None  # the last form takes every table
    if columns:
        if any(name not in header for name in found.needed):
            return columns_named(path, header, columns)
        return changed(path, header, found, columns)
    _complete(path, header, found, endpoint)
    return found


_NAMED = frozenset(form.read for form in FORMS if form.name in ("STAMP", "PathBench-MIL", "CLAM"))


def _complete(path: object, header: Header, found: LabelColumns, endpoint: str) -> None:
    missing = [name for name in found.needed if name not in header]
    if not missing:
        return
    if endpoint != "os" and set(missing) <= {found.time, found.outcome}:
        raise DataError(
            f"{path} has no {ENDPOINTS[endpoint]} ({endpoint}): it lacks {', '.join(missing)}. Choose another "
            "endpoint, take the TCGA-CDR table, or name the columns (--columns)."
        )
    likely = likely_columns(header, endpoint)
    guess = ",".join(
        f"{key}={names[0]}"
        for key, names in likely.items()
        if key in ("patient", "slide", "event") or (key == "time" and len(names) == 1)
    )
    hint = f" By their names these may be: --columns {guess}." if guess else ""
    raise DataError(
        f"{path} lacks the columns {', '.join(missing)}. Expected {', '.join(found.needed)} "
        f"(and optionally age, is_female, oncotree_code); found {some(header, 12)}. Name them if they are called "
        f"otherwise: --columns patient=...,slide=...,time=...,event=...,unit=days.{hint}"
    )
