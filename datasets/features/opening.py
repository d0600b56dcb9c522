"""open_features: which layout a folder holds is seen by looking at it, never told by a flag."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .. import backbones
from ..errors import DataError, UnknownBackbone
from . import reference, store
from .reader import Reader


class Layout(NamedTuple):
    """A layout: its name, whether a folder is of it, and how one is opened (folder, name of the backbone or None)."""

    name: str
    recognise: Callable[[Path], bool]
    open: Callable[[Path, str | None], Reader]


LAYOUTS: tuple[Layout, ...] = (
    Layout(store.LAYOUT, store.recognise, store.open_store),
    Layout(reference.LAYOUT, reference.recognise, reference.open_reference),
)


def open_features(path: str | Path, backbone: str | None = None) -> Reader:
    """The Reader of the features in `path`: a feature folder, a folder of those by backbone, or one with
    `features/`.

    `backbone` picks among several; a name that a tool uses (`uni` for the 1536 wide UNI2-h) is understood by
    width. DataError: no features in any known layout, several backbones and none chosen, or none of that
    name.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path} is not a folder: give the folder that holds the feature files.")
    if (layout := layout_of(path)) is not None:
        reader = layout.open(path, None)
        _agree(reader, backbone)
        return reader
    if (path / "features").is_dir():
        return open_features(path / "features", backbone)
    inside = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = {p: layout for p in inside if (layout := layout_of(p)) is not None}
    if not found:
        raise DataError(
            f"{path} holds no features in a known layout: neither {'.h5 files of milsurv'} nor folders like "
            f"<backbone>/x20/pt_files. Looked at {', '.join(p.name for p in inside[:8]) or 'an empty folder'}."
        )
    readers: list[Reader] = []
    if backbone is None and len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise DataError(f"{path} holds features of several backbones: {names}. Choose one with --backbone.")
    if backbone is not None and (exact := [p for p in found if p.name.lower() == backbone.lower()]):
        found = {p: found[p] for p in exact}
    readers = [layout.open(p, None) for p, layout in found.items()]
    fitting = [r for r in readers if backbone is None or _same(r.backbone, backbone)]
    if len(fitting) == 1:
        return fitting[0]
    if readers and len(readers) == 1:
        _agree(readers[0], backbone)
    names = ", ".join(f"{r.backbone} ({r.dim} wide, in {Path(r.folder).name})" for r in readers)
    raise DataError(f"{path} holds no single features folder of {backbone}; found {names}.")


def layout_of(folder: Path) -> Layout | None:
    """The layout of `folder`, or None."""
    try:
        return next((layout for layout in LAYOUTS if layout.recognise(folder)), None)
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error}).") from error


def _same(name: str, wanted: str) -> bool:
    if name.lower() == wanted.lower():
        return True
    try:
        return backbones.get(wanted).name == name
    except UnknownBackbone:
        return False


def _agree(reader: Reader, backbone: str | None) -> None:
    """Refuse a backbone that these features are not of; the width says why."""
    if backbone is None or _same(reader.backbone, backbone):
        return
    raise DataError(
        f"{reader.folder}: these features are {reader.dim} wide and those of {reader.backbone}, not of {backbone}. "
        f"Choose --backbone {reader.backbone}."
    )
