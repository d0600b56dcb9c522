"""Options of labels from what was typed and from a cohort.toml: what is typed counts."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...names import check_choice
from ..labels.columns import parse_columns
from ..labels.options import LabelOptions
from ..labels.status_words import StatusWords, parse_status_words
from ..tables.unwrap import MAX_BYTES
from .cohort_file import CohortFile


@dataclass(frozen=True)
class TypedOptions:
    """The label options as words of the command line; a field is an option of the same name."""

    endpoint: str = "os"
    columns: str | None = None
    unusable_times: str = "error"
    sheet: str | None = None
    slide_table: Path | None = None
    status_words: str | None = None
    table_mib: int = MAX_BYTES >> 20

    @property
    def command(self) -> list[str]:
        """The options as words of a command; defaults are left out."""
        given = [(field.name, getattr(self, field.name)) for field in fields(self)]
        changed = [(name, value) for name, value in given if value != getattr(TypedOptions(), name)]
        return [word for name, value in changed for word in (f"--{name.replace('_', '-')}", str(value))]


TYPED = tuple(field.name for field in fields(TypedOptions))
"""The names of the label options."""


def typed(given: object) -> TypedOptions:
    """The label options among the attributes, or the items, of `given`."""
    found = given if isinstance(given, Mapping) else {name: getattr(given, name) for name in TYPED}
    return TypedOptions(**{name: found[name] for name in TYPED if name in found})


def label_options(words: TypedOptions, file: CohortFile | None = None) -> LabelOptions:
    """How the labels are read. UsageError or DataError for words that no option knows."""
    check_choice("unusable-times", words.unusable_times, ("error", "drop"))
    columns: dict[str, str] = {} if file is None else dict(file.all_columns)
    if words.columns:
        mine = parse_columns(words.columns)
        if {"event", "censorship"} & mine.keys():
            columns = {key: name for key, name in columns.items() if key not in ("event", "censorship")}
        columns |= mine
    status = parse_status_words(words.status_words)
    if file is not None and not status:
        status = StatusWords.of(file.status_words.died, file.status_words.censored)
    from_file: dict[str, Any] = {}
    if file is not None:
        from_file = {"endpoint": file.endpoint, "unusable_times": file.unusable_times, "sheet": file.sheet,
                     "slide_table": file.path(file.slide_table)}  # fmt: skip
    typed_ones = {name: getattr(words, name) for name in ("endpoint", "unusable_times", "sheet", "slide_table")}
    default = TypedOptions()
    chosen = from_file | {n: v for n, v in typed_ones.items() if n not in from_file or v != getattr(default, n)}
    return LabelOptions(columns=columns or None, status_words=status, max_bytes=words.table_mib << 20, **chosen)
