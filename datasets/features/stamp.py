"""STAMP's feature folders.

    <out>/<extractor>[-<hash>]/<relative path>.h5     feats float16 (N, D), coords float32 (N, 2) in microns

The magnification follows from the size of a tile in microns and pixels: 256 um in 224 pixels is 8.75x, which counts as
10x and is reported; the true value stays known as the claimed magnification. STAMP keeps no level-0 pixels: coordinates
become those of a nominal slide with 0.25 um per pixel, rounded.
"""

import re
from contextlib import suppress
from pathlib import Path

from ...errors import DataError, some
from ..findings import Finding, finding
from . import h5_file
from .geometry import nearest, number
from .listing import Listing, folders, listing, locks
from .slide_files import FeatureSet, ScaleFiles

LAYOUT = "stamp"
VECTOR_SCALE = 20
"""The magnification under which slide vectors are kept where nothing says one: they have none of their own."""
VECTOR_KINDS = ("slide", "patient")
"""What `feat_type` says of files that hold one vector. The file of a patient is named as the patient is."""
LOOKED_AT = 20  # files of a folder, before any is read
_HASH = re.compile(r"-[0-9a-f]{8}$")


def find(path: Path, among: list[Path], magnification: int | None = None) -> list[FeatureSet]:
    """The sets of `path` in the folders of extractors `among`; one an extractor, its scales joined.

    DataError if slides of the same name lie in several subfolders, or two folders hold the same scale.
    """
    by_name: dict[tuple[str, bool], dict[float, Path]] = {}
    for home in among:
        heads = _heads(home)
        if not heads:
            continue
        vectors = _of_slides(heads)
        claimed = _claimed(home, heads) or float(magnification or (VECTOR_SCALE if vectors else 0))
        if not claimed:
            raise DataError(f"{home}: the files do not say the size of a tile. Say the scale with --magnification 20.")
        called = _HASH.sub("", str(next(iter(heads.values())).attrs.get("extractor") or home.name))
        scales = by_name.setdefault((called, vectors), {})
        if claimed in scales:
            both = some([scales[claimed], home])
            raise DataError(f"{path} holds {called} at {claimed:g}x in several folders: {both}. Give one of them.")
        scales[claimed] = home
    return [_set(path, *key, scales, magnification) for key, scales in sorted(by_name.items())]


def candidates(among: list[Path]) -> list[Path]:
    """Folders that may be an extractor's, or one further down where a folder is a scale: <root>/x20/<extractor>/."""
    return [deep for p in among for deep in ([p] if any(f.suffix == ".h5" for f in p.iterdir()) else _below(p))]


def likely(among: list[Path]) -> bool:
    """Whether one of the first few folders is STAMP's; there may be a thousand, one a patient."""
    return any(_heads(home) for home in among[:5])


def _below(path: Path) -> list[Path]:
    """The folders in `path` if they hold .h5 files; `path` itself if these lie deeper, as slides may."""
    inside = folders(path)
    extractors = [p for p in inside if any(True for _ in p.glob("*.h5"))]
    return extractors or ([path] if any(True for p in inside for _ in p.glob("*/*.h5")) else [])


def _heads(home: Path) -> dict[Path, h5_file.H5Head]:
    """The headers of the first files that can be read and are STAMP's."""
    heads = {}
    for file in list(listing(home, ".h5", nested=True).files.values())[:LOOKED_AT]:
        with suppress(DataError):
            heads[file] = h5_file.look(file)
    return {file: head for file, head in heads.items() if "feats" in head.datasets}


def _of_slides(heads: dict[Path, h5_file.H5Head]) -> bool:
    """Whether files hold one vector a slide, or a patient, by their own account."""
    return bool(heads) and all(head.attrs.get("feat_type") in VECTOR_KINDS for head in heads.values())


def _claimed(home: Path, heads: dict[Path, h5_file.H5Head]) -> float | None:
    """The magnification that the files claim, if any. DataError if they differ: a damaged one must not decide."""
    by_scale: dict[float, list[Path]] = {}
    for file, head in heads.items():
        um, px = (number(head.attrs.get(k)) for k in ("tile_size_um", "tile_size_px"))
        if um and px:
            by_scale.setdefault(10 * px / um, []).append(file)
    if len(by_scale) > 1:
        common, *others = sorted(by_scale, key=lambda claimed: len(by_scale[claimed]), reverse=True)
        odd = some(file.name for claimed in others for file in by_scale[claimed])
        raise DataError(
            f"{home}: the tiles of {odd} are of another size than those of {some(p.name for p in by_scale[common])}. "
            f"Extract again what is damaged, or keep it in a folder of its own."
        )
    return next(iter(by_scale), None)


def _set(path: Path, called: str, vectors: bool, scales: dict[float, Path], magnification: int | None) -> FeatureSet:
    findings: list[Finding] = []
    files: dict[int, dict[str, ScaleFiles]] = {}
    claims: dict[int, float] = {}
    locked: list[str] = []
    for claimed, home in sorted(scales.items()):
        m = magnification if magnification and len(scales) == 1 else nearest(claimed)
        if m in files:
            raise DataError(f"{path}: {claims[m]:g}x and {claimed:g}x both count as {m}x. Give the folder of one.")
        if abs(m / claimed - 1) > 0.01:
            message = f"tiles were cut at {claimed:.2f}x and count as {m}x"
            findings.append(finding("magnification_rounded", "warning", message, [home.name]))
        found: Listing = listing(home, ".h5", nested=True)
        if found.twice:
            listed = some(f"{slide} ({', '.join(str(p.parent.name) for p in at)})" for slide, at in found.twice.items())
            raise DataError(f"{home} holds several files for one slide: {listed}. Keep one of each.")
        locked += found.locked
        files[m] = {slide: ScaleFiles(file) for slide, file in found.files.items()}
        claims[m] = claimed
    return FeatureSet(LAYOUT, called, path, files, (*findings, *locks(locked)), None, claims, vectors)
