"""Slides for labels that name none: a table of patients (the TCGA-CDR) meets the slides that are really there."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from ...errors import DataError, some
from ..findings import Finding, finding
from ..patient import BARCODE, patient_of
from ..slide_names import slide_key
from .quality import is_frozen
from .read import Labels, counts_of, fingerprint_of_patients

_SVS = re.compile(r"\.svs$", re.IGNORECASE)


def link_slides(labels: Labels, slides: Iterable[str], frozen: bool = False) -> Labels:
    """Labels whose patients have the slides among `slides` (names, with or without .svs) that are theirs.

    A barcode names its patient; any other name belongs to the patient whose id it is, or whose id stands before a
    "-", "_", "." or blank. Frozen sections are left out unless `frozen`. Patients without a slide are moved to
    `excluded`; they, the frozen sections and unmatched slides are findings. The fingerprint is that of the result:
    other slides give another. DataError if nobody has a slide.
    """
    names = sorted({_SVS.sub("", slide) for slide in slides})
    by_key = {slide_key(patient.id): patient.id for patient in labels.patients}
    own: dict[str, list[str]] = defaultdict(list)
    cold, unmatched = [], []
    for slide in names:
        patient = _owner(slide, by_key)
        if patient is None:
            unmatched.append(slide)
        elif is_frozen(slide) and not frozen:
            cold.append(slide)
        else:
            own[patient].append(slide)
    kept = tuple(replace(p, slides=tuple(own[p.id])) for p in labels.patients if p.id in own)
    if not kept:
        raise DataError(
            f"none of {len(names)} slides belongs to a patient of {labels.source} (first slides: {some(names, 3)}; "
            f"first patients: {some(sorted(labels.by_id), 3)}). Where a second table says whose slides these are, give "
            "it with --slide-table."
        )
    without = [p.id for p in labels.patients if p.id not in own]
    findings: list[Finding] = list(labels.findings)
    if without:
        message = "patients of the labels have no slide; left out"
        findings.append(finding("patients_without_slides", "warning", message, without))
    if cold:
        message = "slides are frozen sections (TS, MS or BS in the barcode); left out"
        findings.append(finding("frozen_slides", "warning", message, cold))
    if unmatched:
        message = "slides belong to no patient that can be analysed; not used"
        findings.append(finding("unmatched_slides", "info", message, unmatched))
    if several := [p.id for p in kept if len(p.slides) > 1]:
        message = f"patients have several slides (at most {max(len(p.slides) for p in kept)}); these form one bag"
        findings.append(finding("several_slides", "info", message, several))
    excluded = dict(labels.excluded) | dict.fromkeys(without, "no slide")
    return replace(
        labels, patients=kept, findings=tuple(findings), fingerprint=fingerprint_of_patients(kept), excluded=excluded,
        table_counts=replace(labels.table_counts, slides=counts_of(kept).slides),
        oracle=None if labels.oracle is None else {p.id: labels.oracle[p.id] for p in kept},
    )  # fmt: skip


def _owner(slide: str, by_key: dict[str, str]) -> str | None:
    if BARCODE.match(slide):
        return by_key.get(slide_key(patient_of(slide)))
    key = slide_key(slide)
    if key in by_key:
        return by_key[key]
    ends = [m.start() for m in re.finditer(r"[-_. ]", key)]
    return next((by_key[key[:end]] for end in reversed(ends) if key[:end] in by_key), None)
