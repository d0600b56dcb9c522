"""Run an experiment, fold by fold: skip what is done, keep what fails, lose nothing."""

import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ..datasets.bags import Bags
from ..datasets.errors import DataError
from ..datasets.findings import Finding
from ..datasets.labels import Labels
from ..datasets.splits import Split, cut_validation
from ..models import registry
from .experiment import Experiment, seed_for
from .fit import Diverged, Part
from .fold import FoldParts, run_fold
from .metrics import FollowUp, NotComputable, c_index
from .provenance import code_version, hardware, libraries
from .recipe import title as recipe_title
from .results import CannotWrite, ResultFolder


class Watcher(Protocol):
    """Whoever wants to see progress; `console.FoldProgress` is one."""

    def epoch(self, fold: int, epoch: int, line: Mapping[str, float | int | None]) -> None:
        """An epoch of a fold is over."""
        ...

    def fold(self, fold: int, row: Mapping[str, object], computed: bool) -> None:
        """A fold is over; `computed` is False when its result was already there."""
        ...


class Recorder(Protocol):
    """Whoever keeps a second record of results; `tracking.Tracker` is one. It must not raise."""

    def fold(self, row: Mapping[str, object], folder: Path) -> None:
        """A fold's files are written."""
        ...

    def end(self, status: str, rows: Sequence[Mapping[str, object]], folder: Path) -> None:
        """The experiment is `FINISHED`, `FAILED` or `KILLED`."""
        ...


@dataclass(frozen=True)
class Material:
    """What an experiment reads, after checking.

    labels: the patients; splits: the outer folds that remain of them; bags: their patches, `dim` wide.
    findings: what was noticed in labels, folds and features.
    left_out: patients of the table that are not used, and why.
    """

    labels: Labels
    splits: tuple[Split, ...]
    bags: Bags
    dim: int
    findings: tuple[Finding, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def followup(self, patients: Sequence[str]) -> FollowUp:
        """Time and event of these patients, in this order."""
        by_id = self.labels.by_id
        rows = [by_id[patient] for patient in patients]
        return FollowUp(np.array([p.time for p in rows], dtype=float), np.array([p.event for p in rows], dtype=bool))

    def part(self, patients: Sequence[str]) -> Part:
        """A part of a fold with its follow-up."""
        return Part(tuple(patients), self.followup(patients))


def fold_parts(experiment: Experiment, material: Material, split: Split) -> FoldParts:
    """The parts of one fold. The inner validation part is cut here, from the training part's labels alone."""
    train, val = split.train, split.val
    if not val and experiment.recipe.validation:
        seed = seed_for(experiment.seed, split.fold, "validation")
        train, val = cut_validation(split.train, material.labels, experiment.recipe.validation, seed)
    everyone = material.followup([p.id for p in material.labels.patients])
    return FoldParts(split.fold, material.part(train), material.part(val), material.part(split.test), everyone)


def oracle_c_index(material: Material, split: Split) -> float | None:
    """What the true risks reach on this test part; None for cohorts that were observed and not drawn."""
    if material.labels.oracle is None:
        return None
    part = material.followup(split.test)
    try:
        return c_index(part.time, part.event, np.array([material.labels.oracle[p] for p in split.test]))
    except NotComputable:
        return None


def describe(experiment: Experiment, material: Material, command: str) -> dict[str, object]:
    """The part of a row that all folds of an experiment share."""
    spec = registry.get(experiment.model)
    return {
        "schema": 1,
        "experiment": experiment.id,
        "model": experiment.model,
        "family": spec.family,
        "scales": ",".join(map(str, experiment.magnifications)),
        "cohort": experiment.cohort,
        "cohort_version": experiment.cohort_version,
        "synthetic": experiment.synthetic,
        "backbone": experiment.backbone,
        "loss": experiment.recipe.loss,
        "recipe": recipe_title(experiment.recipe),
        "slides": experiment.slides,
        "missing": experiment.missing,
        "folds_name": experiment.folds_name,
        "n_folds": experiment.n_folds,
        "seed": experiment.seed,
        "hyperparameters": json.dumps(dict(experiment.hyperparameters), sort_keys=True),
        "protocol": experiment.protocol,
        "patients": len(material.labels.patients),
        "events": sum(patient.event for patient in material.labels.patients),
        "labels_fingerprint": experiment.labels,
        "folds_fingerprint": experiment.folds,
        "features_fingerprint": experiment.features,
        "code_version": code_version(),
        "torch_version": libraries()["torch"],
        "device": experiment.device,
        "hardware": hardware(experiment.device),
        "command": command,
    }


def run(
    experiment: Experiment,
    material: Material,
    out: Path,
    command: str,
    watcher: Watcher,
    recorder: Recorder,
    only: Sequence[int] = (),
) -> list[dict[str, object]]:
    """Run every fold that is not finished yet and return all rows, failed ones included.

    only: fold numbers to run; all when empty.
    Errors: `CannotWrite` when the output folder does not take the results (what was written before is kept).
    """
    folder = ResultFolder(out, experiment)
    shared = describe(experiment, material, command)
    build = registry.get(experiment.model).build
    splits = [split for split in material.splits if not only or split.fold in only]
    rows: list[dict[str, object]] = []
    status = "KILLED"
    lock = folder.claim()
    try:
        folder.write_remarks([asdict(finding) for finding in material.findings], material.left_out)
        for split in splits:
            row = folder.finished(split.fold)
            computed = row is None
            if row is None:
                row = _compute(experiment, material, split, folder, shared, build, watcher)
            rows.append(row)
            watcher.fold(split.fold, row, computed)
            recorder.fold(row, folder.fold(split.fold))
        folder.summarise([split.fold for split in material.splits])
        status = "FINISHED" if all(row["status"] == "finished" for row in rows) else "FAILED"
    except CannotWrite:
        status = "FAILED"
        raise
    finally:
        recorder.end(status, rows, folder.path)
        lock.release()
    return rows


def _compute(experiment, material, split, folder, shared, build, watcher) -> dict[str, object]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    row = {
        **shared,
        "fold": split.fold,
        "created": started,
        "oracle_c_index": oracle_c_index(material, split),
    }
    try:
        outcome = run_fold(
            experiment,
            fold_parts(experiment, material, split),
            material.bags,
            build,
            material.dim,
            lambda epoch, line: watcher.epoch(split.fold, epoch, line),
        )
    except (DataError, Diverged, torch.OutOfMemoryError) as error:
        row |= {"status": "failed", "error": str(error)}
        folder.write_failure(row, traceback.format_exc())
    except Exception as error:
        # A fault of ours or of a model: the fold is recorded as failed, the others still run, the exit status says so.
        row |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        folder.write_failure(row, traceback.format_exc())
    else:
        row |= {"status": "finished", "error": None, **outcome.row}
        folder.write_fold(row, outcome)
    return row


def without(material: Material, left_out: Sequence[str]) -> Material:
    """The material without these patients, in labels and folds alike."""
    gone = set(left_out)
    labels = replace(material.labels, patients=tuple(p for p in material.labels.patients if p.id not in gone))

    def keep(ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(i for i in ids if i not in gone)

    splits = tuple(replace(s, train=keep(s.train), val=keep(s.val), test=keep(s.test)) for s in material.splits)
    return replace(material, labels=labels, splits=splits)
