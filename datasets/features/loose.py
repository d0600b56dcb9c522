"""Folders of files that stand alone, one a slide: moved out of their tool's place, or written by a notebook.

What they are is seen in the first readable file. Where no file and no folder says the magnification, the user must.
"""

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import DataError, UnknownName, some
from .. import backbones
from ..findings import finding
from . import clam, h5_file, pt_file, trident
from .formats import text_file
from .formats.formats import H5, PT, SUFFIXES, format_of
from .geometry import nearest, number
from .listing import WHOLE_SLIDE, listing, locks
from .slide_files import FeatureSet, ScaleFiles
from .stamp import VECTOR_SCALE

LOOKED_AT = 20  # files of a folder, until one can be read
_PREFIX = re.compile(r"^(features_|extracted-|slide_features_)")


@dataclass(frozen=True)
class Words:
    """What one file says of itself: the encoder, the magnification, and whether it holds a vector for the slide."""

    encoder: str | None
    claimed: float | None
    vector: bool


def holds_files(path: Path) -> bool:
    """Whether feature files lie in a folder itself."""
    return any(
        p.suffix in SUFFIXES and not p.name.startswith(".") and p.is_dir() == (p.suffix == ".zarr")
        for p in path.iterdir()
    )


def find(path: Path, magnification: int | None = None, assumed: int | None = None) -> list[FeatureSet]:
    """The set of a folder of feature files, if `path` is one. `assumed` is the magnification where none is said.

    DataError if no one says the magnification.
    """
    found = listing(path, SUFFIXES)
    files = _features_only(found.files)
    words = first_words(files)
    if words is None:
        return []
    m = magnification or (nearest(words.claimed) if words.claimed else None) or clam.scale_named(path) or assumed
    m = m or (VECTOR_SCALE if words.vector else None)
    if m is None:
        raise DataError(clam.unsaid(path))
    kinds = {one.suffix for one in files.values()}
    layout = trident.LAYOUT if words.claimed and kinds <= set(H5) else clam.LAYOUT if kinds <= set(H5) else "files"
    home = path.parent if clam.scale_named(path) and not words.encoder else path
    alone = len(files) == 1 and next(iter(files.values())).stem.lower() in WHOLE_SLIDE
    called = _PREFIX.sub("", words.encoder or home.name)
    vectors = words.vector or path.name.startswith("slide_features_")
    scale = {m: {slide: ScaleFiles(at) for slide, at in files.items()}}
    return [
        FeatureSet(
            layout, called, path, scale, tuple(locks(found.locked)), vectors=vectors,
            named=bool(words.encoder) or (not alone and is_encoder(called)),
        )
    ]  # fmt: skip


def first_words(files: Mapping[str, Path]) -> Words | None:
    """What most of the first readable files say; None where none of them can be read as features. Those that say
    something else are found when all headers are compared.
    """
    said: Counter[Words] = Counter()
    for file in list(files.values())[:LOOKED_AT]:
        with suppress(DataError):
            if (words := _words(file)) is not None:
                said[words] += 1
                if words.claimed is None and words.encoder is None:
                    break  # files that say nothing: one tells what can be told
    return said.most_common(1)[0][0] if said else None


def why_not(path: Path) -> str:
    """Why the first feature file of a folder cannot be read; "" where nothing more can be said."""
    for file in list(_features_only(listing(path, SUFFIXES).files).values())[:1]:
        try:
            if _words(file) is None and file.suffix in H5:
                head = h5_file.look(file)
                kind = head.datasets["features"].dtype if "features" in head.datasets else ""
                held = f"features of the type {kind}, no floats" if kind else some(head.others) or "nothing"
                return f"{file} holds {held}."
        except DataError as error:
            return str(error)
    return ""


def _words(file: Path) -> Words | None:
    if file.suffix in PT:
        found = pt_file.parts(file, vector=True)
        return Words(found.encoder, found.geometry.claimed, found.vector)
    if (form := format_of(file)) is not None:
        head = form.look(file)
        return Words(head.encoder, head.geometry.claimed, len(head.shape) == 1)
    return _h5_words(file)


def _h5_words(file: Path) -> Words | None:
    head = h5_file.look(file)
    data = head.datasets.get("features")
    if data is None or not data.dtype.startswith(("<f", ">f")):
        return None
    on = head.datasets["coords"].attrs if "coords" in head.datasets else {}
    encoder = data.attrs.get("encoder") or head.attrs.get("encoder")
    vector = len(data.shape) == 1 and data.shape[0] > 0
    return Words(str(encoder) if encoder else None, number(on.get("target_magnification")) or None, vector)


def merged(path: Path, sets: list[FeatureSet]) -> list[FeatureSet]:
    """Sets of one encoder as one, where their slides or their scales are disjoint: folders by patient, project or job.

    Folders that no file and no encoder's name tells apart are one set, called after `path`, where no slide lies in two
    of them at one scale; else each is of an encoder that is called as it is.
    """
    unnamed = [one for one in sets if not one.named]
    if len(unnamed) > 1 and not _clashes(unnamed):
        sets = [replace(one, called=path.name) if not one.named else one for one in sets]
    groups: dict[tuple[str, str, bool], list[FeatureSet]] = {}
    for one in sets:
        groups.setdefault((one.called.lower(), one.layout, one.vectors), []).append(one)
    found: list[FeatureSet] = []
    for group in groups.values():
        found += [_joined(path, group)] if len(group) > 1 and not _clashes(group) else group
    return found


def is_encoder(name: str) -> bool:
    """Whether the registry of backbones knows a name."""
    try:
        backbones.get(name)
    except UnknownName:
        return any(name.lower() in one.aliases for one in backbones.BACKBONES.values())
    return True


def _joined(path: Path, group: list[FeatureSet]) -> FeatureSet:
    files: dict[int, dict[str, ScaleFiles]] = {}
    for one in group:
        for m, of in one.files.items():
            files.setdefault(m, {}).update(of)
    sides = {one.patch_px for one in group}
    findings = [note for one in group for note in one.findings]
    message = f"folders of {group[0].called} are taken together: no slide lies in two of them at one scale"
    findings.append(finding("folders_joined", "info", message, [one.folder.name for one in group]))
    return replace(
        group[0],
        folder=path,
        files={m: dict(sorted(of.items())) for m, of in sorted(files.items())},
        findings=tuple(findings),
        patch_px=sides.pop() if len(sides) == 1 else None,
        claims={m: claim for one in group for m, claim in one.claims.items()},
    )


def _clashes(sets: list[FeatureSet]) -> bool:
    """Whether a slide lies in two sets at one scale."""
    seen: set[tuple[int, str]] = set()
    for one in sets:
        mine = {(m, slide) for m, of in one.files.items() for slide in of}
        if seen & mine:
            return True
        seen |= mine
    return False


def _features_only(files: Mapping[str, Path]) -> dict[str, Path]:
    """Without tables of another kind, such as labels that lie beside the features."""
    tables = {slide for slide, file in files.items() if file.suffix in text_file.SUFFIXES}
    if len(tables) < len(files) and tables:
        tables = {slide for slide in tables if not text_file.is_features(files[slide])}
        return {slide: file for slide, file in files.items() if slide not in tables}
    return {slide: file for slide, file in files.items() if slide not in tables or text_file.is_features(file)}
