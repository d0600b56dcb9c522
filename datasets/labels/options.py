"""What a user may say about a label table; every command that reads labels takes all of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..tables.unwrap import MAX_BYTES
from .status_words import StatusWords


@dataclass(frozen=True)
class LabelOptions:
    """How a label table is read.

    Parameters
    ----------
    unusable_times
        `error`, or `drop`: leave out, and list, patients whose time or outcome is missing or whose time is not above
        zero.
    endpoint
        One of `columns.ENDPOINTS`.
    columns
        What the columns hold, see `columns.parse_columns`; None for a recognised table.
    sheet
        Which sheet of a workbook.
    status_words
        Words of the outcome that are not known, see `status_words.parse_status_words`.
    slide_table
        A second table: which slides belong to which patient.
    max_bytes
        The most that a table may unpack to.
    """

    unusable_times: Literal["error", "drop"] = "error"
    endpoint: str = "os"
    columns: Mapping[str, str] | None = None
    sheet: str | None = None
    status_words: StatusWords = field(default_factory=StatusWords)
    slide_table: Path | None = None
    max_bytes: int = MAX_BYTES
