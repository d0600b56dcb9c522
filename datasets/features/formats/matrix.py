"""What a file of a general format holds of one slide: which of its arrays are features, and what it says of them.

The names are those that tools and notebooks use. A file that does not tell which of its arrays are the features is
refused with what lies in it: a guess would be wrong in silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ....errors import DataError, some
from ..geometry import Geometry, number

AGAIN = "Extract this slide again."
FEATURES = ("features", "feats", "embeddings", "embedding", "feature", "x")
COORDS = ("coords", "coordinates", "positions", "xy")
_SAID = {
    "encoder": ("encoder", "encoder_name", "model", "model_name", "extractor", "backbone", "feature_extractor"),
    "claimed": ("target_magnification", "magnification", "mag"),
    "patch_px": ("patch_size", "patch_px", "tile_size_px", "tile_px"),
    "level0_px": ("patch_size_level0", "level0_px"),
    "level0_magnification": ("level0_magnification",),
    "mpp": ("level0_mpp",),
}


@dataclass(frozen=True)
class MatrixHead:
    """One slide in one file: shape and type (numpy's text) of the features, whether coordinates are there, what the
    file says of encoder and geometry, and `at`, where the format keeps the two.
    """

    shape: tuple[int, ...]
    dtype: str
    located: bool = False
    encoder: str | None = None
    geometry: Geometry = field(default_factory=Geometry)
    at: Mapping[str, str] = field(default_factory=dict)


def pick(path: object, arrays: Mapping[str, tuple[tuple[int, ...], str]]) -> dict[str, str]:
    """The names of `features` and, where there are some, of `coords` among arrays (shape and type by name).

    DataError lists what is there if no array is known to be the features.
    """
    lower = {name.lower(): name for name in arrays}
    found = next((lower[name] for name in FEATURES if name in lower), None)
    if found is None:
        wide = [n for n, (shape, kind) in arrays.items() if kind == "f" and len(flat(shape)) == 2 and shape[-1] > 4]
        if len(wide) != 1:
            inside = some(f"{name} {'x'.join(map(str, shape))}" for name, (shape, _) in arrays.items()) or "nothing"
            raise DataError(f"{path} holds {inside}: which of it are the features? Save them as `features` (N, D).")
        found = wide[0]
    where = next((lower[name] for name in COORDS if name in lower and lower[name] != found), None)
    return {"features": found} | ({"coords": where} if where else {})


def stated(said: Mapping[str, object]) -> tuple[str | None, Geometry]:
    """The encoder and the geometry that a file's own words say, as far as it says them."""
    lower = {str(key).lower(): value for key, value in said.items()}
    values = {key: next((lower[name] for name in names if name in lower), None) for key, names in _SAID.items()}
    encoder = values.pop("encoder")
    known = {key: number(plain(value)) or None for key, value in values.items()}
    return str(encoder).lower() if isinstance(encoder, str) and encoder else None, Geometry(**known)


def plain(value: object) -> object:
    """A scalar of numpy or torch as one of Python."""
    return value.item() if hasattr(value, "shape") and size_of(value) == 1 else value  # type: ignore[attr-defined]


def size_of(array: object) -> int:
    """How many numbers an array of numpy or torch holds."""
    return int(np.prod(array.shape, dtype=np.int64))  # type: ignore[attr-defined]


def flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(1, n, d) counts as (n, d)."""
    return tuple(shape[1:]) if len(shape) == 3 and shape[0] == 1 else tuple(shape)


def head(
    path: object, arrays: Mapping[str, tuple[tuple[int, ...], str, str]], said: Mapping[str, object]
) -> MatrixHead:
    """The head of a file from its arrays (shape, kind, type by name) and its words."""
    at = pick(path, {name: (shape, kind) for name, (shape, kind, _) in arrays.items()})
    shape, kind, dtype = arrays[at["features"]]
    if kind != "f" and 0 not in shape:
        raise DataError(f"{path} holds {at['features']} of {dtype}, not floats. {AGAIN}")
    encoder, geometry = stated(said)
    return MatrixHead(flat(shape), dtype, "coords" in at, encoder, geometry, at)


def pairs(path: object, corners: np.ndarray) -> np.ndarray:
    """Coordinates as (n, 2); more columns (width, level) are left out. DataError for another form."""
    corners = corners[0] if corners.ndim == 3 and len(corners) == 1 else corners
    if corners.ndim != 2 or (len(corners) and corners.shape[1] < 2) or corners.dtype.kind not in "fiu":
        raise DataError(f"{path} holds coordinates {corners.shape} of {corners.dtype}, not (N, 2). {AGAIN}")
    return corners[:, :2] if len(corners) else np.empty((0, 2), np.int32)
