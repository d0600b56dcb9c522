"""Slide files in folders: which there are, what they are called, and whether one has changed."""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ...files import safe_name
from .slide import SUFFIXES

PIECES, PIECE = 64, 4096  # how many bytes of a file are looked at, and in how many places


@dataclass(frozen=True)
class SlideFile:
    """A slide: its name (the file's, without its ending) and its file."""

    slide: str
    path: Path


@dataclass(frozen=True)
class SlideFiles:
    """Slides in the order of their names, files that cannot be used with the reason, and further files of DICOM
    slides with the first one, after which the slide is called.
    """

    slides: tuple[SlideFile, ...]
    refused: dict[Path, str]
    parts: dict[Path, Path]


def find_slides(places: Iterable[Path], series: Callable[[Path], str | None]) -> SlideFiles:
    """All slides in folders and the folders below (links are followed, once), or single files.

    A name that is no safe file name, and a name that several slides have, are refused with the reason. `series` gives
    the DICOM series of a .dcm file: all files of one series are one slide, called after the first of them.
    DataError for a place that does not exist, and where there is no slide at all.
    """
    places = list(places)
    endings = ", ".join(sorted(SUFFIXES))
    refused: dict[Path, str] = {}
    found = (path for place in reversed(places) for path in _files(place, refused))
    files = {path.parent.resolve() / path.name: path for path in found}  # each once; two links to a slide are two
    slides = [path for path in sorted(files.values()) if path.suffix.lower() in SUFFIXES and not _hidden(path.name)]
    for place in places:
        if place.is_file() and place.suffix.lower() not in SUFFIXES:
            refused[place] = f"is no slide by its name: files that end in {endings} are read."
    if not slides and not refused:
        raise DataError(f"{', '.join(map(str, places))} holds no slides: files that end in {endings} are looked for.")
    wholes, parts = _one_a_series(slides, series, refused)
    named: dict[str, list[SlideFile]] = {}
    for path in wholes:
        try:
            slide = SlideFile(nameable(path.stem), path)
        except DataError as error:
            refused[path] = str(error)
            continue
        # Case and composition of letters tell no files apart on every disk.
        named.setdefault(unicodedata.normalize("NFC", slide.slide).casefold(), []).append(slide)
    for same in named.values():
        for slide in same if len(same) > 1 else ():
            others = ", ".join(str(other.path) for other in same if other is not slide)
            refused[slide.path] = (
                f"has the same name as {others}: rename one of them, or extract them into two folders."
            )
    kept = sorted((same[0] for same in named.values() if len(same) == 1), key=lambda s: s.slide)
    return SlideFiles(tuple(kept), refused, parts)


def nameable(name: str) -> str:
    """`name`, if it can name a slide and be printed; DataError otherwise."""
    if not name.isprintable():
        raise DataError(f"{name!a} cannot be the name of a slide: it holds characters that cannot be printed.")
    return safe_name(name)


def content_of(path: Path, parts: Iterable[Path] = ()) -> list[object]:
    """What tells whether a slide has changed: sizes of all its files, and 64 pieces of 4 KiB spread over the main one.

    `parts` are the further files of its DICOM series. Files that only moved, or were copied, are the same. DataError if
    they cannot be read.
    """
    try:
        digest, size = hashlib.sha256(), path.stat().st_size
        with path.open("rb") as file:
            for at in sorted({i * max(0, size - 1) // (PIECES - 1) // PIECE * PIECE for i in range(PIECES)}):
                file.seek(at)
                digest.update(file.read(PIECE))
        beside = path.with_suffix("")  # a MIRAX slide keeps its pixels there
        further = list(beside.iterdir()) if path.suffix.lower() == ".mrxs" and beside.is_dir() else parts
        sizes = sorted((p.name, p.stat().st_size) for p in further)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error}).") from error
    return [size, digest.hexdigest(), sizes]


def _files(place: Path, refused: dict[Path, str]) -> Iterable[Path]:
    """The files of a place; folders that cannot be looked into are refused."""

    def locked(error: OSError) -> None:
        refused[Path(error.filename)] = f"cannot be looked into ({error.strerror or error})."

    if place.is_file():
        yield place
        return
    if not place.is_dir():
        raise DataError(f"{place} does not exist: give a folder of slides, or a slide.")
    seen = set()
    for folder, below, names in os.walk(place, onerror=locked, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        yield from (Path(folder, name) for name in names)


def _hidden(name: str) -> bool:
    """Such as `._a.svs`, which macOS leaves beside `a.svs` on foreign disks."""
    return name.startswith(".") and not name.startswith("..")


def _one_a_series(
    slides: list[Path], series: Callable[[Path], str | None], refused: dict[Path, str]
) -> tuple[list[Path], dict[Path, Path]]:
    """Slides without the further files of DICOM series; these, with the first file of theirs."""
    wholes: list[Path] = []
    parts: dict[Path, Path] = {}
    first: dict[tuple[Path, str | None], Path] = {}
    for path in slides:
        if path.suffix.lower() == ".dcm":
            try:
                whole = first.setdefault((path.parent, series(path)), path)
            except DataError as error:
                refused[path] = str(error)
                continue
            if whole != path:
                parts[path] = whole
                continue
        wholes.append(path)
    return wholes, parts
