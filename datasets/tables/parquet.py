"""Parquet files as rows of text."""

import io
from collections.abc import Iterator
from pathlib import Path

from ...errors import DataError
from .unwrap import UNREADABLE
from .workbook import text_of


def parquet_rows(path: Path, content: bytes, max_bytes: int) -> Iterator[tuple[int, list[str]]]:
    """Header and rows; columns of lists or structures are left out. DataError for what is damaged or too large."""
    import pyarrow
    from pyarrow import parquet, types

    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        groups = range(file.metadata.num_row_groups)
        size = sum(file.metadata.row_group(i).total_byte_size for i in groups)
        if size > max_bytes:
            raise DataError(f"{path} unpacks to more than {max_bytes:,} bytes: it is refused (--table-mib raises it).")
        flat = [field.name for field in file.schema_arrow if not types.is_nested(field.type)]
        columns = file.read(columns=flat).to_pydict()
    except DataError:
        raise
    except (pyarrow.ArrowException, *UNREADABLE) as error:
        raise DataError(f"{path} cannot be read as a Parquet file ({error}): write it again, or as csv.") from error
    names = [name for name in columns if not name.startswith("__index_level_")]
    yield 1, names
    for line, values in enumerate(zip(*(columns[name] for name in names), strict=True), 2):
        yield (
            line,
            [text_of(value.decode("utf-8", "replace") if isinstance(value, bytes) else value) for value in values],
        )
