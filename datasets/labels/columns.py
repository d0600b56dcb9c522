"""Which column of a label table holds what: recognised in the tables of other tools, named by the user for others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...errors import DataError, some
from ...names import check_choice, did_you_mean
from .time_units import unit_named, units_in

ENDPOINTS = {
    "os": "overall survival",
    "dss": "disease-specific survival",
    "pfi": "progression-free interval",
    "dfi": "disease-free interval",
    "pfs": "progression-free survival",
    "dfs": "disease-free survival",
}
COVARIATES = ("age", "is_female", "sex", "oncotree_code", "stage", "grade", "histology", "site", "project", "redaction")
KEYS = ("patient", "slide", "time", "time_censored", "event", "censorship", "unit", *COVARIATES[:-1])


@dataclass(frozen=True)
class LabelColumns:
    """Where a table keeps patient, slide (None: the table has no slides), time and outcome.

    `died` says what 1 means in `outcome`: True died, False censored, None not known. `unit` is months, weeks, days or
    years. `time_censored` is the column with the time of those who did not die, where the table keeps two. `words`: the
    outcome may be a word. `covariates` maps each covariate to columns, the first that is filled counts. `gaps`:
    patients without this endpoint are part of the published table (they are left out and listed, not refused), and so
    are zeros.
    """

    kind: str
    patient: str
    slide: str | None
    time: str
    outcome: str
    died: bool | None
    unit: str
    covariates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gaps: bool = False
    companion: str | None = None
    time_censored: str | None = None
    words: bool = True

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns without which no row can be read."""
        return tuple(name for name in (self.patient, self.slide, self.time, self.outcome, self.time_censored) if name)


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


def columns_named(path: object, header: Sequence[str], given: Mapping[str, str]) -> LabelColumns:
    """The columns that the user names. DataError for a table that lacks one, and for a time without a unit."""
    for key in given:
        check_choice("key of --columns", key, KEYS, DataError)
    lacking = [key for key in ("patient", "time") if key not in given]
    if lacking or ("event" in given) == ("censorship" in given):
        raise DataError(
            f"{path}: --columns must name patient, time, and either event (1 = died) or censorship (1 = censored); "
            f"it names {', '.join(given)}."
        )
    check_there(path, header, given)
    outcome = given.get("event") or given["censorship"]
    covariates = {key: (given[key],) for key in COVARIATES if key in given}
    unit = _unit_of_both(path, given["time"], given.get("time_censored"), given.get("unit"))
    return LabelColumns(
        "named", given["patient"], given.get("slide"), given["time"], outcome, "event" in given, unit, covariates,
        time_censored=given.get("time_censored"),
    )  # fmt: skip


def changed(path: object, header: Sequence[str], found: LabelColumns, given: Mapping[str, str]) -> LabelColumns:
    """The columns of a recognised table with those replaced that the user names."""
    for key in given:
        check_choice("key of --columns", key, KEYS, DataError)
    check_there(path, header, given)
    if "event" in given and "censorship" in given:
        raise DataError(f"{path}: --columns names event and censorship: give one of them.")
    more = {key: (given[key],) for key in COVARIATES if key in given}
    changes: dict[str, object] = {"covariates": {**found.covariates, **more}}
    changes |= {key: given[key] for key in ("patient", "slide") if key in given}
    if "time" in given or "time_censored" in given:
        time, censored = given.get("time", found.time), given.get("time_censored")
        changes |= {"time": time, "time_censored": censored, "companion": None}
        changes["unit"] = _unit_of_both(path, time, censored, given.get("unit"))
    elif "unit" in given:
        changes["unit"] = unit_of(path, found.time, given["unit"])
    if outcome := given.get("event") or given.get("censorship"):
        changes |= {"outcome": outcome, "died": "event" in given, "words": True}
    return replace(found, **changes)  # type: ignore[arg-type]


def check_there(path: object, header: Sequence[str], given: Mapping[str, str]) -> None:
    """Errors: `DataError` for a named column that the table lacks."""
    absent = [name for key, name in given.items() if key != "unit" and name not in header]
    if absent:
        hint = did_you_mean(absent[0], header)
        raise DataError(f"{path} has no column {', '.join(absent)}.{hint} Found {some(header, 12)}.")


def _unit_of_both(path: object, time: str, censored: str | None, given: str | None) -> str:
    """The unit of a time, which that of the censored patients shares where it has a column of its own."""
    unit = unit_of(path, time, given)
    if censored is not None and given is None and (other := unit_of(path, censored, None)) != unit:
        raise DataError(f"{path}: {time!r} is in {unit} and {censored!r} in {other}: write both in one unit.")
    return unit


def unit_of(path: object, column: str, given: str | None) -> str:
    """The unit of a time column: the one that is given, else the one that its name says.

    DataError where it says none, or several: a guess would be wrong in silence.
    """
    if given is not None:
        if unit := unit_named(given):
            return unit
        hint = did_you_mean(given, ("days", "weeks", "months", "years"))
        raise DataError(
            f"{path}: the unit of {column!r} is {given!r}, which is none that is known.{hint} Known: days, weeks, "
            "months and years, also in short and in other languages: add unit=days to --columns."
        )
    units = units_in(column)
    if len(units) == 1:
        return units[0]
    said = "not in its name" if not units else f"{' or '.join(units)} by its name, which says both"
    raise DataError(
        f"{path}: the unit of {column!r} is {said}: add unit=days, unit=weeks, unit=months or unit=years to --columns."
    )
