"""Tables that hold many slides: parquet files whose rows are patches or chunks of patches, as TRACE keeps them, and one
vector a slide in a parquet or .npz file.

    data/TCGA-X/conch_v15/{10x,20x}/part-*.parquet     a folder a scale; one column names the slide

A column of slides is read first, and of the features only the groups of rows in which a slide lies.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, some
from ...files import fingerprint
from .. import backbones
from ..findings import Finding
from ..patient import SYNTHETIC_PREFIX
from ..slide_names import slide_names
from .formats import numpy_file, text_file
from .formats.matrix import FEATURES, pairs
from .formats.text_file import SLIDE_COLUMNS
from .geometry import Facts, Geometry
from .half import to_half

LAYOUT = "table"
WIDTH_COLUMNS = ("embedding_dim", "feature_dim", "dim", "embed_dim")
AGAIN = "Fetch or write this file again."


@dataclass(frozen=True)
class Rows:
    """Rows `first` to `stop` of the groups of rows `group` of a parquet file, or of an .npz."""

    path: Path
    group: int
    first: int
    stop: int


@dataclass(frozen=True)
class TableFeatures:
    """Reader of tables; see `milsurv.datasets.features.reader.Reader`."""

    folder: str
    backbone: str
    dim: int
    magnifications: tuple[int, ...]
    slides: frozenset[str]
    synthetic: bool
    rows: Mapping[int, Mapping[str, tuple[Rows, ...]]] = field(repr=False)
    findings: tuple[Finding, ...] = ()
    vectors: bool = False
    layout: str = LAYOUT
    _counts: dict[tuple[str, int], int] = field(default_factory=dict, repr=False, compare=False)

    def facts(self, slide: str) -> dict[int, Facts]:
        """What is known of a slide, by magnification."""
        found = {}
        for m, of in self.rows.items():
            if slide in of:
                n = self._count(slide, m)
                _, places = _columns(of[slide][0].path)
                known = Geometry(claimed=float(m))
                located = bool(places) and not self.vectors
                found[m] = Facts(n, self.dim, "float", n * self.dim * 4, known, located, vector=self.vectors)
        if not found:
            raise DataError(f"{self.folder} has no rows of slide {slide}.")
        return found

    def shapes(self, slide: str) -> dict[int, tuple[int, int]]:
        """(patches, width) by magnification."""
        return {m: (f.patches, f.dim) for m, f in self.facts(slide).items()}

    def counts(self, slide: str) -> dict[int, int]:
        """Patches by magnification."""
        return {m: f.patches for m, f in self.facts(slide).items()}

    def read(
        self, slide: str, magnification: int, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float16 (n, d) in the order of the rows, and level-0 coordinates int32 (n, 2) or None."""
        parts = [_features(rows) for rows in self._of(slide, magnification)]
        matrix = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if matrix.shape[1] != self.dim:
            raise DataError(f"{self.folder}, slide {slide}: is {matrix.shape[1]} wide, others are {self.dim}. {AGAIN}")
        if out is not None and out.shape != matrix.shape:
            raise DataError(f"{self.folder}, slide {slide} changed while it was read. {AGAIN}")
        half = to_half(matrix, f"{self.folder}, slide {slide}, {magnification}x", out)
        where = self.coords(slide, magnification)
        if where is not None and len(where) != len(half):
            raise DataError(f"{self.folder}, slide {slide}: {len(where)} coordinates for {len(half)} patches. {AGAIN}")
        return half, where

    def coords(self, slide: str, magnification: int) -> np.ndarray | None:
        """The coordinates alone, int32 (n, 2), or None."""
        rows = self._of(slide, magnification)
        if self.vectors or not _columns(rows[0].path)[1]:
            return None
        where = np.concatenate([_corners(one) for one in rows])
        if not (np.abs(where.astype(np.float64)) <= np.iinfo(np.int32).max).all():
            raise DataError(f"{self.folder}, slide {slide}: coordinates are no numbers or beyond int32. {AGAIN}")
        return np.rint(where).astype(np.int32)

    def sources(self, slide: str) -> list[Path]:
        """The files with rows of a slide."""
        return sorted({rows.path for of in self.rows.values() for rows in of.get(slide, ())})

    def fingerprint(self, slides: Iterable[str]) -> str:
        """A hash of all numbers of these slides as float16 and of their coordinates."""
        return fingerprint([slide, m, self._content(slide, m)] for slide in set(slides) for m in self.counts(slide))

    def _content(self, slide: str, m: int) -> list[str | None]:
        half, where = self.read(slide, m)
        return [hashlib.sha256(half.tobytes()).hexdigest(),
                None if where is None else hashlib.sha256(where.astype("<i4").tobytes()).hexdigest()]  # fmt: skip

    def _of(self, slide: str, magnification: int) -> tuple[Rows, ...]:
        found = self.rows.get(magnification, {}).get(slide)
        if not found:
            raise DataError(f"{self.folder} has no rows of slide {slide} at {magnification}x. {AGAIN}")
        return found

    def _count(self, slide: str, m: int) -> int:
        if (slide, m) not in self._counts:
            self._counts[slide, m] = sum(_patches(rows) for rows in self.rows[m][slide])
        return self._counts[slide, m]


def is_table(path: Path) -> bool:
    """Whether a file holds many slides: it has a column of slides."""
    if path.suffix == ".npz":
        try:
            return _npz_names(path) is not None
        except DataError:
            return False
    try:
        return path.suffix == ".parquet" and _slide_column(path) is not None
    except DataError:
        return False


def open_tables(
    folder: Path, by_scale: Mapping[int, list[Path]], called: str, findings: tuple[Finding, ...] = ()
) -> TableFeatures:
    """The reader of tables by magnification. DataError if they hold no features, or are of several widths."""
    rows: dict[int, dict[str, tuple[Rows, ...]]] = {}
    widths: dict[int, Path] = {}
    vectors = True
    for m, files in by_scale.items():
        index: dict[str, list[Rows]] = {}
        for file in files:
            for slide, at in _index(file):
                index.setdefault(slide, []).append(at)
        names = slide_names(index)
        rows[m] = {names[slide]: tuple(at) for slide, at in index.items()}
        first = next((at[0] for at in rows[m].values()), None)
        if first is not None:
            matrix = _features(first)
            widths[matrix.shape[1]] = first.path
            vectors = vectors and all(len(at) == 1 and at[0].stop - at[0].first == 1 for at in rows[m].values())
            vectors = vectors and len(matrix) == 1 and not _columns(first.path)[1]
    if len(widths) != 1:
        raise DataError(f"{folder} holds features of {len(widths)} widths: {some(widths.values())}. Give those of one.")
    (dim,) = widths
    slides = frozenset(slide for of in rows.values() for slide in of)
    return TableFeatures(
        folder=str(folder),
        backbone=backbones.named(called, dim, str(folder)),
        dim=dim,
        magnifications=tuple(sorted(rows)),
        slides=slides,
        synthetic=bool(slides) and all(slide.startswith(SYNTHETIC_PREFIX) for slide in slides),
        rows=dict(sorted(rows.items())),
        findings=findings,
        vectors=vectors,
    )


def _npz_names(path: Path) -> tuple[str, str] | None:
    """The names of the slides' and of the vectors' array of an .npz with a vector a slide."""
    with numpy_file.opened(path) as archive:
        lower = {name.lower(): name for name in archive.files}
        slides = next((lower[name] for name in SLIDE_COLUMNS if name in lower), None)
        vectors = next((lower[name] for name in FEATURES if name in lower), None)
    return (slides, vectors) if slides and vectors else None


def _npz(path: Path) -> tuple[list[str], np.ndarray]:
    names = _npz_names(path)
    if names is None:
        raise DataError(f"{path} holds no slides. {AGAIN}")
    with numpy_file.opened(path) as archive:
        slides, vectors = (numpy_file.member(path, archive, name) for name in names)
    if slides.ndim != 1 or slides.dtype.kind not in "US" or vectors.ndim != 2 or len(vectors) != len(slides):
        raise DataError(f"{path} holds {slides.shape} names of slides and {vectors.shape} vectors. {AGAIN}")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in slides.tolist()], vectors


def _index(path: Path) -> Iterable[tuple[str, Rows]]:
    """Slides and where their rows are, in the order of the file."""
    if path.suffix == ".npz":
        for at, slide in enumerate(_npz(path)[0]):
            yield slide, Rows(path, 0, at, at + 1)
        return
    column, file = _slide_column(path), text_file.parquet(path)
    if column is None:
        raise DataError(f"{path} has no column of slides ({', '.join(SLIDE_COLUMNS[:4])}, …). {AGAIN}")
    for group in range(file.metadata.num_row_groups):
        cells = text_file.read_group(file, path, group, [column]).column(0)
        try:
            names = cells.to_pylist()
        except ValueError as error:  # bytes that are no text
            raise DataError(f"{path} is damaged: its names of slides cannot be read. {AGAIN}") from error
        first = 0
        for at in range(1, len(names) + 1):
            if at == len(names) or names[at] != names[first]:
                if names[first] is None:
                    raise DataError(f"{path} holds rows without a slide. {AGAIN}")
                yield str(names[first]), Rows(path, group, first, at)
                first = at


def _features(rows: Rows) -> np.ndarray:
    """The features of some rows, (n, d): a row is a patch or a chunk of them."""
    if rows.path.suffix == ".npz":
        return _npz(rows.path)[1][rows.first : rows.stop]
    return _matrix(rows, _columns(rows.path)[0])


def _corners(rows: Rows) -> np.ndarray:
    return pairs(rows.path, _matrix(rows, _columns(rows.path)[1]))


def _matrix(rows: Rows, names: tuple[str, ...]) -> np.ndarray:
    """Columns of some rows as (n, width): numbers side by side, or a list, or a list of lists laid end to end."""
    width = _width_column(rows.path)
    table = _table(rows, (*names, *width))
    kind = table.column(0).type
    if not text_file.is_list(kind):
        return np.column_stack([table.column(name).to_numpy() for name in names])
    if text_file.is_list(kind.value_type):
        return text_file.list_matrix(_flattened(table.column(0)), rows.path)
    if len(names) > 1:  # x and y as lists, a chunk a row
        return np.column_stack([_flattened(table.column(name)).to_numpy(zero_copy_only=False) for name in names])
    if width and names == _columns(rows.path)[0]:  # chunks laid end to end, and a column of their width
        dims = set(table.column(width[0]).to_pylist())
        values = _flattened(table.column(0)).to_numpy(zero_copy_only=False)
        if len(dims) != 1 or not (dim := dims.pop()) or len(values) % dim:
            raise DataError(f"{rows.path} holds vectors of several widths. {AGAIN}")
        return values.reshape(-1, dim)
    return text_file.list_matrix(table.column(0), rows.path)


def _patches(rows: Rows) -> int:
    """How many patches some rows are; the places are read where a row is a chunk, else the features."""
    if rows.path.suffix == ".npz":
        return rows.stop - rows.first
    names, places = _columns(rows.path)
    kind = _schema(rows.path).field(names[0]).type
    chunks = text_file.is_list(kind) and (text_file.is_list(kind.value_type) or _width_column(rows.path))
    if not chunks:
        return rows.stop - rows.first
    return len(_corners(rows)) if places else len(_matrix(rows, names))


def _width_column(path: Path) -> tuple[str, ...]:
    """The column that says how wide the vectors of a chunk are, if there is one."""
    lower = {name.lower(): name for name in _schema(path).names}
    return tuple(lower[name] for name in WIDTH_COLUMNS if name in lower)[:1]


def _flattened(column: Any) -> Any:
    import pyarrow as pa

    whole = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return whole.flatten()


def _table(rows: Rows, names: tuple[str, ...]) -> Any:
    file = text_file.parquet(rows.path)
    return text_file.read_group(file, rows.path, rows.group, list(names)).slice(rows.first, rows.stop - rows.first)


def _slide_column(path: Path) -> str | None:
    lower = {name.lower(): name for name in _schema(path).names}
    return next((lower[name] for name in SLIDE_COLUMNS if name in lower), None)


def _columns(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns of features and of coordinates."""
    if path.suffix == ".npz":
        return (), ()
    column = _slide_column(path)
    features, places = text_file.columns_of(path, [name for name in _schema(path).names if name != column])
    return tuple(features), tuple(places)


@lru_cache(maxsize=4096)
def _schema_at(path: Path, size: int, changed: int) -> Any:
    return text_file.parquet(path).schema_arrow


def _schema(path: Path) -> Any:
    stat = path.stat()
    return _schema_at(path, stat.st_size, stat.st_mtime_ns)
