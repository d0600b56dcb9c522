"""JSON as rows of text: the GDC's export of clinical data, or a list of flat records."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...errors import DataError
from .workbook import text_of


def case_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Header and rows. A case of the GDC gives one row a diagnosis, with the names of columns of its clinical.tsv.

    The line is the number of the record, the header counting as the first. DataError for other JSON.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}).") from error
    if isinstance(content, dict):
        data = content.get("data")
        content = data.get("hits") if isinstance(data, dict) else data if data is not None else content.get("cases")
    if not isinstance(content, list) or not content or not all(isinstance(case, dict) for case in content):
        raise DataError(f"{path} is JSON, but no list of cases, which is what a table can be read from.")
    rows = [row for case in content for row in _rows(case)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    yield 1, names
    for line, row in enumerate(rows, 2):
        yield line, [text_of(row.get(name)) for name in names]


def _rows(case: Mapping[str, object]) -> Iterator[dict[str, object]]:
    if not isinstance(case.get("demographic"), dict) and not isinstance(case.get("diagnoses"), list):
        yield {str(name): value for name, value in case.items() if not isinstance(value, dict | list)}
        return
    demographic, project = _mapping(case.get("demographic")), _mapping(case.get("project"))
    barcode = case.get("submitter_id") or str(demographic.get("submitter_id") or "").removesuffix("_demographic")
    own = {
        "case_id": case.get("case_id"),
        "case_submitter_id": barcode,
        "project_id": project.get("project_id") or case.get("project_id"),
        **{name: demographic.get(name) for name in ("vital_status", "days_to_death", "gender", "age_at_index")},
    }
    diagnoses = case.get("diagnoses")
    for one in diagnoses if isinstance(diagnoses, list) and diagnoses else [{}]:
        found = _mapping(one)
        row = own | {"days_to_last_follow_up": found.get("days_to_last_follow_up")}
        row["days_to_death"] = own["days_to_death"] if own["days_to_death"] is not None else found.get("days_to_death")
        row["vital_status"] = own["vital_status"] or found.get("vital_status")
        yield row


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
