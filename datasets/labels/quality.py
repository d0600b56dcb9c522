"""Quality of a label table: what no reader has to refuse but every reader of its results should know."""

from collections.abc import Sequence
from typing import Protocol

from ..cohorts import Cohort
from ..findings import Finding, finding
from ..patient import BARCODE, Patient, site_of
from .table import Table
from .time_units import DAYS, looks_like

FROZEN = frozenset({"BS", "TS", "MS"})
"""Characters 21 and 22 of the barcode of a frozen section: bottom, top, middle slide."""

_SAMPLES = {"02": "recurrent", "06": "metastatic", "11": "normal tissue"}


class _Counts(Protocol):
    @property
    def patients(self) -> int: ...
    @property
    def slides(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def max_slides(self) -> int: ...


def is_frozen(slide: str) -> bool:
    """Whether the barcode of a slide says that it is a frozen section."""
    return bool(BARCODE.match(slide)) and slide[20:22].upper() in FROZEN


def check_quality(
    table: Table, everybody: Sequence[Patient], kept: Sequence[Patient], known: Cohort | None, endpoint: str,
    counts: _Counts, borrowed: bool = False,
) -> list[Finding]:  # fmt: skip
    """What is odd about slides, covariates, sites, units and counts, one Finding each.

    Counts are not compared where a cohort of one's own has `borrowed` a registered name.
    """
    return [
        *_slides(everybody, counts.max_slides),
        *_covariates(everybody),
        *_sites(table),
        *_units(table, kept, known, endpoint),
        *_counts(table, counts, None if borrowed else known, endpoint),
    ]


def _slides(patients: Sequence[Patient], most: int) -> list[Finding]:
    slides = [slide for p in patients for slide in p.slides]
    found = []
    if frozen := [slide for slide in slides if is_frozen(slide)]:
        message = "slides are frozen sections (TS, MS or BS in the barcode), not diagnostic ones"
        found.append(finding("frozen_slides", "warning", message, frozen))
    other = [s for s in slides if BARCODE.match(s) and s[13:15] in _SAMPLES]
    if other:
        kinds = ", ".join(sorted({_SAMPLES[slide[13:15]] for slide in other}))
        found.append(finding("not_primary_tumour", "warning", f"slides are not of the primary tumour ({kinds})", other))
    spelt: dict[str, set[str]] = {}
    for slide in slides:
        spelt.setdefault(slide.lower(), set()).add(slide)
    if twice := [name for names in spelt.values() if len(names) > 1 for name in names]:
        found.append(finding("slides_differ_in_case", "warning", "slides differ only in upper and lower case", twice))
    if several := [p.id for p in patients if len(p.slides) > 1]:
        message = f"patients have several slides (at most {most}); these form one bag"
        found.append(finding("several_slides", "info", message, several))
    return found


def _covariates(patients: Sequence[Patient]) -> list[Finding]:
    found = []
    for name, word in (("age", "age"), ("is_female", "sex")):
        if missing := [p.id for p in patients if name not in p.covariates]:
            found.append(finding(f"{word}_missing", "info", f"patients have no {word} in the table", missing))
    return found


def _sites(table: Table) -> list[Finding]:
    pairs = [(r.site.strip().upper(), site, r.case_id) for r in table.rows if r.site and (site := site_of(r.case_id))]
    differ = [(text, site, case) for text, site, case in pairs if text != site]
    integers = [(t, s, c) for t, s, c in differ if t.removesuffix(".0").zfill(2) == s]
    found = []
    if integers:
        text, site, _ = integers[0]
        message = f"cases have a site column that went through a spreadsheet ({site} became {text}); the barcode counts"
        found.append(finding("site_read_as_integer", "info", message, (case for _, _, case in integers)))
    if other := [f"{case} ({text})" for text, site, case in differ if (text, site, case) not in integers]:
        message = "cases have a site column that is not the site of their barcode; the barcode counts"
        found.append(finding("site_differs", "warning", message, other))
    return found


def _units(table: Table, kept: Sequence[Patient], known: Cohort | None, endpoint: str) -> list[Finding]:
    column, unit = table.columns.time, table.columns.unit
    if unit == "months":
        found = [Finding("time_unit", "info", 1, f"{column} is taken as months ({table.basis})")]
    else:
        factor = {"days": "divided by 30.44", "weeks": "times 7 / 30.44", "years": "times 12"}[unit]
        found = [Finding("time_unit", "info", 1, f"{column} is in {unit}; months are {unit} {factor}")]
    times = [p.time for p in kept]
    parts = [p.id for p in kept if unit == "days" and abs(p.time * DAYS - round(p.time * DAYS)) > 0.01]
    if len(kept) >= 10 and 2 * len(parts) > len(kept):
        message = f"patients have a time in {column} that is no whole day: are these days?"
        found.append(finding("time_unit_unlikely", "warning", message, parts))
    if known is not None and known.median_months is not None and endpoint == "os":
        if likely := looks_like(times, known.median_months):
            middle = sorted(times)[len(times) // 2]
            message = (
                f"{column} looks like {likely}, not {unit}: the median is {middle:.4g} months where {known.name} has "
                f"{known.median_months:g}. Name the unit (--columns ...,unit={likely})"
            )
            found.append(finding("time_unit_unlikely", "warning", message, [column]))
    elif long := [p.id for p in kept if p.time > 600]:
        message = f"patients were followed for more than 50 years: is {column} in {unit}?"
        found.append(finding("time_unit_unlikely", "warning", message, long))
    return found


def _counts(table: Table, counts: _Counts, known: Cohort | None, endpoint: str) -> list[Finding]:
    """Sizes against the public table; only where the table is of that kind, with slides or without."""
    if known is None or known.patients is None or endpoint != "os":
        return []
    if (table.columns.slide is None) != (known.slides is None):
        return []
    words = ("patients", "slides", "events")
    public, here = ({word: getattr(of, word) for word in words} for of in (known, counts))
    differ = [word for word in words if public[word] is not None and here[word] != public[word]]
    if not differ:
        return []
    listed = [word for word in words if public[word] is not None]
    mine, theirs = (f"{', '.join(f'{of[word]} {word}' for word in listed)}" for of in (here, public))
    return [Finding("counts_differ", "warning", 1, f"the table has {mine}; the public one has {theirs}")]
