"""Manifests: lists of slide files, as the GDC gives them, and whether they hold the slides of the labels."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ...errors import DataError, some
from ..findings import Finding, finding
from ..labels.quality import is_frozen
from ..labels.read import Labels
from ..patient import patient_of
from ..tables.cells import read_cells

COLUMNS = ("filename", "file_name", "File Name", "slide_id")
_SLIDE = re.compile(r"\.(svs|tiff?|ndpi|mrxs|scn|dcm)$", re.IGNORECASE)


def read_manifest(path: str | Path) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """The slide names of a manifest, sorted and without extension, and what was noticed about the file.

    A GDC manifest is separated by TABs, whatever it is called; it may list other files, which do not count. Any
    table with a column filename, file_name or slide_id will do. DataError if it has none of these.
    """
    path = Path(path)
    cells = read_cells(path).sound()
    column = next((name for name in COLUMNS if name in cells.header), None)
    if column is None:
        raise DataError(f"{path} is no manifest: it has none of {', '.join(COLUMNS)}; found {some(cells.header)}.")
    at = cells.header.index(column)
    names = [row[at].strip().rpartition("/")[2] for _, row in cells.lines if at < len(row)]
    slides = {_SLIDE.sub("", name) for name in names if _SLIDE.search(name) or column == "slide_id"}
    notes = list(cells.notes)
    if frozen := [slide for slide in slides if is_frozen(slide)]:
        kinds = Counter(slide[20:22].upper() for slide in frozen)
        message = (
            f"slides of {path.name} are frozen sections ({', '.join(f'{n} {k}' for k, n in sorted(kinds.items()))})"
        )
        notes.append(finding("manifest_frozen_slides", "info", message, frozen))
    return tuple(sorted(slides)), tuple(notes)


def compare_manifest(labels: Labels, slides: Iterable[str], name: str) -> list[Finding]:
    """Slides of the labels that the manifest lacks or spells otherwise, and slides of their patients only it has."""
    listed = set(slides)
    lower = {slide.lower(): slide for slide in listed}
    mine = {slide for patient in labels.patients for slide in patient.slides}
    respelt = {slide: lower[slide.lower()] for slide in mine - listed if slide.lower() in lower}
    found = []
    if respelt:
        message = f"slides match {name} only when upper and lower case are ignored"
        found.append(finding("manifest_case", "warning", message, respelt))
    if absent := [slide for slide in mine - listed if slide not in respelt]:
        found.append(finding("slides_not_in_manifest", "warning", f"slides of the labels are not in {name}", absent))
    known = labels.by_id
    matched = (listed & mine) | set(respelt.values())
    if extra := [s for s in listed - matched if patient_of(s).upper() in known and not is_frozen(s)]:
        message = f"slides in {name} are of patients of the labels, but not in the labels"
        found.append(finding("slides_only_in_manifest", "info", message, extra))
    return found
