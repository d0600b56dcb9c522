"""A label table as rows, each checked by itself, before anybody decides what a patient is."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, some
from ..findings import Finding
from ..slide_names import slide_names
from ..tables.cells import TableCells, read_cells
from ..tables.numbers import decimals_of, number
from ..tables.text import LOST
from .columns import LabelColumns
from .covariates import ages, women
from .forms import recognise
from .options import LabelOptions
from .status_words import Contradiction, StatusWords, is_missing, only_letters, read_status
from .time_units import LONGEST, PER_MONTH, basis_of

_DATE = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}(?!\d)")
BLANK = frozenset({"", "na", "n/a", "nan", "none", "null", "<na>", "--", "'--", "not reported"})


@dataclass(frozen=True)
class Row:
    """One row: a slide of a case ("" where the table has no slides). `months` is NaN where it is missing.

    `line` is where the row starts in the file; `recorded` is False where the table has no such endpoint for the
    case, `known` where a status is missing that should be there.
    """

    line: int
    case_id: str
    slide_id: str
    months: float
    event: bool
    recorded: bool = True
    known: bool = True
    age: float | None = None
    is_female: float | None = None
    oncotree_code: str | None = None
    stage: str | None = None
    grade: str | None = None
    histology: str | None = None
    site: str | None = None
    project: str | None = None
    redacted: bool = False


@dataclass(frozen=True)
class Table:
    """The rows that can be used by themselves, the faults of the others (severity error), and what was noticed.

    `basis` says how the months of the table came from days.
    """

    path: Path
    columns: LabelColumns
    rows: list[Row]
    faults: list[Finding]
    notes: list[Finding]
    basis: str


def read_label_table(path: Path, options: LabelOptions | None = None) -> Table:
    """The rows of a label table, see `read_cells`; slide ids lose the endings of files.

    Only the columns needed are kept: public tables carry thousands of columns of gene expression. Raises
    DataError for a table that cannot be read or lacks columns; what is wrong with single rows is in `faults`.
    """
    options = options or LabelOptions()
    return parse_rows(read_cells(path, options.max_bytes, options.sheet), options)


def parse_rows(cells: TableCells, options: LabelOptions | None = None) -> Table:
    """The rows of a table that is already text. DataError as `read_label_table`."""
    options = options or LabelOptions()
    path, header = cells.path, cells.header
    try:
        where = recognise(path, header, options.endpoint, options.columns)
    except DataError as error:
        raise DataError(f"{error}{_misread(cells)}") from error
    if not cells.lines and not cells.faults:
        raise DataError(f"{path} has a header but no rows.")
    names = {*where.needed, *(name for group in where.covariates.values() for name in group), where.companion}
    at = {name: header.index(name) for name in names if name in header}
    if twice := sorted(name for name in at if header.count(name) > 1):
        raise DataError(f"{path} has the column {some(twice)} more than once: which one counts? Rename the others.")
    reach = max(at[name] for name in where.needed)
    table = [
        (line, {name: filled(row[i]) for name, i in at.items() if i < len(row)})
        for line, row in cells.lines
        if len(row) > reach
    ]
    faults = _Faults(path, list(cells.faults))
    notes = list(cells.notes)
    faults.add("row_cut_short", [line for line, row in cells.lines if len(row) <= reach], "the row is cut short")
    identifiers = [name for name in (where.patient, where.slide) if name]
    blank = [line for line, row in table if not all(row[name] for name in identifiers)]
    faults.add("ids_blank", blank, f"{' or '.join(identifiers)} is blank")
    torn = [line for line, row in table if any(LOST in (row[name] or "") for name in identifiers)]
    faults.add("ids_not_utf8", torn, f"{' or '.join(identifiers)} holds bytes that are no UTF-8")
    events = _outcomes(table, where, options, faults, notes)
    times, texts, sign = _times(table, where, events, faults)
    more = _covariates(path, table, where, sign, notes)
    slides = slide_names({row[where.slide] or "" for _, row in table} if where.slide else ())
    rows = [
        _row(line, row, where, slides, time, events[line], {name: values[i] for name, values in more.items()})
        for i, ((line, row), time) in enumerate(zip(table, times, strict=True))
        if line not in faults.lines
    ]
    days = [row.get(where.companion) or "" for _, row in table] if where.companion else None
    basis = basis_of(texts, days) if where.unit == "months" else f"{where.unit} as written"
    return Table(path, where, rows, faults.findings, notes, basis)


def _misread(cells: TableCells) -> str:
    """What may be wrong with the text itself where a table lacks its columns."""
    if len(cells.header) == 1:
        return " The table has one column: separate the cells by commas, semicolons, TABs or bars."
    read = next((note.examples[0] for note in cells.notes if note.code == "text_encoding"), None)
    return f" The file was read as {read}: if its letters look wrong here, save it as UTF-8." if read else ""


Cells = Sequence[tuple[int, dict[str, str | None]]]


def _times(
    table: Cells, where: LabelColumns, events: Mapping[int, bool | None], faults: "_Faults"
) -> tuple[list[float], list[str], str]:
    """Months (NaN where they are missing), the times as text with a point, and the decimal sign."""
    texts = [
        row[where.time_censored] if where.time_censored and events[line] is False else row[where.time]
        for line, row in table
    ]
    texts = [None if text and is_missing(text) else text for text in texts]
    columns = " or ".join(name for name in (where.time, where.time_censored) if name)
    read = decimals_of(texts, LONGEST * PER_MONTH[where.unit], f" {where.unit}")
    if read.doubt:
        message = (
            f"{faults.path}: {columns}: {read.doubt}. Write every number with a point and without a thousands sign."
        )
        faults.findings.append(Finding("number_ambiguous", "error", 1, message, (columns,)))
    values = [number(text, read.sign) for text in texts]
    if not read.doubt:
        wrong = {line: t for (line, _), t, v in zip(table, texts, values, strict=True) if t and v is None}
        listed = some(sorted(set(map(str, wrong.values()))))
        dates = wrong and all(_DATE.match(str(text)) for text in wrong.values())
        remedy = ". These are dates: write the time from diagnosis to death or last contact" if dates else ""
        faults.add("time_not_a_number", list(wrong), f"{columns} is no number ({listed}){remedy}")
    per_month = PER_MONTH[where.unit]
    months = [math.nan if v is None or math.isinf(v) else v / per_month for v in values]
    return months, [(text or "").replace(read.sign, ".") for text in texts], read.sign


def _outcomes(
    table: Cells, where: LabelColumns, options: LabelOptions, faults: "_Faults", notes: list[Finding]
) -> dict[int, bool | None]:
    """Whether the patient died, by line; None where that is missing or cannot be understood."""
    column, named = where.outcome, options.status_words
    texts = {line: row[column] for line, row in table}
    letters = only_letters({text for text in texts.values() if text})
    found: dict[int, bool | None] = {}
    torn: dict[int, str] = {}
    for line, text in texts.items():
        try:
            found[line] = None if text is None else _status(text, where, options, letters)
        except Contradiction:
            found[line], torn[line] = None, str(text)
    faults.add("status_contradicts_itself", list(torn), f"{column} says one thing in number and another in words "
               f"({some(sorted(set(torn.values())))})")  # fmt: skip
    meaning = "1 (died) or 0 (censored)" if where.died else "0 (died) or 1 (censored)"
    odd = {line: text for line, text in texts.items() if found[line] is None and line not in torn}
    missing = [line for line, text in odd.items() if text is None or (where.words and is_missing(text))]
    words = {line: str(text) for line, text in odd.items() if line not in missing}
    numbers = {line: text for line, text in words.items() if number(text) is not None}
    unknown = {line: text for line, text in words.items() if line not in numbers}
    listed = some(sorted(set(unknown.values())))
    if unknown and where.died is None and set(unknown.values()) & {"yes", "no", "true", "false"}:
        unknown, numbers = {}, {**numbers, **unknown}
    remedy = ". Say which words mean died: --status-words died=word|word" if where.words else ""
    faults.add("censoring_not_a_number", list(unknown), f"{column} is no number ({listed}){remedy}")
    listed = some(sorted(set(numbers.values())))
    if where.died is None:
        why = f"0 and 1 in {column} may mean either: name it, --columns event={column} or censorship={column}"
    else:
        why = f"{column} must be {meaning} but is {listed}"
        if numbers and where.words and len(set(texts.values()) - {None}) == 2:
            why += (
                f". If these are codes, say which means died: --status-words died={sorted(set(numbers.values()))[-1]}"
            )
    faults.add("censoring_values", list(numbers), why)
    if not where.gaps and options.unusable_times != "drop":
        why = f"{column} must be {meaning} but is blank"
        faults.add("censoring_values", missing, f"{why} (--unusable-times drop leaves such patients out on purpose)")
    if where.kind == "named" and not named and (turned := _key_against_name(where)):
        notes.append(turned)
    if named:
        said = {text: found[line] for line, text in texts.items() if text and found[line] is not None}
        notes.append(_said(column, said, options))
    return found


_OF_DEATH = frozenset(["dead", "died", "death", "deceased", "event"])
_OF_LIFE = frozenset(["alive", "living", "survived", "censored", "censorship", "censoring", "censor"])


def _key_against_name(where: LabelColumns) -> Finding | None:
    """A column of the living that is named as events, or one of deaths that is named as censoring."""
    words = set(re.findall(r"[a-z]+", where.outcome.lower()))
    against, other = (_OF_LIFE, _OF_DEATH) if where.died else (_OF_DEATH, _OF_LIFE)
    if not words & against or words & other:
        return None
    key, right = ("event", "censorship") if where.died else ("censorship", "event")
    counts = "died" if where.died else "censored"
    message = f"{where.outcome} is named as {key}, so 1 counts as {counts}; if it is not, name it as {right}"
    return Finding("outcome_key_unlikely", "warning", 1, message, (where.outcome,))


def _said(column: str, words: Mapping[str, bool | None], options: LabelOptions) -> Finding:
    """What every word of the column was taken for, where the user named some; a warning where that may be a slip."""
    dead, alive = (sorted(word for word, died in words.items() if died is state) for state in (True, False))
    message = f"{column}: {some(dead, 12) or 'no word'} mean died, {some(alive, 12) or 'no word'} mean censored"
    usually = {word: _meaning(word, options.endpoint) for word in words}
    turned = sorted(word for word, died in words.items() if usually[word] not in (None, died))
    unused = options.status_words.unused(words)
    if turned:
        message += f". Against what they usually say: {some(turned)}"
    if unused:
        message += f". In no cell: {some(unused)}"
    severity = "warning" if turned or unused else "info"
    return Finding("status_words", severity, len(words), message, tuple([*dead, *alive][:10]))


def _meaning(word: str, endpoint: str) -> bool | None:
    try:
        return read_status(word, None, endpoint, StatusWords(), letters=False)
    except Contradiction:
        return None


def _status(text: str, where: LabelColumns, options: LabelOptions, letters: bool) -> bool | None:
    if where.words or options.status_words:
        return read_status(text, where.died, options.endpoint, options.status_words, letters)
    value = number(text)
    return None if value not in (0, 1) else bool(value) == where.died


def _covariates(
    path: Path, table: Cells, where: LabelColumns, sign: str, notes: list[Finding]
) -> dict[str, list[float | None]]:
    """Age and sex as numbers, (rows,) each; what cannot be read is noted."""

    def cells(name: str) -> list[tuple[int, str | None]]:
        return [(line, _first(row, where.covariates[name])) for line, row in table]

    def column(name: str) -> str:
        return next((c for c in where.covariates[name] if any(c in row for _, row in table)), "")

    found: dict[str, list[float | None]] = {}
    if "age" in where.covariates and (name := column("age")):
        found["age"] = ages(path, name, cells("age"), sign, notes)
    for key in ("is_female", "sex"):  # a column of words counts where it is filled
        if key in where.covariates and (name := column(key)):
            mine = women(path, name, cells(key), key == "is_female", notes)
            before = found.get("is_female", [None] * len(mine))
            found["is_female"] = [new if new is not None else old for new, old in zip(mine, before, strict=True)]
    return found


class _Faults:
    """Faults of single rows as they are found, and the lines that have one."""

    def __init__(self, path: Path, findings: list[Finding]) -> None:
        self.path, self.findings = path, findings
        self.lines: set[int] = set()

    def add(self, code: str, lines: list[int], why: str) -> None:
        if lines:
            self.lines.update(lines)
            message = f"{self.path}, {'line' if len(lines) == 1 else 'lines'} {some(lines)}: {why}. Correct the table."
            examples = tuple(f"line {line}" for line in sorted(lines)[:10])
            self.findings.append(Finding(code, "error", len(lines), message, examples))


def _row(
    line: int, cells: dict[str, str | None], where: LabelColumns, slides: Mapping[str, str], months: float,
    died: bool | None, more: Mapping[str, float | None],
) -> Row:  # fmt: skip
    known = {name: _first(cells, group) for name, group in where.covariates.items()}
    recorded = not where.gaps or (not math.isnan(months) and died is not None)
    return Row(
        line=line,
        case_id=cells[where.patient] or "",
        slide_id=slides[cells[where.slide] or ""] if where.slide else "",
        months=months,
        event=bool(died),
        recorded=recorded,
        known=died is not None or not recorded,
        age=more.get("age"),
        is_female=more.get("is_female"),
        oncotree_code=known.get("oncotree_code"),
        stage=known.get("stage"),
        grade=known.get("grade"),
        histology=known.get("histology"),
        site=known.get("site"),
        project=known.get("project"),
        redacted=known.get("redaction") is not None,
    )


def _first(cells: Mapping[str, str | None], names: Sequence[str]) -> str | None:
    return next((text for name in names if (text := cells.get(name)) is not None), None)


def filled(cell: str) -> str | None:
    """The text of a cell; None where it says that nothing is known."""
    text = cell.strip()
    return None if text.lower() in BLANK or (text.startswith("[") and text.endswith("]")) else text
