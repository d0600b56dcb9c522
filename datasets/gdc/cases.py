"""Cases and slide files of the GDC as rows of a label table: what the API calls things, and what we make of it."""

from collections.abc import Mapping, Sequence

from ..cohorts import Cohort
from ..labels.time_units import DAYS

CASE_FIELDS = (
    "case_id", "submitter_id", "project.project_id", "demographic.vital_status", "demographic.days_to_death",
    "demographic.gender", "demographic.sex_at_birth", "demographic.age_at_index", "diagnoses.age_at_diagnosis",
    "diagnoses.days_to_last_follow_up", "diagnoses.ajcc_pathologic_stage", "diagnoses.figo_stage",
    "diagnoses.tumor_grade", "diagnoses.primary_diagnosis", "follow_ups.days_to_follow_up",
)  # fmt: skip
FILE_FIELDS = (
    "file_id", "file_name", "md5sum", "file_size", "state", "experimental_strategy", "cases.submitter_id",
)  # fmt: skip
COLUMNS = (
    "case_id", "slide_id", "project", "site", "age", "is_female", "stage", "grade", "histology", "survival_days",
    "survival_months", "censorship",
)  # fmt: skip

_BLANK = {"", "not reported", "unknown", "--", "not allowed to collect"}


def case_filter(cohort: Cohort) -> dict:
    """Cases of the cohort's projects."""
    return {"op": "in", "content": {"field": "project.project_id", "value": list(cohort.projects)}}


def slide_filter(cohort: Cohort) -> dict:
    """Open diagnostic slides of the cohort's projects."""
    wanted = {
        "cases.project.project_id": list(cohort.projects),
        "data_type": ["Slide Image"],
        "experimental_strategy": ["Diagnostic Slide"],
        "access": ["open"],
    }
    return {
        "op": "and",
        "content": [{"op": "in", "content": {"field": f, "value": v}} for f, v in wanted.items()],
    }


def outcome(case: Mapping) -> tuple[float, bool] | str:
    """(days, died), or why the case has no outcome: death ends the follow-up, else the last contact does."""
    person = case.get("demographic") or {}
    status = str(person.get("vital_status") or "").lower()
    if status == "dead":
        days = _number(person.get("days_to_death"))
        if days is None:
            return "dead, but days_to_death is missing"
    elif status == "alive":
        seen = [_number(d.get("days_to_last_follow_up")) for d in _list(case, "diagnoses")]
        seen += [_number(f.get("days_to_follow_up")) for f in _list(case, "follow_ups")]
        known = [day for day in seen if day is not None]
        if not known:
            return "alive, but no follow-up has a day"
        days = max(known)
    else:
        return f"vital_status is {status or 'missing'}"
    return (days, status == "dead") if days > 0 else f"followed for {days:g} days"


def rows_of(cases: Sequence[Mapping], files: Sequence[Mapping]) -> tuple[list[dict], dict[str, str], list[str]]:
    """(rows of the label table, why each other case has none, slide files of no case), everything sorted.

    A row is a slide. Cases without an outcome or without a diagnostic slide have none.
    """
    slides: dict[str, list[str]] = {}
    for file in files:
        for case in _list(file, "cases"):
            slides.setdefault(str(case.get("submitter_id")), []).append(str(file["file_name"]))
    rows, left_out = [], {}
    for case in sorted(cases, key=lambda c: str(c["submitter_id"])):
        name, found = str(case["submitter_id"]), outcome(case)
        if isinstance(found, str):
            left_out[name] = found
        elif name not in slides:
            left_out[name] = "no open diagnostic slide"
        else:
            rows += [_row(case, slide, *found) for slide in sorted(slides[name])]
    known = {str(case["submitter_id"]) for case in cases}
    return rows, left_out, sorted(s for name, own in slides.items() if name not in known for s in own)


def _row(case: Mapping, slide: str, days: float, died: bool) -> dict[str, object]:
    name, person, diagnoses = str(case["submitter_id"]), case.get("demographic") or {}, _list(case, "diagnoses")

    def first(*keys: str) -> str:
        texts = (str(d.get(key) or "").strip() for d in diagnoses for key in keys)
        return next((text for text in texts if text.lower() not in _BLANK), "")

    age = _number(person.get("age_at_index"))
    born = _number(first("age_at_diagnosis"))
    sex = str(person.get("gender") or person.get("sex_at_birth") or "").lower()
    return {
        "case_id": name, "slide_id": slide, "project": (case.get("project") or {}).get("project_id", ""),
        "site": name[5:7], "age": f"{age:g}" if age is not None else f"{int(born // 365.25)}" if born else "",
        "is_female": {"female": "1", "male": "0"}.get(sex, ""), "stage": first("ajcc_pathologic_stage", "figo_stage"),
        "grade": first("tumor_grade"), "histology": first("primary_diagnosis"), "survival_days": f"{days:g}",
        "survival_months": f"{days / DAYS:.2f}", "censorship": int(not died),
    }  # fmt: skip


def _list(record: Mapping, key: str) -> list[Mapping]:
    value = record.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _number(value: object) -> float | None:
    try:
        return float(value) if value is not None and not isinstance(value, bool) else None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
