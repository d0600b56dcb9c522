"""Options of labels from what was typed and from a cohort.toml: what is typed counts."""

from typing import Any

from ...names import check_choice
from ..labels.columns import parse_columns
from ..labels.options import LabelOptions
from ..labels.status_words import StatusWords, parse_status_words
from .cohort_file import CohortFile
from .typed_options import TypedOptions


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
