"""bench data fetch: open clinical data and the slide manifest of a cohort from the GDC, as files of our data folder."""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, writing
from ...files import write_whole
from ..cohorts import Cohort
from ..findings import Finding, finding
from .cases import CASE_FIELDS, COLUMNS, FILE_FIELDS, case_filter, rows_of, slide_filter
from .search import Api, release, search

FORMAT = "milsurv-gdc-fetch"
VERSION = 1
NOTE = "fetch.json"
FILES = ("labels.csv", "manifest.tsv", "left_out.csv")


@dataclass(frozen=True)
class Fetched:
    """What was fetched: the folder, the data release it is of, counts, what was noticed, and whether it was there."""

    folder: Path
    release: str
    patients: int
    slides: int
    events: int
    findings: tuple[Finding, ...]
    already: bool = False


def fetch(
    cohort: Cohort,
    out: str | Path,
    api: Api | None = None,
    refresh: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Fetched:
    """Fetch `cohort` into `out`/<cohort>/: labels.csv in the public format, manifest.tsv as the GDC writes it,
    left_out.csv with every case that has no row and why, and fetch.json with the release and all checksums.

    What is there whole is not fetched again (unless `refresh`). An interrupted fetch goes on where it stopped: pages
    are kept, with checksums, in `.fetch` until the end. Every file is written whole or not at all, fetch.json last.
    `progress(what, done, total)` is called after every page. DataError: no usable answers, a folder with other
    files of these names, damage.
    """
    api = api or Api()
    folder = Path(out) / cohort.name
    if not refresh and (there := _there(folder, cohort)) is not None:
        return there
    _ours(folder)
    pages = folder / ".fetch"
    with writing(folder, "choose another folder"):
        pages.mkdir(parents=True, exist_ok=True)
        version = release(api)
        hits: dict[str, list[dict]] = {}
        warned: list[str] = []
        for what, fields, chosen, key in (
            ("cases", CASE_FIELDS, case_filter(cohort), "case_id"),
            ("files", FILE_FIELDS, slide_filter(cohort), "file_id"),
        ):
            report = (lambda done, total, what=what: progress(what, done, total)) if progress else None
            hits[what], warnings = search(api, what, chosen, fields, pages, key, version, report)
            warned += warnings
        _complete(api, hits)
        rows, left_out, unmatched = rows_of(hits["cases"], hits["files"])
        if not rows:
            raise DataError(
                f"{api.base} gave {len(hits['cases'])} cases and {len(hits['files'])} slides of {cohort.name}, "
                "but no case with both an outcome and a slide."
            )
        fetched = _write(folder, cohort, api, version, hits, rows, left_out, unmatched, warned)
        shutil.rmtree(pages, ignore_errors=True)
    return fetched


def _complete(api: Api, hits: Mapping[str, Sequence[Mapping]]) -> None:
    for what, needed in (("cases", ("submitter_id",)), ("files", ("file_name", "md5sum", "file_size", "state"))):
        lacking = [hit for hit in hits[what] if not all(hit.get(name) not in (None, "") for name in needed)]
        if lacking:
            raise DataError(f"{api.base}/{what}: {len(lacking)} hits lack one of {', '.join(needed)}: try again later.")


def _write(
    folder: Path, cohort: Cohort, api: Api, version: str, hits: Mapping[str, Sequence[Mapping]], rows: list[dict],
    left_out: Mapping[str, str], unmatched: Sequence[str], warned: Sequence[str],
) -> Fetched:  # fmt: skip
    manifest = [("id", "filename", "md5", "size", "state")]
    manifest += sorted(
        (f["file_id"], f["file_name"], f["md5sum"], str(f["file_size"]), f["state"]) for f in hits["files"]
    )
    content = {
        "labels.csv": _csv([COLUMNS, *(tuple(row[name] for name in COLUMNS) for row in rows)]),
        "manifest.tsv": _csv(manifest, "\t"),
        "left_out.csv": _csv([("case_id", "reason"), *left_out.items()]),
    }
    deaths = {row["case_id"]: not row["censorship"] for row in rows}
    findings = []
    if left_out:
        message = "cases are left out for want of an outcome or a slide; left_out.csv says why"
        findings.append(finding("cases_left_out", "warning", message, (f"{c} ({why})" for c, why in left_out.items())))
    if unmatched:
        findings.append(finding("unmatched_slides", "warning", "slides are of cases the API did not give", unmatched))
    if warned:
        findings.append(finding("api_warnings", "warning", "the API warned", warned))
    note = {
        "format": FORMAT, "version": VERSION, "cohort": cohort.name, "projects": list(cohort.projects),
        "api": api.base, "release": version, "cases": len(hits["cases"]), "slides_listed": len(hits["files"]),
        "patients": len(deaths), "slides": len(rows), "events": sum(deaths.values()), "left_out": len(left_out),
        "sha256": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in content.items()},
    }  # fmt: skip
    for name, text in (*content.items(), (NOTE, json.dumps(note, indent=1) + "\n")):
        write_whole(folder / name, text)
    return Fetched(folder, version, len(deaths), len(rows), sum(deaths.values()), tuple(findings))


def _there(folder: Path, cohort: Cohort) -> Fetched | None:
    """What lies there from an earlier fetch, if it is whole; None where there is nothing, DataError for damage."""
    note = _note(folder)
    if note is None:
        return None
    for name, checksum in note["sha256"].items():
        path = folder / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if name in FILES and path.is_file() else "missing"
        if found != checksum:
            raise DataError(f"{path} is not as it was fetched (changed or missing): fetch again with --refresh.")
    if note["cohort"] != cohort.name:
        raise DataError(f"{folder} holds {note['cohort']}, not {cohort.name}: choose another folder.")
    return Fetched(
        folder, note["release"], note["patients"], note["slides"], note["events"], (), already=True
    )  # fmt: skip


def _ours(folder: Path) -> None:
    """Files of our names that we did not write stay as they are."""
    other = [name for name in FILES if (folder / name).exists()]
    if other and _note(folder) is None and not (folder / ".fetch").is_dir():
        raise DataError(f"{folder / other[0]} is there and was not fetched: move it away or choose another folder.")


def _note(folder: Path) -> dict | None:
    path = folder / NOTE
    try:
        note = json.loads(path.read_text("utf-8"))
        if note["format"] != FORMAT or note["version"] != VERSION or not isinstance(note["sha256"], dict):
            raise ValueError(f"it is not of version {VERSION}")
        return note | {name: note[name] for name in ("cohort", "release", "patients", "slides", "events")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read ({error}): delete it and fetch again.") from error


def _csv(rows: Sequence[Sequence[object]], delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return out.getvalue()
