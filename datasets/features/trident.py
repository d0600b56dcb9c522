"""TRIDENT's job folders.

    <job>/{mag}x_{patch}px_{overlap}px_overlap/features_<encoder>/<slide>.h5     features (N, D), coords with attributes

Several magnifications are sibling folders of one job. CLAM's coordinates may be used in place of TRIDENT's own; the
folder is then called `extracted_mag20x_patch256_fp`. `slide_features_<encoder>` hold one vector a slide: bags of one.
"""

import re
from pathlib import Path

from ...errors import DataError, some
from ..findings import Finding, finding
from .listing import folders, listing, locks
from .slide_files import FeatureSet, ScaleFiles

LAYOUT = "trident"
_SCALE = re.compile(r"^(?P<mag>\d+(?:\.\d+)?)x_(?P<px>\d+)px_(?P<overlap>\d+)px_overlap$")
_CLAM_SCALE = re.compile(r"^extracted_mag(?P<mag>\d+(?:\.\d+)?)x_patch(?P<px>\d+)_fp$")
_PREFIX, _VECTORS = "features_", "slide_features_"


def scale_of(path: Path) -> tuple[float, int, int] | None:
    """(magnification, patch side, overlap in pixels) from a folder's name, or None."""
    if m := _SCALE.match(path.name):
        return float(m["mag"]), int(m["px"]), int(m["overlap"])
    if m := _CLAM_SCALE.match(path.name):
        return float(m["mag"]), int(m["px"]), 0
    return None


def find(path: Path, patch_px: int | None = None) -> list[FeatureSet]:
    """The sets of a job folder, of one of its scales, or of one `features_<encoder>`; one an encoder.

    DataError if a job has one magnification with several patch sizes or overlaps and `patch_px` does not decide.
    """
    if path.name.startswith((_PREFIX, _VECTORS)) and scale_of(path.parent):
        inside = {path.parent: [path]}
    elif scale_of(path):
        inside = {path: _encoders(path)}
    else:
        inside = {p: _encoders(p) for p in folders(path) if scale_of(p)}
    by_encoder: dict[str, list[Path]] = {}
    for encoders in inside.values():
        for folder in encoders:
            by_encoder.setdefault(folder.name, []).append(folder)
    return [_set(path, name, homes, patch_px) for name, homes in sorted(by_encoder.items())]


def _encoders(scale: Path) -> list[Path]:
    """Folders of patch features, and those of slide vectors that are not empty."""
    vectors = [p for p in folders(scale) if p.name.startswith(_VECTORS) and any(p.glob("*.h5"))]
    return [p for p in folders(scale) if p.name.startswith(_PREFIX)] + vectors


def _set(path: Path, name: str, homes: list[Path], patch_px: int | None) -> FeatureSet:
    vectors = name.startswith(_VECTORS)
    called = name.removeprefix(_VECTORS if vectors else _PREFIX)
    findings: list[Finding] = []
    scales = {home: scale for home in homes if (scale := scale_of(home.parent))}
    if uneven := [home for home, (m, _, _) in scales.items() if m != round(m) or not m]:
        message = "folders have a magnification that is no whole number; not used"
        findings.append(finding("magnification_not_whole", "warning", message, [h.parent.name for h in uneven]))
    usable = {h: s for h, s in scales.items() if h not in uneven and patch_px in (None, s[1])}
    if scales and not usable:
        kinds = some(sorted(h.parent.name for h in scales))
        asked = f"with patches of {patch_px} pixels" if patch_px else "at a magnification that is a whole number"
        raise DataError(f"{path} holds no features of {called} {asked}, only {kinds}.")
    magnifications = [m for m, _, _ in usable.values()]
    if len(set(magnifications)) < len(magnifications):
        kinds = some(sorted(h.parent.name for h in usable))
        raise DataError(
            f"{path} holds several kinds of patches at one magnification: {kinds}. Choose one by its side with "
            "--patch-px, or give the folder of one of them."
        )
    files, locked = {}, []
    for home, (m, _, _) in usable.items():
        found = listing(home, ".h5")
        locked += found.locked
        files[round(m)] = {slide: ScaleFiles(file) for slide, file in found.files.items()}
        if saved := listing(home, ".pt").files:
            message = f"files in {home.name} are pickled arrays (--saveas pt), which is code; only .h5 files are read"
            findings.append(finding("pickled_arrays", "warning", message, [f.name for f in saved.values()]))
    sides = {px for _, px, _ in usable.values()}
    side = sides.pop() if len(sides) == 1 else None
    return FeatureSet(LAYOUT, called, path, files, (*findings, *locks(locked)), side, vectors=vectors)
