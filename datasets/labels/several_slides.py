"""Several slides per patient as a factor: what a model trains on, and how its predictions become a patient's.

Four modes. `concat`: all slides of a patient are one bag. `first-dx`: only the first diagnostic slide. `mean-risk`:
every slide is a bag with its patient's outcome, and a patient's prediction is the mean over slides. `slide`: every
slide is a bag and is scored by itself, which counts patients with many slides many times: a slide-level C-index is
not a patient-level one and must be shown as what it is.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...errors import DataError
from ...names import check_choice
from ..findings import Finding, finding
from ..patient import Patient
from ..split import Split
from .read import Labels, counts_of, fingerprint_of_patients

MODES = {
    "concat": "all slides of a patient form one bag",
    "first-dx": "the first diagnostic slide of each patient",
    "mean-risk": "every slide is a bag; a patient's risk is the mean over slides",
    "slide": "every slide is a bag and is scored by itself",
}
_DX = re.compile(r"-DX(\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Units:
    """What is trained on: `labels` whose "patients" are the units (a patient, or a slide), and who owns each unit.

    Folds and validation splits are cut among patients first and turned into units then (`of`, `split`): slides
    of one patient never part. `level` is what predictions are about after `aggregate`: "patient" or "slide".
    """

    mode: str
    labels: Labels
    owner: dict[str, str]
    findings: tuple[Finding, ...]

    @property
    def level(self) -> str:
        """ "slide" for the mode slide, else "patient"."""
        return "slide" if self.mode == "slide" else "patient"

    @cached_property
    def _owned(self) -> dict[str, list[str]]:
        owned: dict[str, list[str]] = {}
        for unit, patient in self.owner.items():
            owned.setdefault(patient, []).append(unit)
        return owned

    def of(self, patients: Iterable[str]) -> tuple[str, ...]:
        """The units of these patients, in their order."""
        return tuple(unit for patient in patients for unit in self._owned[patient])

    def split(self, split: Split) -> Split:
        """A split of patients as a split of units; its sets stay disjoint because patients do not share units."""
        return Split(split.fold, self.of(split.train), self.of(split.val), self.of(split.test))

    def aggregate(self, units: Sequence[str], values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """Predictions of units, (n,) risks or (n, bins) survival, as those of patients: (ids, values), by mean.

        Ids are in the order in which they first appear. Nothing changes in the modes in which a unit is a patient,
        and in the mode slide, whose predictions are about slides.
        """
        if len(units) != len(values):
            raise ValueError(f"{len(units)} units but {len(values)} predictions")
        if self.mode != "mean-risk":
            return tuple(units), values
        ids = tuple(dict.fromkeys(self.owner[unit] for unit in units))
        row = {patient: i for i, patient in enumerate(ids)}
        at = np.array([row[self.owner[unit]] for unit in units], dtype=int)
        total = np.zeros((len(ids), *values.shape[1:]), dtype=float)
        np.add.at(total, at, values)
        counts = np.bincount(at, minlength=len(ids)).reshape(-1, *[1] * (values.ndim - 1))
        return ids, total / counts


def select_slides(labels: Labels, mode: str = "concat") -> Units:
    """The units of `labels` in one of MODES. DataError for an unknown mode and for labels without slides."""
    check_choice("mode of slides", mode, MODES, DataError)
    if labels.without_slides:
        raise DataError(f"{labels.source} names no slides: link those of a manifest or of the features first.")
    if mode == "concat":
        return Units(mode, labels, {p.id: p.id for p in labels.patients}, ())
    if mode == "first-dx":
        first = tuple(replace(p, slides=p.slides and (min(p.slides, key=_rank),)) for p in labels.patients)
        left = [s for p, one in zip(labels.patients, first, strict=True) for s in p.slides if s not in one.slides]
        findings = [finding("slides_not_first", "info", "slides are not the first of their patient; not used", left)]
        if odd := [p.slides[0] for p in first if p.slides and not _DX.search(p.slides[0])]:
            message = "patients have no slide that its name calls diagnostic (DX); the first by name is used"
            findings.append(finding("no_diagnostic_slide", "warning", message, odd))
        found = tuple(f for f in findings if f.count)
        return Units(mode, _with(labels, first), {p.id: p.id for p in labels.patients}, found)
    slides = tuple(replace(p, id=slide, slides=(slide,)) for p in labels.patients for slide in p.slides)
    owner = {slide: p.id for p in labels.patients for slide in p.slides}
    several = [p.id for p in labels.patients if len(p.slides) > 1]
    most = max(len(p.slides) for p in labels.patients)
    message = f"patients have several slides (at most {most}) and weigh as much in training as they have slides"
    found = (finding("slides_weigh", "info", message, several),) if several else ()
    return Units(mode, _with(labels, slides), owner, found)


def _rank(slide: str) -> tuple[bool, str, str]:
    """Diagnostic slides first, by their number (DX1 before DX2 before DXA)."""
    match = _DX.search(slide)
    return (match is None, match[1].upper() if match else "", slide)


def _with(labels: Labels, units: tuple[Patient, ...]) -> Labels:
    owner = {slide: p.id for p in labels.patients for slide in p.slides}
    oracle = labels.oracle
    if oracle is not None:
        oracle = {u.id: oracle[u.id if u.id in oracle else owner[u.id]] for u in units}
    return replace(
        labels, patients=units, fingerprint=fingerprint_of_patients(units), oracle=oracle,
        table_counts=counts_of(units),
    )  # fmt: skip
