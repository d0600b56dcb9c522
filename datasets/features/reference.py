"""Feature folders of the CrossFusion reference: one torch tensor a slide and scale; coordinates lie elsewhere, if kept.

<root>/<backbone>/x{5,10,20}/pt_files/<slide>.pt     (N, D), float32 or float16
<h5_base>/x{5,10,20}/patches/<slide>.h5              CLAM's patch files with the coordinates
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..findings import finding
from .listing import folders, listing, locks
from .slide_files import FeatureSet, ScaleFiles

LAYOUT = "reference"
PATCH_PX = 256  # after resizing; CLAM's files say the size before
_SCALE = re.compile(r"^x(\d+)$")


def find(path: Path, coords: Path | None = None) -> list[FeatureSet]:
    """The set of `<root>/<backbone>`, if `path` is one. `coords` is the base of the patch files."""
    scales = _scales(path)
    if not scales:
        return []
    inside = {m: listing(folder, ".pt") for m, folder in scales.items()}
    base, rivals = (coords, []) if coords else _base(path, {m: found.files for m, found in inside.items()})
    findings, files = [], {}
    if rivals:
        message = "several folders hold coordinates of these slides, none is used: choose one with --coords"
        findings.append(finding("coordinates_ambiguous", "warning", message, rivals))
    for m, found in inside.items():
        patches = base / f"x{m}" / "patches" if base else None
        kept = listing(patches, ".h5").files if patches and patches.is_dir() else {}
        files[m] = {slide: ScaleFiles(file, kept.get(slide)) for slide, file in found.files.items()}
        if kept and (without := [slide for slide in found.files if slide not in kept]):
            message = f"slides have {m}x features and no coordinates in {base}"
            findings.append(finding("coordinates_missing", "warning", message, without))
    locked = [name for found in inside.values() for name in found.locked]
    return [FeatureSet(LAYOUT, path.name, path, files, (*findings, *locks(locked)), PATCH_PX)]


def _scales(folder: Path) -> dict[int, Path]:
    found = {int(m[1]): p / "pt_files" for p in folders(folder) if (m := _SCALE.match(p.name))}
    return {magnification: path for magnification, path in sorted(found.items()) if path.is_dir()}


def _base(path: Path, slides: Mapping[int, Iterable[str]]) -> tuple[Path | None, list[Path]]:
    """The folder with patch files of these slides: here, above, or beside; the nearest, if there is one so near."""
    above = path.parent
    for near in ([path], [above], _visible(above), _visible(above.parent)):
        fitting = [p for p in near if any(_holds(p / f"x{m}" / "patches", names) for m, names in slides.items())]
        if fitting:
            return (fitting[0], []) if len(fitting) == 1 else (None, fitting)
    return None, []


def _holds(patches: Path, slides: Iterable[str]) -> bool:
    """Whether a folder has patch files of any of the slides: those of another cohort may lie beside ours."""
    return patches.is_dir() and any((patches / f"{slide}.h5").is_file() for slide in slides)


def _visible(path: Path) -> list[Path]:
    try:
        return [p for p in path.iterdir() if not p.name.startswith(".") and p.is_dir()]
    except OSError:
        return []  # a folder above that is closed to us holds no coordinates for us
