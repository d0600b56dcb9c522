"""Conversion: other tools' features become our own store, whole slides or none, resumable at any point."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from ...errors import DataError, writing
from ...files import UNFINISHED, fingerprint, safe_name
from ..findings import Finding, finding
from .geometry import Geometry
from .reader import Reader
from .store_file import DTYPES, fill, is_ours, opens, read_head, write_slide

LOCK = ".convert.lock"


@dataclass
class Conversion:
    """What a conversion did: slides written and skipped (finished before), bad slides with their reasons, bytes of the
    files on both sides, and findings.
    """

    written: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    bytes_before: int = 0
    bytes_after: int = 0
    findings: list[Finding] = field(default_factory=list)


def convert(reader: Reader, store: str | Path, progress: Callable[[int, int], None] | None = None) -> Conversion:
    """Write every slide of `reader` into the folder `store`, in our layout.

    A slide whose file in the store was made from the very same files (content, size, time of change) is skipped, so
    that an interrupted conversion goes on where it stopped and ends with the same bytes. Every written file is read
    back and compared with its checksums. A slide that cannot be read is listed in `bad` and leaves no file.
    `progress(done, total)` is called once a slide.

    DataError if the store cannot be written, holds another backbone's features, lies in the folder that is read, or
    another conversion is at work on it.
    """
    store = Path(store)
    _check_place(reader, store)
    done = Conversion(findings=list(reader.findings))
    with writing(store, "choose another folder"):
        store.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(store / LOCK, timeout=0):
                for left in store.glob(UNFINISHED):
                    left.unlink()  # of a conversion that was killed: the lock says that none is running
                for count, slide in enumerate(sorted(reader.slides)):
                    _convert_slide(reader, slide, store, done)
                    if progress:
                        progress(count + 1, len(reader.slides))
        except Timeout:
            raise DataError(f"{store}: another conversion is at work on this folder; wait for it to end.") from None
    ours = {path.stem for path in store.glob("*.h5")}
    if extra := ours - reader.slides:
        message = "slides in the store are not in the folder that was converted; they were left as they are"
        done.findings.append(finding("slides_of_other_source", "info", message, extra))
    return done


def _convert_slide(reader: Reader, slide: str, store: Path, done: Conversion) -> None:
    path = store / f"{safe_name(slide)}.h5"
    features: dict[int, np.ndarray] = {}
    coords: dict[int, np.ndarray | None] = {}
    geometry: dict[int, Geometry] = {}
    try:
        source = source_of(reader, slide)
        before = sum(p.stat().st_size for p in reader.sources(slide))
        finished = _finished(path, source)
        for m, facts in ({} if finished else reader.facts(slide)).items():
            features[m], coords[m] = reader.read(slide, m)
            geometry[m] = facts.geometry
    except DataError as error:
        done.bad[slide] = str(error)
        return
    if finished:
        done.skipped.append(slide)
    else:
        mpp, patch_px = _shared(geometry)
        about = {"backbone": reader.backbone, "patch_px": patch_px, "mpp": mpp, "synthetic": reader.synthetic}
        write_slide(store, slide, features, coords, geometry=geometry, source=source, **about)
        verify(path)
        done.written.append(slide)
    done.bytes_before += before
    done.bytes_after += path.stat().st_size


def source_of(reader: Reader, slide: str) -> str:
    """The fingerprint of the files of a slide: their content as the reader sees it, their sizes and times of change."""
    try:
        stats = [[p.stat().st_size, p.stat().st_mtime_ns] for p in reader.sources(slide)]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror or error}).") from error
    return fingerprint([reader.fingerprint([slide]), stats])


def verify(path: Path) -> None:
    """Read a file of the store and compare it with its checksums; DataError if they do not fit."""
    for named in read_head(path).blocks.values():
        for name, block in named.items():
            fill(path, block, np.empty(block.shape, DTYPES[name]), verify=True)


def _finished(path: Path, source: str) -> bool:
    with contextlib.suppress(DataError):
        return path.is_file() and read_head(path).source == source and opens(path)
    return False  # damaged: written again


def _shared(geometry: dict[int, Geometry]) -> tuple[float | None, int]:
    """Microns per level-0 pixel and the side of a patch of the finest scale that knows; 0 where none does."""
    finest = [geometry[m] for m in sorted(geometry, reverse=True)]
    mpp = next((g.mpp for g in finest if g.mpp), None)
    return mpp, round(next((g.patch_px for g in finest if g.patch_px), 0))


def _check_place(reader: Reader, store: Path) -> None:
    source, target = Path(reader.folder).resolve(), store.resolve()
    if source == target or source in target.parents:
        raise DataError(f"{store} lies in the folder that is converted, {reader.folder}: choose another one.")
    if store.exists() and not store.is_dir():
        raise DataError(f"{store} is a file: give a folder.")
    if not store.is_dir():
        return
    for path in sorted(store.glob("*.h5")):
        if not is_ours(path):
            raise DataError(f"{store} holds {path.name}, which milsurv did not write: choose another folder.")
        try:
            head = read_head(path)
        except DataError:
            continue
        if (head.backbone, head.dim) != (reader.backbone, reader.dim):
            raise DataError(
                f"{store} holds features of {head.backbone} ({head.dim} wide), these are of {reader.backbone} "
                f"({reader.dim} wide): choose another folder."
            )
        return
