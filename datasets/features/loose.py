"""Folders of .h5 files that were moved out of their tool's place: what they are is seen in the first readable file.

TRIDENT's attributes say the magnification; files as CLAM writes them do not, so that the user must.
"""

import re
from pathlib import Path

from ...errors import DataError
from . import clam, h5_file, trident
from .geometry import nearest, number
from .listing import listing, locks
from .slide_files import FeatureSet, ScaleFiles

_PREFIX = re.compile(r"^(features_|extracted-)")


def find(path: Path, magnification: int | None = None) -> list[FeatureSet]:
    """The set of a folder of .h5 files with `features`, if `path` is one.

    DataError if no one says the magnification.
    """
    found = listing(path, ".h5")
    for file in list(found.files.values())[:20]:
        try:
            head = h5_file.look(file)
        except DataError:
            continue
        if "features" not in head.datasets or not head.datasets["features"].dtype.startswith(("<f", ">f")):
            continue
        on = head.datasets["coords"].attrs if "coords" in head.datasets else {}
        claimed = number(on.get("target_magnification"))
        m = magnification or (nearest(claimed) if claimed else None)
        if m is None:
            raise DataError(clam.unsaid(path))
        layout = trident.LAYOUT if claimed else clam.LAYOUT
        called = _PREFIX.sub("", str(head.datasets["features"].attrs.get("encoder") or path.name))
        files = {m: {slide: ScaleFiles(at) for slide, at in found.files.items()}}
        return [FeatureSet(layout, called, path, files, tuple(locks(found.locked)))]
    return []
