"""CLAM's feature folders.

    <FEAT>/h5_files/<slide>.h5     features float32 (N, D) and coords (N, 2)
    <FEAT>/pt_files/<slide>.pt     the same features without coordinates
    <RESULTS>/patches/<slide>.h5   coords with the geometry of the patches

No file says its magnification, and one `patch_level` means different ones on 20x and 40x slides. So a folder called
20x or x20 says it, or the user does. Several magnifications are sibling folders with such names. Where a slide has both
files, the .h5 is read: its coordinates belong to its rows.
"""

import re
from pathlib import Path

from ...errors import DataError
from .listing import Listing, folders, listing, locks
from .slide_files import FeatureSet, ScaleFiles

LAYOUT = "clam"
_KINDS = ("h5_files", "pt_files")
_SCALE = re.compile(r"(?:^|[_-])(?:mag)?(?:x(\d+)|(\d+)x)(?:$|[_-])", re.IGNORECASE)


def find(path: Path, magnification: int | None = None, coords: Path | None = None) -> list[FeatureSet]:
    """The set of a folder with h5_files or pt_files, or of its sibling scales.

    DataError if the magnification is neither in a folder's name nor given.
    """
    if path.name in _KINDS:
        return find(path.parent, magnification, coords)
    if _is_one(path):
        at = scale_named(path) or magnification
        if at is None:
            raise DataError(unsaid(path))
        return [_set(path, path.name, {at: path}, coords)]
    scales = {m: p for p in folders(path) if _is_one(p) and (m := scale_named(p))}
    return [_set(path, path.name, dict(sorted(scales.items())), coords)] if scales else []


def unsaid(path: Path) -> str:
    """Why a folder cannot be read without its magnification."""
    return (
        f"{path}: these files do not say at which magnification the patches were cut, and the same patch level means "
        "different ones on 20x and 40x slides. Say it with --magnification 20, or call the folder x20."
    )


def scale_named(path: Path) -> int | None:
    """The magnification that a folder's name says: x20, 20x, FEAT_20x."""
    match = _SCALE.search(path.name)
    return int(match[1] or match[2]) or None if match else None


def _is_one(path: Path) -> bool:
    return any((path / kind).is_dir() for kind in _KINDS)


def _set(path: Path, called: str, homes: dict[int, Path], coords: Path | None) -> FeatureSet:
    files: dict[int, dict[str, ScaleFiles]] = {}
    locked: list[str] = []
    for m, home in homes.items():
        h5, pt = (listing(home / kind, "." + kind[:2]) if (home / kind).is_dir() else Listing() for kind in _KINDS)
        locked += [*h5.locked, *pt.locked]
        places = [coords / "patches", coords] if coords else [home / "patches", home.parent / "patches"]
        kept = next((listing(place, ".h5").files for place in places if place.is_dir()), {})
        files[m] = {slide: ScaleFiles(file, kept.get(slide)) for slide, file in pt.files.items()}
        files[m] |= {slide: ScaleFiles(file, attributes=kept.get(slide)) for slide, file in h5.files.items()}
        files[m] = dict(sorted(files[m].items()))
    stem = _SCALE.sub("", called) or path.parent.name
    return FeatureSet(LAYOUT, stem, path, files, tuple(locks(locked)))
