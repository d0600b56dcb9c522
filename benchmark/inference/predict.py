"""What an experiment's fold models say of slides: risk, percentile and survival, with their spread over the folds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...datasets.bags import Bags
from ...datasets.features.derived import derive
from ...datasets.features.opening import open_all, open_features
from ...datasets.features.reader import Reader
from ...datasets.findings import Finding
from ...datasets.labels.clinical_table import ClinicalTable
from ...datasets.labels.options import LabelOptions
from ...datasets.labels.read import Labels, counts_of
from ...datasets.labels.several_slides import Units, select_slides
from ...datasets.labels.slide_table import read_slide_table
from ...datasets.patient import Patient, patient_of
from ...datasets.tables.limits import MAX_BYTES
from ...errors import DataError, UsageError, some
from ...models import registry
from ...names import is_derived, plain_name
from ...survival.followup import Prediction
from .ensemble import FoldEnsemble, OutOfFold, Reads, mean_prediction, out_of_fold, refuse_disagreement

MONTHS = (12, 36, 60)
"""When survival is read: 1, 3 and 5 years."""
NOT_A_DEVICE = (
    "For research only. This is not a medical device, was not validated for clinical use, and must not guide the care "
    "of a patient."
)


@dataclass(frozen=True)
class Spread:
    """A number of all fold models together, and the standard deviation over them; None where it is not known."""

    value: float | None
    sd: float | None


@dataclass(frozen=True)
class PatientPrediction:
    """What is predicted of one patient, or of one slide where slides were trained on by themselves.

    Attributes
    ----------
    patient, slides
        Who, and the names of the slides.
    models
        Numbers of the folds whose models predict. Of a patient on whom the experiment was cross-validated, only the
        models that had not seen them do.
    seen
        Whether the patient is of the training cohort.
    risk
        Higher = earlier death; the mean over the models.
    high_risk
        Whether it is above the median of the training sets.
    percentile
        The share of the training cohort, each scored by the model that had not seen them, whose risk is lower.
    survival
        By months, the probability of being alive; not known where the training sets were not followed for so long.
    edges, curve, curves
        Months, the survival at them, and that of every model (k, m).
    risks, percentiles
        Of every model.
    """

    patient: str
    slides: tuple[str, ...]
    models: tuple[int, ...]
    seen: bool
    risk: Spread
    high_risk: bool
    percentile: Spread
    survival: Mapping[int, Spread]
    edges: tuple[float, ...]
    curve: tuple[float, ...]
    curves: tuple[tuple[float, ...], ...]
    risks: tuple[float, ...]
    percentiles: tuple[float | None, ...]

    def line(self) -> dict[str, object]:
        """One line of the table."""
        line: dict[str, object] = {
            "patient": self.patient,
            "slides": len(self.slides),
            "risk": self.risk.value,
            "risk_sd": self.risk.sd,
            "risk_group": "high" if self.high_risk else "low",
            "percentile": self.percentile.value,
            "percentile_sd": self.percentile.sd,
        }
        for months, found in self.survival.items():
            line |= {f"survival_{months}": found.value, f"survival_{months}_sd": found.sd}
        return line | {"models": len(self.models), "seen_in_training": int(self.seen)}

    def as_json(self) -> dict[str, object]:
        """For programs: nested, with the survival curves."""
        return {
            "patient": self.patient,
            "slides": list(self.slides),
            "seen_in_training": self.seen,
            "risk": {"value": self.risk.value, "sd": self.risk.sd},
            "risk_group": "high" if self.high_risk else "low",
            "percentile": {"value": self.percentile.value, "sd": self.percentile.sd},
            "survival": {str(m): {"value": s.value, "sd": s.sd} for m, s in self.survival.items()},
            "curve": {"months": list(self.edges), "survival": list(self.curve)},
            "folds": [
                {"fold": fold, "risk": risk, "percentile": percentile, "survival": list(curve)}
                for fold, risk, percentile, curve in zip(
                    self.models, self.risks, self.percentiles, self.curves, strict=True
                )
            ],
        }


@dataclass(frozen=True)
class Predicted:
    """Predictions, and what was noticed on the way. `left_out` are slides that could not be used, with the reason."""

    ensemble: FoldEnsemble
    patients: tuple[PatientPrediction, ...]
    findings: tuple[Finding, ...]
    left_out: Mapping[str, str]
    source: "Source"

    @cached_property
    def seen(self) -> tuple[str, ...]:
        """Patients of the training cohort among them."""
        return tuple(one.patient for one in self.patients if one.seen)

    def lines(self) -> list[dict[str, object]]:
        """The table: a line a patient; the risks by the single models end it."""
        found = []
        for one in self.patients:
            by_fold = dict(zip(one.models, one.risks, strict=True))
            risks = {f"risk_fold_{row.fold}": by_fold.get(row.fold, "") for row in self.ensemble.rows}
            found.append(one.line() | risks)
        return found

    def as_json(self) -> dict[str, object]:
        """What `--json` prints."""
        row = self.ensemble.row
        return {
            "experiment": row.experiment,
            "model": row.model,
            "trained_on": row.cohort,
            "synthetic": row.synthetic,
            "endpoint": self.ensemble.about.endpoint,
            "note": NOT_A_DEVICE,
            "patients": [one.as_json() for one in self.patients],
            "left_out": dict(self.left_out),
        }


@dataclass(frozen=True)
class Source:
    """Slides that an experiment's models can read: their bags and whose they are.

    `known`: who is scored, by id, with the covariates that slides are joined with; None for slides alone.
    """

    bags: Bags
    units: Units
    known: Mapping[str, Patient] | None = None

    @property
    def reader(self) -> Reader:
        """Where their features are."""
        return self.bags.reader


def open_source(
    ensemble: FoldEnsemble,
    features: Path | Sequence[Path],
    *,
    backbone: str | None = None,
    magnification: int | None = None,
    patch_px: int | None = None,
    coords: Path | None = None,
    slides: Sequence[str] = (),
    slide_table: Path | None = None,
    missing: str = "error",
    places: bool = False,
    clinical: Path | None = None,
    columns: Mapping[str, str] | None = None,
    counter: Callable[[int, int], None] | None = None,
) -> tuple[Source, tuple[Finding, ...], dict[str, str]]:
    """The slides of a folder of features, checked: what was noticed, and which slides were left out and why.

    Parameters
    ----------
    features
        A folder, an archive or a table, or several whose slides or scales are disjoint.
    slides
        Only these; all when empty.
    slide_table
        Which slides belong to which patient. Without it, TCGA barcodes say it, and any other slide is a patient.
    missing
        `error`, or `drop` slides that cannot be used.
    places
        Whether coordinates are needed, even where the model needs none.
    clinical, columns
        A table with the covariates that slides are joined with, and which of its columns hold what, see
        `ClinicalTable`.

    Raises
    ------
    DataError
        Features differ from those of training, a slide lacks a scale or holds NaN, there is no slide, or a patient
        has no row in `clinical`.
    UsageError
        A slide that is not there; `clinical` for a model that reads slides alone.
    """
    about = ensemble.about
    if clinical is not None and not ensemble.joined:
        raise UsageError(f"{about.model} reads slides alone: leave out --clinical {clinical}")
    places_of_features = (features,) if isinstance(features, Path) else tuple(features)
    where = some(map(str, places_of_features))
    reader = _reader(places_of_features, about.backbone, backbone, magnification, patch_px, coords)
    chosen = sorted(slides) if slides else sorted(reader.slides)
    if absent := [name for name in chosen if name not in reader.slides]:
        raise UsageError(f"{where} holds no features of {some(absent)}; it has {some(sorted(reader.slides))}")
    if not chosen:
        raise DataError(f"{where} holds no slides")
    refuse_disagreement(Reads.of(about), about.model, reader, chosen)
    if reader.synthetic != about.synthetic:
        kinds = {True: "simulated", False: "measured"}
        raise DataError(
            f"{where}: these features are {kinds[reader.synthetic]}, and {about.model} was trained on "
            f"{kinds[about.synthetic]} ones: simulated and measured data never mix"
        )
    owner = {name: patient_of(name) for name in chosen}
    if slide_table is not None:
        named, _ = read_slide_table(slide_table, MAX_BYTES)
        known = {slide: patient for patient, mine in named.items() for slide in mine}
        if lacking := [name for name in chosen if name not in known]:
            raise DataError(f"{slide_table} does not say whose {len(lacking)} slides are: {some(lacking)}")
        owner = {name: known[name] for name in chosen}
    by_patient: dict[str, list[str]] = {}
    for slide, patient in owner.items():
        by_patient.setdefault(patient, []).append(slide)
    table = (
        None if clinical is None else ClinicalTable(clinical, ensemble.row.joined_with, LabelOptions(columns=columns))
    )
    known = {} if table is None else table.of(sorted(by_patient))
    # Times and events are not known, and nothing here reads them.
    patients = tuple(
        Patient(name, 1.0, False, "", tuple(mine), known.get(name, {})) for name, mine in sorted(by_patient.items())
    )
    counts = counts_of(patients)
    labels = Labels(about.cohort, patients, (), "", where, reader.synthetic, None, counts, {}, about.endpoint)
    units = select_slides(labels, about.slides)
    needs = places or registry.get(about.model).places
    how = "drop" if missing == "drop" else "error"
    bags = Bags(reader, units.labels.patients, about.magnifications, missing=how, places=needs)
    findings = [finding for finding in bags.check(counter) if finding.code != "features_without_label"]
    findings += [] if table is None else [*table.findings, *ensemble.unfamiliar(patients)]
    left_out = {}
    if missing == "drop":
        left_out = {name: "its features cannot be used" for name in chosen if name not in set(bags.slides)}
    else:
        damaged = bags.damaged()
        if damaged:
            raise DataError(f"{len(damaged)} slides cannot be used: {'; '.join(list(damaged.values())[:5])}")
    if len(bags.absent) == len(units.labels.patients):
        raise DataError(f"{where}: no slide can be used")
    everyone = {patient.id: patient for patient in (*patients, *units.labels.patients)}
    return Source(bags, units, None if table is None else everyone), tuple(findings), left_out


def _reader(
    features: Sequence[Path],
    trained_on: str | None,
    backbone: str | None,
    magnification: int | None,
    patch_px: int | None,
    coords: Path | None,
) -> Reader:
    """The features in all places as one; those of the backbone of training where a place holds several."""
    given = {"magnification": magnification, "patch_px": patch_px, "coords": coords}
    found = [open_all(place, **given) for place in features] if backbone is None else []
    if found and all(len(one) == 1 for one in found):
        reader = found[0][0] if len(found) == 1 else open_features(features, **given)
    else:
        reader = open_features(features, backbone or plain_name(trained_on), **given)
    return derive(reader) if is_derived(trained_on) else reader


def predict(
    ensemble: FoldEnsemble,
    source: Source,
    findings: tuple[Finding, ...] = (),
    left_out: Mapping[str, str] | None = None,
) -> Predicted:
    """What the models say of everyone in `source`. Errors: as `FoldEnsemble.score`."""
    bags, units = source.bags, source.units
    gone = set(bags.absent)
    names = [patient.id for patient in units.labels.patients if patient.id not in gone]
    ids, single = ensemble.score(bags, names, units, source.known)
    known = out_of_fold(ensemble.folder)
    slides_of: dict[str, list[str]] = {}
    for unit in units.labels.patients:
        if unit.id not in gone:
            who = unit.id if units.level == "slide" else units.owner[unit.id]
            slides_of.setdefault(who, []).extend(unit.slides)
    found = []
    for row, name in enumerate(ids):
        patient = units.owner[name] if units.level == "slide" else name
        found.append(_of_patient(ensemble, single, known, row, name, patient, tuple(slides_of[name])))
    return Predicted(ensemble, tuple(found), findings, dict(left_out or {}), source)


def _of_patient(
    ensemble: FoldEnsemble,
    single: Sequence[Prediction],
    known: OutOfFold,
    row: int,
    name: str,
    patient: str,
    slides: tuple[str, ...],
) -> PatientPrediction:
    numbers = [one.fold for one in ensemble.rows]
    tested_in = known.folds.get(patient, ())
    places = [k for k, fold in enumerate(numbers) if not tested_in or fold in tested_in] or list(range(len(numbers)))
    mine = [_row(single[k], row) for k in places]
    about = [ensemble.models[k].about for k in places]
    together = mean_prediction(mine, [one.median_risk for one in about])
    percentiles = [float(known.percentile(numbers[k], single[k].risk[[row]])[0]) for k in places]
    survival = {}
    for months in MONTHS:
        followed = all(one.end >= months for one in about)
        values = [float(one.survival_at(np.array([float(months)]))[0, 0]) for one in mine]
        survival[months] = _spread(values) if followed else Spread(None, None)
    edges = together.edges
    assert edges is not None and together.survival is not None
    return PatientPrediction(
        patient=name,
        slides=slides,
        models=tuple(numbers[k] for k in places),
        seen=bool(tested_in),
        risk=_spread([float(one.risk[0]) for one in mine]),
        high_risk=bool(together.high_risk()[0]),
        percentile=_spread(percentiles),
        survival=survival,
        edges=tuple(map(float, edges)),
        curve=tuple(map(float, together.survival[0])),
        curves=tuple(tuple(map(float, one.survival_at(edges)[0])) for one in mine),
        risks=tuple(float(one.risk[0]) for one in mine),
        percentiles=tuple(None if np.isnan(one) else one for one in percentiles),
    )


def _row(one: Prediction, row: int) -> Prediction:
    """The prediction of one patient."""
    assert one.survival is not None
    return Prediction(one.risk[[row]], one.survival[[row]], one.edges, one.high_risk()[[row]])


def _spread(values: Sequence[float]) -> Spread:
    if np.isnan(values).any():
        return Spread(None, None)
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)
