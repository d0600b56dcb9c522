"""From a request to its data and its experiment: labels, folds and features are read and checked, each once.

Every mistake in the data is found here, before anything is trained.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ...datasets import backbones
from ...datasets.bags import Bags
from ...datasets.check.checks import censoring
from ...datasets.cohorts import Cohort
from ...datasets.features.derived import derive
from ...datasets.features.opening import open_features
from ...datasets.features.reader import Reader
from ...datasets.folds.read import read_splits, stratified_folds
from ...datasets.folds.site_preserving import site_preserving_folds
from ...datasets.labels.link_slides import link_slides
from ...datasets.labels.read import Labels, read_labels
from ...datasets.labels.several_slides import Units, select_slides
from ...datasets.layout import find_features, find_labels, find_splits
from ...datasets.own_cohorts.cohort_file import CohortFile
from ...datasets.own_cohorts.find import find_cohort, mistyped, unknown_cohort
from ...datasets.own_cohorts.label_options import label_options
from ...datasets.own_cohorts.typed_options import typed
from ...datasets.simulated.cohort import simulate_cohort
from ...datasets.split import Folds
from ...errors import DataError, UnknownName, UsageError
from ..baselines.covariates import check_covariates
from ..baselines.fit import check_baseline, covariates_of
from ..cohort_data import CohortData
from ..experiment import Experiment
from .request import SIMULATED, Request
from .resolve import Resolved, dials_of, resolve, strength_of

SIMULATED_BACKBONE = "uni2-h"
"""Whose width a simulated cohort has when none is named."""
SIMULATED_CELLS = 2.0
"""Mean 5x patches of a simulated slide; few, so that a first experiment takes two minutes and not an hour."""
PLANTED_BACKBONE, PLANTED_DIM, PLANTED_CELLS = "planted", 64, 2.5
"""Of `planted-…` cohorts where no backbone is named: its name, its width, and the mean 5x patches of their slides."""

Counter = Callable[[int, int], None]
_NO_FOLDS = Folds("none", (), (), "")


@dataclass(frozen=True)
class Locations:
    """Where the labels, the folds (None: make some) and the features (none: there are none) of a request lie."""

    labels: Path
    splits: Path | None
    features: tuple[Path, ...]


def load(
    request: Request, simulating: Counter | None = None, checking: Counter | None = None
) -> tuple[Experiment, CohortData]:
    """Read and check everything that a request names, and name its experiment.

    Parameters
    ----------
    simulating, checking
        Called with (done, total) while a cohort is simulated, and while slides are looked at.

    Raises
    ------
    UsageError
        The request cannot be carried out as it was made.
    DataError
        A fault in labels, folds or features.
    """
    return Loader().load(request, simulating, checking)


def load_cohort(
    request: Request,
    magnifications: tuple[int, ...],
    opened: Callable[[Reader, Labels], None],
    simulating: Counter | None = None,
    checking: Counter | None = None,
) -> CohortData:
    """Read and check the cohort of a request to score it with a model that is trained already: it has no folds.

    Parameters
    ----------
    magnifications
        The scales that the model reads.
    opened
        Called with the features and the labels before patches are looked at, to refuse what the model cannot read.
    simulating, checking
        As in `load`.

    Raises
    ------
    UsageError, DataError
        As `load` does, and what `opened` raises.
    """
    resolved = replace(resolve(request), magnifications=magnifications)
    data, reader = _read(request, resolved, simulating, checking, opened)
    assert reader is not None, "a model reads features"
    return data


def located(request: Request, simulating: Counter | None = None) -> tuple[Labels, Locations]:
    """The labels of a request, and where its labels, folds and features lie; features are not opened.

    Errors: as `load`.
    """
    resolved = resolve(request)
    places = _locate(request, resolved, simulating, needs_features=True)
    labels = read_labels(places.labels, resolved.cohort, label_options(typed(request), resolved.cohort_file))
    return labels, places


class Loader:
    """Loads requests one after another, and reads what several of them have in common once.

    Requests that differ in model, settings, recipe or seed alone share their data; only the patches of the one loaded
    last stay in memory. What it has read, it takes to be unchanged.

    elsewhere: the device of other machines, `cpu` or `cuda`, where they compute; None where this one does.
    build: whether a model is built to see that it takes its settings.
    """

    _KEPT = 8  # cohorts with their tables and headers

    def __init__(self, elsewhere: str | None = None, build: bool = True) -> None:
        self.elsewhere, self.build = elsewhere, build
        self._read: dict[Hashable, tuple[CohortData, Reader | None]] = {}

    def load(
        self, request: Request, simulating: Counter | None = None, checking: Counter | None = None
    ) -> tuple[Experiment, CohortData]:
        """Read and check everything that a request names, and name its experiment; see `load`."""
        resolved = resolve(request, self.elsewhere, self.build)
        baseline = resolved.baseline
        counts = baseline is not None and baseline.counts_patches
        key = _data_key(request, resolved)
        for other, (data, _) in self._read.items():
            if other != key and data.bags is not None:
                data.bags.forget()
        if key not in self._read:
            if len(self._read) == self._KEPT:
                del self._read[next(iter(self._read))]
            self._read[key] = _read(request, resolved, simulating, checking)
        data, reader = self._read[key]
        if baseline is not None:
            check_baseline(baseline.name, data, covariates_of(resolved.hyperparameters))
        elif resolved.covariates:
            _check_joined(resolved, data)
        return _experiment(request, resolved, data, reader if baseline is None or counts else None), data


def _data_key(request: Request, resolved: Resolved) -> Hashable:
    """What decides which data is read."""
    of_training = ("model", "recipe", "settings", "covariates", "seed", "device", "keep_weights", "retrain")
    of_training += ("checkpoint_every", "tune", "tune_seconds", "inner", "tune_workers")
    given = tuple(repr(getattr(request, field.name)) for field in fields(request) if field.name not in of_training)
    baseline = resolved.baseline
    counts = baseline is not None and baseline.counts_patches
    return (*given, baseline is None, counts, resolved.magnifications, resolved.needs_places)


def _read(
    request: Request,
    resolved: Resolved,
    simulating: Counter | None,
    checking: Counter | None,
    opened: Callable[[Reader, Labels], None] | None = None,
) -> tuple[CohortData, Reader | None]:
    """The data of a request, and the reader of its features, where they are opened.

    opened: see `load_cohort`; where it is given, no folds are read or made.
    """
    baseline = resolved.baseline
    counts = baseline is not None and baseline.counts_patches
    trained = baseline is None
    places = _locate(request, resolved, simulating, needs_features=trained or counts)
    labels = read_labels(places.labels, resolved.cohort, label_options(typed(request), resolved.cohort_file))
    if not resolved.registered and resolved.cohort_file is None and mistyped(request.cohort, labels.by_id):
        raise UnknownName(unknown_cohort(request.cohort))
    refuse_flipped(labels, resolved.cohort)
    # A baseline opens features only to count patches, to leave out whom models leave out, or to learn slides' names.
    reader = None
    if places.features and (trained or counts or request.missing == "drop" or labels.without_slides):
        reader = _open(request, resolved.cohort_file, places.features, labels, resolved.magnifications)
    if reader is not None and labels.without_slides:
        labels = link_slides(labels, reader.slides)
    if reader is not None and opened is not None:
        opened(reader, labels)
    folds = _NO_FOLDS if opened else _folds(request, places, labels)
    units = _units(labels, request.slides, needs_slides=trained or reader is not None)
    data = CohortData(labels, folds, units, left_out=dict(labels.excluded))
    findings = (*labels.findings, *folds.findings, *units.findings)
    if reader is not None and (trained or counts or request.missing == "drop"):
        scales = resolved.magnifications or ([max(reader.magnifications)] if counts else reader.magnifications)
        missing = "drop" if request.missing == "drop" else "error"
        bags = Bags(reader, units.labels.patients, scales, request.cache_bytes, missing, resolved.needs_places)
        findings = (*findings, *bags.check(checking), *(bags.streamed() if trained else ()))
        data = replace(data, bags=bags, dim=reader.dim)
        if bags.absent:
            left_out = {**data.left_out, **dict.fromkeys(bags.absent, "no slide with usable features")}
            data = replace(data.without(bags.absent), left_out=left_out)
            _check_deaths(data)
    return replace(data, findings=findings, patches=_count_patches(data) if counts else None), reader


def _experiment(request: Request, resolved: Resolved, data: CohortData, reader: Reader | None) -> Experiment:
    trained = resolved.baseline is None
    return Experiment(
        model=resolved.method.name,
        hyperparameters=resolved.hyperparameters,
        cohort=data.labels.cohort,
        cohort_version=resolved.cohort.version,
        backbone=reader.backbone if reader is not None and trained else None,
        magnifications=resolved.magnifications,
        recipe=resolved.recipe,
        endpoint=data.labels.endpoint,
        slides=request.slides,
        folds_name=data.folds.name,
        n_folds=len(data.folds.splits),
        seed=resolved.seed,
        device=resolved.device,
        labels_fingerprint=data.units.labels.fingerprint,
        folds_fingerprint=data.folds.fingerprint,
        features_fingerprint=reader.fingerprint(data.bags.slides)
        if reader is not None and data.bags is not None
        else None,
        missing=request.missing,
        synthetic=data.labels.synthetic,
        tuning=resolved.tuning,
        covariates=resolved.covariates,
    )


def _check_joined(resolved: Resolved, data: CohortData) -> None:
    """Errors: `DataError` for covariates that say nothing; `UsageError` where a fold has no validation split."""
    check_covariates(data.labels, resolved.covariates, varying=True)
    recipe = resolved.recipe
    if recipe is not None and not recipe.validation and not all(split.val for split in data.folds.splits):
        raise UsageError(
            f"--covariates: image and clinic are joined on the validation split, and the recipe {recipe.name} holds "
            "none out. Add --set validation=0.2, or leave --covariates out"
        )


def _open(
    request: Request, file: CohortFile | None, features: tuple[Path, ...], labels: Labels, scales: Sequence[int]
) -> Reader:
    """The features of these labels; scales of `scales` that they lack are derived where that was asked for.

    Errors: `UsageError` where one is simulated and the other measured; `DataError`.
    """
    backbone, magnification, patch_px, coords = (
        request.backbone,
        request.magnification,
        request.patch_px,
        request.coords,
    )
    if file is not None and request.features_path is None:
        backbone, coords = backbone or file.backbone, coords or file.path(file.coords)
        magnification, patch_px = magnification or file.magnification, patch_px or file.patch_px
    reader = open_features(features, backbone, magnification=magnification, patch_px=patch_px, coords=coords)
    if request.derive_scales and set(scales) - set(reader.magnifications):
        reader = derive(reader)
    if labels.synthetic != reader.synthetic:
        raise UsageError("simulated features belong to simulated labels only: measured and simulated data never mix")
    return reader


def _folds(request: Request, places: Locations, labels: Labels) -> Folds:
    """The outer folds: those given, else folds of our own, which do not depend on the seed: seeds share their folds."""
    if places.splits:
        return read_splits(places.splits, labels)
    make = site_preserving_folds if request.split_by == "site" else stratified_folds
    return make(labels, request.folds, repeats=request.repeats)


def _units(labels: Labels, mode: str, needs_slides: bool) -> Units:
    """What a bag is. A table that names no slides can still be scored by patient where no features are read."""
    if labels.without_slides and mode == "concat" and not needs_slides:
        return Units(mode, labels, {patient.id: patient.id for patient in labels.patients}, ())
    return select_slides(labels, mode)


def _count_patches(data: CohortData) -> dict[str, int]:
    """Patches by who is scored."""
    assert data.bags is not None
    by_slide = data.units.level == "slide"
    counts = dict.fromkeys(data.units.owner if by_slide else data.units.owner.values(), 0)
    for unit, patient in data.units.owner.items():
        counts[unit if by_slide else patient] += sum(data.bags.lengths(unit).values())
    return counts


def _locate(request: Request, resolved: Resolved, simulating: Counter | None, needs_features: bool) -> Locations:
    """Where labels, folds and features lie: as given, else as a cohort.toml or the data folder's convention says."""
    if request.simulated:
        folder = _simulate(request, simulating)
        return Locations(folder / "labels.csv", None, (folder / "features",))
    given = {"labels": request.labels_path, "splits": request.splits_path, "slide-table": request.slide_table}
    features = request.feature_places
    for option, path in (*given.items(), *(("features", place) for place in features)):
        if path is not None and not Path(path).exists():
            raise UsageError(f"--{option} {path}: there is no such file or folder")
    others = request.split_by != "event" or request.repeats > 1
    if (file := resolved.cohort_file) is not None:
        own = request.labels_path is None
        labels = request.labels_path or file.path(file.labels) or Path(file.labels)
        features = features or file.feature_folders
        splits = request.splits_path or (file.path(file.folds) if own and not others else None)
        if needs_features and not features:
            raise UsageError(f"{request.cohort} names no features: give --features FOLDER, or name it in cohort.toml")
        return Locations(labels, splits, features)
    name = resolved.cohort.name
    lacks = request.labels_path is None or (needs_features and not features)
    if not request.data.is_dir() and lacks:
        raise UsageError(
            f"no data for {name}: there is no folder {request.data}/. Give --labels FILE and --features FOLDER "
            f"(and --splits FOLDER), or --data FOLDER that holds {name}/labels.csv and {name}/features/, "
            "or try everything without data with --features synthetic"
        )
    labels = request.labels_path or find_labels(request.data, name)
    if not features and (found := find_features(request.data, name)) is not None:
        features = (found,)
    if not features and needs_features:
        raise UsageError(
            f"no features of {name} in {request.data}: looked for {request.data / name / 'features'}. "
            "Give --features FOLDER, or try without data with --features synthetic"
        )
    # Folds found beside other labels than those given would be the wrong ones; where others are asked for, any would.
    splits = request.splits_path or (None if others or request.labels_path else find_splits(request.data, name))
    return Locations(labels, splits, features)


def simulated_folder(request: Request) -> Path:
    """Where the simulated cohort of a request is kept; every strength, size, draw and dial has one of its own."""
    cohort = find_cohort(request.cohort).cohort
    name = f"{cohort.name}-{_simulated_backbone(request, cohort)}-{strength_of(request)}"
    name += f"-{request.patients}" if request.patients else ""
    name += f"-draw{request.cohort_seed}" if request.cohort_seed else ""
    name += "".join(f"-{dial}{value:.12g}" for dial, value in dials_of(request).items())
    return request.out / SIMULATED / name


def _simulated_backbone(request: Request, cohort: Cohort) -> str:
    if cohort.planted is not None and request.backbone is None:
        return PLANTED_BACKBONE
    return backbones.get(request.backbone or SIMULATED_BACKBONE).name


def _simulate(request: Request, simulating: Counter | None) -> Path:
    cohort = find_cohort(request.cohort).cohort
    backbone = _simulated_backbone(request, cohort)
    return simulate_cohort(
        cohort,
        backbone,
        simulated_folder(request),
        seed=request.cohort_seed,
        strength=strength_of(request),
        patients=request.patients,
        cells=PLANTED_CELLS if cohort.planted else SIMULATED_CELLS,
        dim=PLANTED_DIM if backbone == PLANTED_BACKBONE else None,
        progress=simulating,
        dials=dials_of(request),
    )


def refuse_flipped(labels: Labels, cohort: Cohort) -> None:
    """Errors: `DataError` for what the linter calls an error in the outcomes: constant, or flipped censoring."""
    if labels.synthetic:
        return
    faults = [found for found in censoring(labels, cohort) if found.severity == "error"]
    if faults:
        raise DataError(f"{faults[0].message}. If the table is right, run it as a cohort of your own: --cohort NAME")


def _check_deaths(data: CohortData) -> None:
    """Errors: `DataError` where nobody in the training or test set of a fold died any more."""
    died = {patient.id for patient in data.labels.patients if patient.event}
    for split in data.folds.splits:
        for name, ids in (("training", split.train), ("test", split.test)):
            if not died & set(ids):
                raise DataError(
                    f"fold {split.fold}: nobody in the {name} set died once patients without features are left out "
                    f"({len(ids)} patients remain). Extract the missing features or use other folds"
                )
