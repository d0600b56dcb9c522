"""A label table as text columns, checked row by row, before anybody decides what a patient is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from .archive import read_table_bytes
from .errors import DataError, some

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("case_id", "slide_id", "survival_months", "censorship")
OPTIONAL = ("age", "is_female", "oncotree_code")
TEXT_NULLS = ("", "NA", "N/A", "NaN", "nan", "None", "null", "NULL", "<NA>")


def read_label_table(path: Path) -> pd.DataFrame:
    """Rows of the label table: case_id, slide_id (no .svs), months (NaN where missing), event, and covariates as text.

    The index is the line number in the table (the header is line 1), so that messages can name rows. Only the columns
    needed are read: public tables carry thousands of columns of gene expression. Raises DataError for a table that
    cannot be read, lacks columns, or has blank identifiers, unreadable times or censoring other than 0 and 1.
    """
    table = _columns(path)
    table.index = table.index + 2
    _refuse(path, table.index[table.case_id.isna() | table.slide_id.isna()], "case_id or slide_id is blank")
    table["slide_id"] = table.slide_id.str.replace(r"(?i)\.svs$", "", regex=True)
    table["months"] = _numbers(path, table, "survival_months")
    censorship = _numbers(path, table, "censorship")
    wrong = ~censorship.isin([0, 1])
    _refuse(
        path,
        table.index[wrong],
        f"censorship must be 0 (died) or 1 (censored) but is {some(sorted(set(table.censorship[wrong].fillna('blank'))))}",
    )
    table["event"] = censorship == 0
    return table.drop(columns=["survival_months", "censorship"])


def _columns(path: Path) -> pd.DataFrame:
    import pandas as pd

    content = read_table_bytes(path)
    try:
        header = list(pd.read_csv(io.BytesIO(content), nrows=0).columns)
        missing = [name for name in REQUIRED if name not in header]
        if missing:
            raise DataError(
                f"{path} lacks the columns {', '.join(missing)}. Expected {', '.join(REQUIRED)} "
                f"(and optionally {', '.join(OPTIONAL)}); found {some(header, 12)}."
            )
        table = pd.read_csv(
            io.BytesIO(content),
            usecols=[name for name in REQUIRED + OPTIONAL if name in header],
            dtype=str,
            keep_default_na=False,
            na_values=list(TEXT_NULLS),
        )
    except DataError:
        raise
    except (ValueError, pd.errors.ParserError, OverflowError, MemoryError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path} is not a comma-separated table in UTF-8 ({first}).") from error
    if table.empty:
        raise DataError(f"{path} has a header but no rows.")
    return table.apply(lambda column: column.str.strip())


def _numbers(path: Path, table: pd.DataFrame, column: str) -> pd.Series:
    import numpy as np
    import pandas as pd

    numbers = pd.to_numeric(table[column], errors="coerce").astype(float)
    unreadable = numbers.isna() & table[column].notna()
    _refuse(path, table.index[unreadable], f"{column} is no number ({some(table[column][unreadable])})")
    return numbers.where(np.isfinite(numbers))  # infinite times are as good as missing


def _refuse(path: Path, lines: pd.Index, why: str) -> None:
    if len(lines):
        raise DataError(f"{path}, {'line' if len(lines) == 1 else 'lines'} {some(lines)}: {why}.")
