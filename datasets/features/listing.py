"""What lies in a folder of feature files: one file a slide, and files that are still being written."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import DataError
from ..findings import Finding, finding

WHOLE_SLIDE = frozenset(("features", "feats", "embeddings", "embedding", "feature", "coords_features"))
"""Names of files that say nothing of the slide: the folder that holds one alone is called after it."""


@dataclass
class Listing:
    """Files by slide, files with a lock beside them, and slides that several files claim."""

    files: dict[str, Path] = field(default_factory=dict)
    locked: list[str] = field(default_factory=list)
    twice: dict[str, list[Path]] = field(default_factory=dict)


def listing(folder: Path, suffix: str | tuple[str, ...], nested: bool = False) -> Listing:
    """The files with that suffix in a folder, by slide; with `nested`, in folders below it as well. Of several suffixes
    the first that a slide has counts.

    Hidden files are none of the tools'. A file with `<file>.lock` beside it is work in progress.
    DataError if the folder cannot be read.
    """
    suffixes = (suffix,) if isinstance(suffix, str) else suffix
    try:
        every = sorted(folder.rglob("*") if nested else folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror or error}).") from error
    found, names = Listing(), {path for path in every if path.suffix == ".lock"}
    for path in every:
        if path.suffix not in suffixes or path.name.startswith(".") or path.is_dir() != (path.suffix == ".zarr"):
            continue
        slide = path.parent.name if path.stem.lower() in WHOLE_SLIDE else path.stem
        if path.with_name(path.name + ".lock") in names:
            found.locked.append(str(path.relative_to(folder.parent)))
        elif slide not in found.files:
            found.files[slide] = path
        elif found.files[slide].suffix == path.suffix:
            found.twice.setdefault(slide, [found.files[slide]]).append(path)
        elif suffixes.index(path.suffix) < suffixes.index(found.files[slide].suffix):
            found.files[slide] = path
    found.locked += [  # a lock whose file is not there yet: that slide is being worked on, too
        str(lock.relative_to(folder.parent).with_suffix(""))
        for lock in names
        if lock.stem.endswith(suffixes) and not lock.with_suffix("").exists()
    ]
    return found


def locks(locked: Iterable[str]) -> list[Finding]:
    """A finding about files with locks, if there are any."""
    names = list(locked)
    message = (
        "files have a lock beside them and are skipped: an extraction is at work on them or was interrupted; if none "
        "is running, delete the .lock files and extract these slides again"
    )
    return [finding("locked_files", "warning", message, names)] if names else []


def folders(path: Path) -> list[Path]:
    """The visible folders in a folder, sorted; a .zarr is a file here. DataError if it cannot be read."""
    try:
        return sorted(p for p in path.iterdir() if not p.name.startswith(".") and p.suffix != ".zarr" and p.is_dir())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
