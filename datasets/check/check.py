"""The linter of a cohort: everything that is wrong or odd about labels, folds and features, found in one pass.

It uses the readers of every experiment, in their collecting form: what they would refuse becomes a Finding of
severity error, and the rest is checked as far as it can be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...survival.concordance import chance_sd, comparable_pairs
from ..bags import Bags
from ..cohorts import Cohort
from ..features.nesting import check_nesting
from ..features.opening import open_features
from ..features.reader import Reader
from ..findings import Finding, finding
from ..folds.read import stratified_folds, survey_splits
from ..gdc.manifest import compare_manifest, read_manifest
from ..labels.link_slides import link_slides
from ..labels.options import LabelOptions
from ..labels.read import Counts, Labels, survey_labels
from ..patient import Patient
from .checks import censoring, few_events, gaps, half_width, sites

_RANK = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class FoldCheck:
    """One fold: labelled patients of train and test, deaths and comparable pairs of the test set.

    `chance_sd` is the standard deviation of the C-index of random risks on the test set (None without pairs).
    """

    fold: int
    train: int
    test: int
    events: int
    comparable_pairs: int
    chance_sd: float | None


@dataclass(frozen=True)
class DataReport:
    """What the linter found. Counts are those of the table, before patients who cannot be analysed are left out."""

    cohort: str
    patients: int
    slides: int
    events: int
    multi_slide_patients: int
    folds: tuple[FoldCheck, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(found.severity == "error" for found in self.findings)

    def as_json(self) -> dict[str, object]:
        """The report as plain data: cohort, counts, folds and findings."""
        folds = [{key: value for key, value in asdict(fold).items() if key != "chance_sd"} for fold in self.folds]
        findings = [asdict(found) | {"examples": list(found.examples)} for found in self.findings]
        counts = {name: getattr(self, name) for name in ("patients", "slides", "events", "multi_slide_patients")}
        return {"cohort": self.cohort, **counts, "folds": folds, "findings": findings}


def lint(
    cohort: Cohort,
    labels_path: str | Path,
    splits_path: str | Path | None = None,
    features_path: str | Path | Sequence[Path] | None = None,
    manifest_path: str | Path | None = None,
    backbone: str | None = None,
    options: LabelOptions | None = None,
    magnifications: Sequence[int] | None = None,
    user_facts: Mapping[str, Any] | None = None,
    reading: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Check labels, and folds, features and a manifest where they are given; faults are findings, never raised.

    Without `splits_path` the folds that a run would deal out are checked. Of several folders of features slides and
    scales are joined. `magnifications` are those a slide must have; by default all that the features hold. `user_facts`
    is what feature files do not say, as `open_features` takes it: magnification, patch_px, coords. With `reading`, all
    numbers of the features are read, as a run would, and it is called with (done, total) once a patient.
    """
    findings: list[Finding] = []
    listed: tuple[str, ...] = ()
    if manifest_path is not None:
        try:
            listed, notes = read_manifest(manifest_path)
            findings += notes
        except DataError as error:
            findings.append(Finding("manifest_unreadable", "error", 1, str(error), (str(manifest_path),)))
    reader = _open(features_path, backbone, user_facts or {}, findings)
    labels = _labels(labels_path, cohort, options, findings)
    if labels.patients and labels.without_slides:
        labels = _link(labels, reader, listed, findings)
    elif listed and manifest_path is not None:
        findings += compare_manifest(labels, listed, Path(manifest_path).name)
    findings += [*labels.findings, *censoring(labels, cohort)]
    folds, sides = _folds(splits_path, labels, findings)
    findings += [*half_width(folds), *few_events(folds), *sites(sides, labels), *gaps(sides)]
    if reader is not None and labels.patients:
        _features(reader, labels.patients, magnifications, findings, reading)
    counts = labels.table_counts
    return DataReport(
        labels.cohort, counts.patients, counts.slides, counts.events, counts.multi_slide_patients, folds,
        tuple(sorted(findings, key=lambda found: _RANK[found.severity])),
    )  # fmt: skip


def _labels(path: str | Path, cohort: Cohort, options: LabelOptions | None, findings: list[Finding]) -> Labels:
    try:
        labels, faults = survey_labels(path, cohort, options)
        findings += faults
    except DataError as error:
        findings.append(Finding("labels_unreadable", "error", 1, str(error), (str(path),)))
        return Labels(cohort.name, (), (), "", str(path), False, None, Counts(0, 0, 0, 0, 0), {})
    return labels


def _link(labels: Labels, reader: Reader | None, listed: tuple[str, ...], findings: list[Finding]) -> Labels:
    slides = reader.slides if reader is not None else listed
    if not slides:
        message = "the table names no slides; give --features or --manifest to check them"
        findings.append(Finding("labels_without_slides", "info", 1, message))
        return labels
    try:
        return link_slides(labels, slides)
    except DataError as error:
        findings.append(Finding("nobody_has_slides", "error", 1, str(error)))
        return labels


def _folds(
    splits_path: str | Path | None, labels: Labels, findings: list[Finding]
) -> tuple[tuple[FoldCheck, ...], dict[int, tuple[list[str], list[str]]]]:
    sides: dict[int, tuple[list[str], list[str]]] = {}
    try:
        if splits_path is None:
            dealt = stratified_folds(labels).splits if labels.patients else ()
            sides = {s.fold: (list(s.train), list(s.test)) for s in dealt}
            message = f"no folds are given: {len(dealt)} are dealt out by event and time"
            findings.append(Finding("folds_dealt", "info", 1, message))
        else:
            folds, sides, faults = survey_splits(splits_path, labels)
            findings += [*faults, *folds.findings]
    except DataError as error:
        findings.append(Finding("folds_unreadable", "error", 1, str(error), (str(splits_path or ""),)))
    return tuple(_check(fold, labels.by_id, *train_and_test) for fold, train_and_test in sides.items()), sides


def _check(fold: int, by_id: Mapping[str, Patient], train: Sequence[str], test: Sequence[str]) -> FoldCheck:
    event = np.array([by_id[i].event for i in test], dtype=bool)
    time = np.array([by_id[i].time for i in test], dtype=float)
    pairs = int(comparable_pairs(time, event).comparable.sum())
    return FoldCheck(fold, len(train), len(test), int(event.sum()), pairs, chance_sd(time, event) if pairs else None)


def _open(
    features_path: str | Path | Sequence[Path] | None,
    backbone: str | None,
    user_facts: Mapping[str, Any],
    findings: list[Finding],
) -> Reader | None:
    folders = [features_path] if isinstance(features_path, str | Path) else list(features_path or ())
    if not folders:
        return None
    try:
        return open_features(folders, backbone, **user_facts)
    except DataError as error:
        findings.append(Finding("features_unreadable", "error", 1, str(error), (str(features_path),)))
        return None


def _features(
    reader: Reader,
    patients: Sequence[Patient],
    magnifications: Sequence[int] | None,
    findings: list[Finding],
    reading: Callable[[int, int], None] | None,
) -> None:
    try:
        bags = Bags(reader, patients, magnifications or reader.magnifications, missing="drop", cache_bytes=0)
        findings += bags.check(headers_only=True)
        findings += check_nesting(reader, bags.slides).findings
    except DataError as error:
        findings.append(Finding("features_faulty", "error", 1, str(error), (reader.folder,)))
        return
    if len(bags.absent) == len(patients):
        message = f"{reader.folder}: no patient has a slide with usable features at every scale"
        findings.append(finding("nobody_has_features", "error", message, bags.absent))
    elif reading is not None:
        damaged = bags.damaged(reading)
        message = "slides hold numbers that cannot be used (NaN, infinite, damaged); --missing drop leaves them out"
        if damaged:
            findings.append(finding("features_damaged", "error", message, damaged.values()))
