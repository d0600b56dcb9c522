"""From a request for a control to its rows: the same labels, folds and ways to count slides as for a model.

A control needs no features. Where they are given, or lie in the data folder, `bag-size` counts their patches,
`--missing drop` leaves out whom it leaves out for models, and a table that names no slides gets those of the features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ...datasets import cohorts
from ...datasets.bags import Bags
from ...datasets.cohorts import Cohort
from ...datasets.findings import Finding
from ...datasets.folds.read import Folds
from ...datasets.labels.link_slides import link_slides
from ...datasets.labels.read import Labels
from ...datasets.labels.several_slides import Units, select_slides
from ..cross_validate import Material, without
from ..prepare import (
    Request,
    UsageError,
    check_events,
    check_words,
    command_of,
    folds_for,
    known,
    read_table,
    reader_for,
)
from ..results.score_predictions import Entry, whole_of
from .controls import CONTROLS, Control, run_control, settle
from .covariates import KNOWN

DEFAULT_COVARIATES = "age,is_female"


@dataclass(frozen=True)
class ControlChoice:
    """The part of a request that needs no data: `covariates` are those of clinical-cox, `penalty` the ridge's."""

    control: Control
    cohort: Cohort
    covariates: tuple[str, ...]
    penalty: float | None


@dataclass(frozen=True)
class ControlMaterial:
    """What a control is fitted on: who is scored (patients, or slides where slides are), by fold.

    patches: by who is scored, of bag-size; features: the fingerprint of what they were counted in.
    owner: the patient of each slide, where slides are scored; else empty.
    patients, events: how many patients there are, and how many of them died, whatever is scored.
    """

    labels: Labels
    folds: Folds
    patches: Mapping[str, int] | None
    features: str | None
    owner: Mapping[str, str]
    patients: int
    events: int
    findings: tuple[Finding, ...]
    left_out: Mapping[str, str]


def choose_control(request: Request) -> ControlChoice:
    """Look up what a request for a control names. Errors: `UsageError`, `UnknownName`."""
    control, cohort = CONTROLS[request.model], cohorts.get(request.cohort)
    check_words(request)
    if request.recipe != "default":
        raise UsageError(f"{control.name} is not trained by epochs: leave --recipe out")
    settings = dict(request.settings or {})
    unknown = [key for key in settings if key != "penalty" or control.penalty is None]
    if unknown:
        takes = "--set penalty=… (of its ridge) alone" if control.penalty is not None else "no setting"
        raise UsageError(f"{control.name} is not trained by epochs and takes {takes}: leave {', '.join(unknown)} out")
    if request.covariates is not None and control.name != "clinical-cox":
        raise UsageError(f"--covariates are those of clinical-cox; {control.name} has none")
    covariates = tuple(word.strip() for word in (request.covariates or DEFAULT_COVARIATES).split(",") if word.strip())
    for word in covariates:
        known("covariate", word, KNOWN)
    if not covariates or len(set(covariates)) < len(covariates):
        raise UsageError(f"--covariates {request.covariates}: name at least one, each once")
    return ControlChoice(control, cohort, covariates, _penalty(settings.get("penalty")))


def _penalty(text: str | None) -> float | None:
    try:
        penalty = None if text is None else float(text)
    except ValueError:
        penalty = -1.0
    if penalty is not None and not 0 <= penalty < float("inf"):
        raise UsageError(f"penalty={text}: a ridge penalty is a number from 0 on")
    return penalty


def prepare_control(
    request: Request,
    drawing: Callable[[int, int], None] | None = None,
    checking: Callable[[int, int], None] | None = None,
) -> tuple[ControlChoice, ControlMaterial]:
    """Read and check everything a control is fitted on; the arguments and errors are those of `prepare.prepare`."""
    choice = choose_control(request)
    counts = choice.control.name == "bag-size"
    place, labels = read_table(request, choice.cohort, drawing, needs_features=counts)
    wanted = counts or request.missing == "drop" or labels.without_slides
    reader = reader_for(request, place.features, labels) if wanted and place.features else None
    if reader is not None and labels.without_slides:
        labels = link_slides(labels, reader.slides)
    folds = folds_for(request, place, labels)
    units = _units(labels, request.slides)
    findings = (*labels.findings, *folds.findings, *units.findings)
    left_out, absent, bags = dict(labels.excluded), (), None
    if reader is not None and (counts or request.missing == "drop"):
        scales = [max(reader.magnifications)] if counts else reader.magnifications
        bags = Bags(reader, units.labels.patients, scales, missing="drop" if request.missing == "drop" else "error")
        findings = (*findings, *bags.check(checking))
        absent = bags.absent
    if reader is not None and bags is not None and absent:
        rest = without(Material(labels, folds.splits, units, bags, reader.dim), absent)
        labels, units, folds = rest.labels, rest.units, replace(folds, splits=rest.splits)
        check_events(folds.splits, labels)
        left_out |= dict.fromkeys(absent, "no slide with usable features")
    patches = None
    if counts and bags is not None:
        patches = dict.fromkeys(units.owner if units.level == "slide" else units.owner.values(), 0)
        for unit, patient in units.owner.items():
            patches[unit if units.level == "slide" else patient] += sum(bags.lengths(unit).values())
    scored = units.labels if units.level == "slide" else replace(labels, fingerprint=units.labels.fingerprint)
    if units.level == "slide":
        folds = replace(folds, splits=tuple(units.split(split) for split in folds.splits))
    died = sum(patient.event for patient in labels.patients)
    features = reader.fingerprint(bags.slides) if counts and reader is not None and bags is not None else None
    owner = units.owner if units.level == "slide" else {}
    material = ControlMaterial(scored, folds, patches, features, owner, len(labels.patients), died, findings, left_out)
    return choice, material


def _units(labels: Labels, mode: str) -> Units:
    """As models count slides; a table that names none can still be scored by patient."""
    if labels.without_slides and mode == "concat":
        return Units(mode, labels, {patient.id: patient.id for patient in labels.patients}, ())
    return select_slides(labels, mode)


def settled_by(request: Request, choice: ControlChoice, material: ControlMaterial) -> dict[str, object]:
    """The description of the experiment that a request stands for; `experiment.id_of` names it by that."""
    settled = settle(
        choice.control.name,
        material.labels,
        material.folds,
        choice.covariates,
        choice.penalty,
        request.seed,
        material.features,
        request.slides,
    )
    return whole_of(settled)


def entry_of(request: Request, choice: ControlChoice, material: ControlMaterial) -> Entry:
    """Fit and score the control on every fold. Errors: `DataError`."""
    facts = {
        "patients": material.patients,
        "events": material.events,
        "cohort_version": choice.cohort.version,
        "endpoint": request.endpoint,
        "missing": request.missing,
        "command": command_of(request),
    }
    return run_control(
        choice.control.name,
        material.labels,
        material.folds,
        choice.covariates,
        choice.penalty,
        request.seed,
        material.patches,
        material.features,
        request.slides,
        material.owner,
        facts,
    )
