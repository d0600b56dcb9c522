"""Tables of one slide, a patch a row: `<slide>.csv` as DSMIL writes them, and `<slide>.parquet`.

Feature columns are numbered (`0`, `1`, …, or `feat_0`, `f1`, …) or one column holds a list; `x` and `y` are
coordinates.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import DataError, some
from . import matrix
from .matrix import AGAIN, MatrixHead

SUFFIXES = (".csv", ".parquet")
_NUMBERED = re.compile(r"^(?:[a-z][a-z_]*?_?)?(\d+)$", re.IGNORECASE)
_PLACES = (("x", "y"), ("coord_x", "coord_y"), ("coords_x", "coords_y"), ("x_coord", "y_coord"), ("left", "top"))
SLIDE_COLUMNS = (
    "slide_id", "slide", "slide_name", "filename", "file_name", "filenames", "wsi", "wsi_id", "image_id", "case_slide",
)  # fmt: skip
FEWEST = 8
"""Numbered columns that make a table one of features."""


def look(path: Path) -> MatrixHead:
    """Columns and rows. DataError if the columns are none of features."""
    names = _columns(path)
    features, places = columns_of(path, names)
    if path.suffix == ".csv":
        _refuse_many_slides(path, names)
        return MatrixHead((_lines(path), len(features)), "float32", bool(places), at=_at(features, places))
    file = parquet(path)
    n, schema = file.metadata.num_rows, file.schema_arrow
    said = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in (schema.metadata or {}).items()}
    encoder, geometry = matrix.stated(said)
    kind = schema.field(features[0]).type
    width = len(features)
    dtype = str(kind)
    if is_list(kind):
        width = _first_width(path, file, features) if n else 0
        dtype = str(kind.value_type)
    return MatrixHead((n, width), dtype, bool(places), encoder, geometry, _at(features, places))


def rows(path: Path, head: MatrixHead) -> np.ndarray:
    """The features."""
    names = head.at["features"].split("\n")
    if path.suffix == ".csv":
        return _csv(path, names)
    table = _read(path, names)
    column = table.column(0)
    if len(names) == 1 and is_list(column.type):
        return list_matrix(column, path)
    return np.column_stack([table.column(name).to_numpy() for name in names])


def corners(path: Path, head: MatrixHead) -> np.ndarray:
    """The coordinates."""
    names = head.at["coords"].split("\n")
    if path.suffix == ".csv":
        return _csv(path, names, np.float64)
    table = _read(path, names)
    if len(names) == 1:
        return list_matrix(table.column(0), path)
    return np.column_stack([table.column(name).to_numpy() for name in names])


def is_features(path: Path) -> bool:
    """Whether a table looks like the features of one slide: a label table may lie beside them."""
    try:
        columns_of(path, _columns(path))
    except DataError:
        return False
    return True


def columns_of(path: object, names: list[str]) -> tuple[list[str], list[str]]:
    """The columns of features and of coordinates. DataError if there are no features."""
    lower = {name.lower(): name for name in names}
    lists = [lower[name] for name in matrix.FEATURES if name in lower and name != "x"]
    places = next(([lower[a], lower[b]] for a, b in _PLACES if a in lower and b in lower), [])
    places = places or [lower[name] for name in matrix.COORDS if name in lower][:1]
    if lists:
        return lists[:1], places
    numbered = [name for name in names if _NUMBERED.match(name)]
    if len(numbered) < FEWEST:
        raise DataError(f"{path} has the columns {some(names)}: none are known to be features (0, 1, … or `features`).")
    return numbered, places


def _refuse_many_slides(path: Path, names: list[str]) -> None:
    """DataError for a csv whose first rows are of several slides; a Parquet file of that kind is read."""
    import csv
    from itertools import islice

    at = next((i for i, name in enumerate(names) if name.lower() in SLIDE_COLUMNS), None)
    if at is None:
        return
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        slides = {row[at] for row in islice(csv.reader(file), 1, 200) if at < len(row)}
    if len(slides) > 1:
        raise DataError(
            f"{path} holds rows of several slides (column {names[at]}): write it as Parquet, which is read by rows: "
            f"pandas.read_csv('{path.name}').to_parquet('{path.stem}.parquet')."
        )


def list_matrix(column: Any, path: object) -> np.ndarray:
    """A column of lists of one length as a matrix (rows, width). DataError for other lists."""
    import pyarrow as pa

    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(joined, pa.ChunkedArray):
        joined = pa.concat_arrays(joined.chunks)
    values = joined.flatten()
    n = len(joined)
    if joined.null_count or values.null_count or (n and len(values) % n):
        raise DataError(f"{path} holds vectors that are missing or of several lengths. {AGAIN}")
    lengths = {len(joined[0])} if n else set()
    if n and lengths != {len(values) // n}:
        raise DataError(f"{path} holds vectors of several lengths. {AGAIN}")
    return values.to_numpy(zero_copy_only=False).reshape(n, -1 if n else 0)


def _columns(path: Path) -> list[str]:
    if path.suffix == ".csv":
        try:
            with path.open(encoding="utf-8-sig") as file:
                return [cell.strip().strip('"') for cell in file.readline().rstrip("\r\n").split(",")]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read ({error}).") from error
    return list(parquet(path).schema_arrow.names)


def _lines(path: Path) -> int:
    """Rows below the header, counted without reading the numbers."""
    count, last = 0, b"\n"
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            count += piece.count(b"\n")
            last = piece[-1:]
    return max(0, count + (last != b"\n") - 1)


def _csv(path: Path, names: list[str], dtype: type = np.float32) -> np.ndarray:
    import pandas as pd

    try:
        table = pd.read_csv(path, usecols=names, dtype=dtype, encoding="utf-8-sig", index_col=False)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        brief = str(error).strip().splitlines()[0][:200]
        raise DataError(f"{path} holds cells that are no numbers, or is damaged ({brief}). {AGAIN}") from error
    return table[names].to_numpy(dtype)


def _first_width(path: Path, file: Any, names: list[str]) -> int:
    """The length of the first list of a column."""
    try:
        return len(next(file.iter_batches(1, columns=names)).column(0)[0])
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    """A damaged file can raise anything here, and the file is all that this depends on."""
    brief = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return DataError(f"{path} is truncated or damaged ({brief}). {AGAIN}")


def parquet(path: Path) -> Any:
    """A parquet file, opened. DataError if it cannot be."""
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, memory_map=True)
    except Exception as error:
        raise _damaged(path, error) from error


def read_group(file: Any, path: Path, group: int, names: list[str]) -> Any:
    """Some columns of one group of rows, as a table of pyarrow. DataError if it is damaged."""
    try:
        return file.read_row_group(group, columns=names)
    except Exception as error:
        raise _damaged(path, error) from error


def _read(path: Path, names: list[str]) -> Any:
    try:
        return parquet(path).read(columns=names)
    except Exception as error:
        raise _damaged(path, error) from error


def is_list(kind: object) -> bool:
    """Whether a type of pyarrow is a list."""
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)  # type: ignore[arg-type]


def _at(features: list[str], places: list[str]) -> dict[str, str]:
    return {"features": "\n".join(features)} | ({"coords": "\n".join(places)} if places else {})
