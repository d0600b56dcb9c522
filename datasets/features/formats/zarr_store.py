"""`<slide>.zarr`: a group with features and coordinates, an AnnData (X, obsm/spatial), or LazySlide's SpatialData.

LazySlide keeps an AnnData by encoder in tables/<encoder>_tiles, the tiles in shapes/<tiles>/shapes.parquet, and in the
attribute `tile_spec` their side in pixels and microns per pixel. Reading needs the library zarr (`pip install
milsurv[zarr]`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import DataError, some
from ..geometry import Geometry
from . import matrix
from .matrix import AGAIN, MatrixHead

SUFFIXES = (".zarr",)
_TILES = "_tiles"


def look(path: Path) -> MatrixHead:
    """Shapes and words; no numbers are read. Of several tables of LazySlide none is chosen: DataError names them."""
    root = _opened(path)
    try:
        said: dict[str, object] = dict(root.attrs)
        if "tables" in root and (names := sorted(root["tables"].group_keys())):
            return _spatial_data(path, root, names, said)
        arrays = {}
        for name, array in root.arrays():
            arrays[name] = (tuple(array.shape), array.dtype.kind, str(array.dtype))
            said |= dict(array.attrs) if name.lower() in matrix.FEATURES else {}
        if "X" in root and "obsm" in root and "spatial" in root["obsm"]:
            x = root["X"]
            return _of_x(path, x, {"features": "X", "coords": "obsm/spatial"}, said)
    except DataError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    return matrix.head(path, arrays, said)


def tables(path: Path) -> list[str]:
    """The encoders of LazySlide's tables in a file."""
    root = _opened(path)
    return sorted(name.removesuffix(_TILES) for name in root["tables"].group_keys()) if "tables" in root else []


def rows(path: Path, head: MatrixHead) -> np.ndarray:
    """The features."""
    return _read(path, head.at["features"]).reshape(head.shape)


def corners(path: Path, head: MatrixHead) -> np.ndarray:
    """The coordinates."""
    if head.at["coords"].endswith(".parquet"):
        return _tile_corners(path, head)
    return _read(path, head.at["coords"])


def _spatial_data(path: Path, root: Any, names: list[str], said: Mapping[str, object]) -> MatrixHead:
    if len(names) > 1:
        raise DataError(
            f"{path} holds features of several encoders: {some(n.removesuffix(_TILES) for n in names)}. Save one of "
            "them by itself: wsi[table].write_zarr(path), a folder an encoder."
        )
    (name,) = names
    table = root["tables"][name]
    region = dict(table.attrs).get("region")
    region = str(region[0] if isinstance(region, list) and region else region or "tiles")
    at = {"features": f"tables/{name}/X"}
    if "obsm" in table and "spatial" in table["obsm"]:
        at["coords"] = f"tables/{name}/obsm/spatial"
    elif (path / "shapes" / region / "shapes.parquet").is_file():
        at["coords"] = f"shapes/{region}/shapes.parquet"
        at["ids"] = f"tables/{name}/obs/tile_id"
    specs = said.get("tile_spec") or said.get("slide_properties")
    spec = specs.get(region) if isinstance(specs, Mapping) else None
    spec = spec if isinstance(spec, Mapping) else {}
    mpp = matrix.number(spec.get("mpp")) or None
    side = matrix.number(spec.get("base_width") or spec.get("raw_width")) or None
    geometry = Geometry(
        patch_px=matrix.number(spec.get("width")) or None,
        level0_px=side,
        claimed=10 / mpp if mpp else None,
    )
    found = _of_x(path, table["X"], at, {})
    return MatrixHead(found.shape, found.dtype, found.located, name.removesuffix(_TILES).lower(), geometry, at)


def _of_x(path: Path, x: Any, at: Mapping[str, str], said: Mapping[str, object]) -> MatrixHead:
    if not hasattr(x, "shape") or len(x.shape) != 2:
        raise DataError(f"{path}: X is a sparse matrix or a group, not (N, D) floats. Save it dense.")
    if x.dtype.kind != "f":
        raise DataError(f"{path}: X is of {x.dtype}, not floats. {AGAIN}")
    encoder, geometry = matrix.stated(said)
    return MatrixHead(tuple(x.shape), str(x.dtype), "coords" in at, encoder, geometry, at)


def _tile_corners(path: Path, head: MatrixHead) -> np.ndarray:
    """Top-left corners of the tiles of the table, in its order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path / head.at["coords"])
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    names = set(table.column_names)
    if {"x", "y"} <= names:
        where = np.column_stack([table.column("x").to_numpy(), table.column("y").to_numpy()])
    elif "geometry" in names:
        where = np.array([_corner(path, shape) for shape in table.column("geometry").to_pylist()]).reshape(-1, 2)
    else:
        raise DataError(f"{path}: {head.at['coords']} holds no tiles. {AGAIN}")
    ids = _read(path, head.at["ids"])
    known = table.column("tile_id").to_numpy() if "tile_id" in names else np.arange(len(where))
    order = {int(tile): i for i, tile in enumerate(known)}
    try:
        return where[[order[int(tile)] for tile in ids]]
    except KeyError as error:
        raise DataError(f"{path}: tile {error} of the table is not among the tiles. {AGAIN}") from error


def _corner(path: Path, shape: bytes) -> tuple[float, float]:
    """The smallest x and y of a polygon as well-known binary: order, type, rings, points, then doubles."""
    order = "<" if shape[:1] == b"\1" else ">"
    kind, rings, points = np.frombuffer(shape, f"{order}u4", 3, 1)
    if kind != 3 or rings < 1 or len(shape) < 13 + 16 * points:
        raise DataError(f"{path}: a tile is no polygon. {AGAIN}")
    corners = np.frombuffer(shape, f"{order}f8", 2 * int(points), 13).reshape(-1, 2)
    return float(corners[:, 0].min()), float(corners[:, 1].min())


def _opened(path: Path) -> Any:
    try:
        import zarr
    except ImportError:
        raise DataError(f"{path}: reading zarr needs a library: pip install 'milsurv[zarr]'.") from None
    try:
        return zarr.open_group(path, mode="r")
    except Exception as error:
        raise _unreadable(path, error) from error


def _read(path: Path, name: str) -> np.ndarray:
    root = _opened(path)
    try:
        return np.asarray(root[name][:])
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    brief = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return DataError(f"{path} is incomplete or damaged ({brief}). {AGAIN}")
