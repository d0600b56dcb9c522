"""Folders of PANTHER, MMP and SurvPath.

<root>/extracted_mag20x_patch256_fp/extracted-<encoder>/feats_h5/<slide>.h5     or feats_pt/<slide>.pt

`features` is (N, D) or (1, N, D). Several magnifications are sibling folders. Where both kinds of files are there, .h5
is read, because it may hold coordinates.
"""

import re
from pathlib import Path

from ...errors import DataError, some
from .listing import folders, listing, locks
from .slide_files import FeatureSet, ScaleFiles

LAYOUT = "panther"
_SCALE = re.compile(r"^extracted_mag(?P<mag>\d+)x_patch(?P<px>\d+)(?:_fp)?$")
_PREFIX = "extracted-"
_KINDS = ("feats_h5", "feats_pt")


def find(path: Path, patch_px: int | None = None) -> list[FeatureSet]:
    """The sets of a root, of one scale, of one encoder or of one `feats_h5`; one an encoder."""
    if path.name in _KINDS and path.parent.name.startswith(_PREFIX):
        return find(path.parent, patch_px)
    if path.name.startswith(_PREFIX) and _SCALE.match(path.parent.name):
        encoders = [path]
    elif _SCALE.match(path.name):
        encoders = _encoders(path)
    else:
        encoders = [e for p in folders(path) if _SCALE.match(p.name) for e in _encoders(p)]
    by_name: dict[str, list[Path]] = {}
    for encoder in encoders:
        if any((encoder / kind).is_dir() for kind in _KINDS):
            by_name.setdefault(encoder.name.removeprefix(_PREFIX), []).append(encoder)
    return [_set(path, called, homes, patch_px) for called, homes in sorted(by_name.items())]


def _encoders(scale: Path) -> list[Path]:
    return [p for p in folders(scale) if p.name.startswith(_PREFIX)]


def _set(path: Path, called: str, homes: list[Path], patch_px: int | None) -> FeatureSet:
    files: dict[int, dict[str, ScaleFiles]] = {}
    locked: list[str] = []
    sides: set[int] = set()
    for home in homes:
        match = _SCALE.match(home.parent.name)
        if match is None or patch_px not in (None, int(match["px"])):
            continue
        m = int(match["mag"])
        if m in files:
            kinds = some(sorted(h.parent.name for h in homes))
            raise DataError(f"{path} holds several kinds of patches at {m}x: {kinds}. Choose one with --patch-px.")
        sides.add(int(match["px"]))
        files[m] = {}
        for kind in reversed(_KINDS):
            if (home / kind).is_dir():
                found = listing(home / kind, "." + kind.removeprefix("feats_"))
                locked += found.locked
                files[m] |= {slide: ScaleFiles(file) for slide, file in found.files.items()}
    side = sides.pop() if len(sides) == 1 else None
    return FeatureSet(LAYOUT, called, path, files, tuple(locks(locked)), side)
