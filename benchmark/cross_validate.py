"""Run an experiment, fold by fold: skip what is done, keep what fails, lose nothing."""

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ..datasets.bags import Bags
from ..datasets.findings import Finding
from ..datasets.folds.read import Split, cut_validation
from ..datasets.labels.read import Labels
from ..datasets.labels.several_slides import Units
from ..errors import DataError
from ..models import registry
from ..survival.concordance import c_index
from ..survival.followup import FollowUp, NotComputable
from .experiment import Experiment, seed_for
from .recipe import title as recipe_title
from .results.folder import CannotWrite, ResultFolder
from .results.provenance import code_version, hardware, libraries
from .training.fit import Diverged, Part
from .training.fold import FoldParts, run_fold


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

    def begin(self) -> None:
        """The experiment begins, or goes on."""
        ...

    def fold(self, row: Mapping[str, object], folder: Path) -> None:
        """A fold's files are written."""
        ...

    def end(self, status: str, rows: Sequence[Mapping[str, object]], folder: Path) -> None:
        """The experiment is `FINISHED`, `FAILED` or `KILLED`."""
        ...


@dataclass(frozen=True)
class Material:
    """What an experiment reads, after checking.

    labels: the patients; splits: the outer folds that remain of them.
    units: what a bag is, a patient or a slide; bags: their patches, `dim` wide.
    findings: what was noticed in labels, folds and features.
    left_out: patients of the table that are not used, and why.
    """

    labels: Labels
    splits: tuple[Split, ...]
    units: Units
    bags: Bags
    dim: int
    findings: tuple[Finding, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def bags_of(self, patients: Sequence[str]) -> Part:
        """The bags of these patients, with their follow-up."""
        return part_of(self.units.labels, self.units.of(patients))

    def scored(self, patients: Sequence[str]) -> Part:
        """Who is scored when these patients are: themselves, or their slides where slides are scored."""
        return self.bags_of(patients) if self.units.level == "slide" else part_of(self.labels, patients)


def part_of(labels: Labels, ids: Sequence[str]) -> Part:
    """Patients (or slides) with their follow-up, in this order."""
    by_id = labels.by_id
    rows = [by_id[i] for i in ids]
    time, event = np.array([p.time for p in rows], dtype=float), np.array([p.event for p in rows], dtype=bool)
    return Part(tuple(ids), FollowUp(time, event))


def fold_parts(experiment: Experiment, material: Material, split: Split) -> FoldParts:
    """The parts of one fold. The inner validation part is cut here, from the training part's labels alone."""
    train, val = split.train, split.val
    if not val and experiment.recipe.validation:
        seed = seed_for(experiment.seed, split.fold, "validation")
        train, val = cut_validation(split.train, material.labels, experiment.recipe.validation, seed)
    return FoldParts(
        fold=split.fold,
        train=material.bags_of(train),
        val=material.bags_of(val),
        test=material.bags_of(split.test),
        scored_train=material.scored(train),
        scored_test=material.scored(split.test),
        units=material.units,
        cohort=material.bags_of([p.id for p in material.labels.patients]).followup,
        owner=material.units.owner if material.units.level == "slide" else {},
    )


def oracle_c_index(material: Material, split: Split) -> float | None:
    """What the true risks reach on this test part; None for cohorts that were observed and not drawn."""
    if material.labels.oracle is None:
        return None
    part = material.scored(split.test)
    truth = material.units.labels.oracle if material.units.level == "slide" else material.labels.oracle
    try:
        return c_index(part.followup.time, part.followup.event, np.array([(truth or {})[i] for i in part.patients]))
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
        "endpoint": experiment.endpoint,
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


def threads_for(experiment: Experiment, material: Material, cores: int) -> int:
    """Threads for one step's arithmetic on a CPU: one where a batch has few patches, all of them where it has many.

    A batch of few patches is thousands of small operations, at the end of each of which threads wait for one another:
    two are a quarter faster than one on an idle machine, and ten times slower on a busy one.
    """
    ids = [patient.id for patient in material.units.labels.patients]
    typical = float(np.median([material.bags.tokens(i) for i in ids])) * min(experiment.recipe.batch, len(ids))
    return cores if experiment.device != "cpu" or typical > 10_000 else 1


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
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_for(experiment, material, threads))
    shared["hardware"] = hardware(experiment.device)
    try:
        recorder.begin()
        folder.write_remarks([asdict(finding) for finding in material.findings], material.left_out)
        for split in splits:
            row = folder.finished(split.fold)
            computed = row is None
            if row is None:
                row = _compute(experiment, material, split, folder, shared, build, watcher)
            rows.append(row)
            watcher.fold(split.fold, row, computed)
            recorder.fold(row, folder.fold(split.fold))
        trained = {split.fold: fold_parts(experiment, material, split).scored_train for split in material.splits}
        folder.summarise({fold: part.followup for fold, part in trained.items()})
        status = "FINISHED" if all(row["status"] == "finished" for row in rows) else "FAILED"
    except CannotWrite:
        status = "FAILED"
        raise
    finally:
        recorder.end(status, rows, folder.path)
        torch.set_num_threads(threads)
        lock.release()
    return rows


def _compute(
    experiment: Experiment,
    material: Material,
    split: Split,
    folder: ResultFolder,
    shared: Mapping[str, object],
    build: Callable[..., nn.Module],
    watcher: Watcher,
) -> dict[str, object]:
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
    except Exception as error:
        # Bad data, diverged training, or a fault of ours or of a model: the fold is recorded as failed, the others
        # still run, and the exit status says so.
        explained = isinstance(error, DataError | Diverged | torch.OutOfMemoryError)
        row |= {"status": "failed", "error": str(error) if explained else f"{type(error).__name__}: {error}"}
        folder.write_failure(row, traceback.format_exc())
    else:
        row |= {"status": "finished", "error": None, **outcome.row}
        folder.write_fold(row, outcome)
    return row


def without(material: Material, units: Sequence[str]) -> Material:
    """The material without these bags, and without the patients of whom none is left."""
    gone = set(units)
    owner = {unit: patient for unit, patient in material.units.owner.items() if unit not in gone}
    left = set(owner.values())

    def keep(ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(i for i in ids if i in left)

    bags = replace(material.units.labels, patients=tuple(p for p in material.units.labels.patients if p.id not in gone))
    return replace(
        material,
        labels=replace(material.labels, patients=tuple(p for p in material.labels.patients if p.id in left)),
        units=replace(material.units, labels=bags, owner=owner),
        splits=tuple(replace(s, train=keep(s.train), val=keep(s.val), test=keep(s.test)) for s in material.splits),
    )
