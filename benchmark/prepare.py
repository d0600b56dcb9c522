"""From what a user asks for to an Experiment and what it reads. Every mistake is found here, before training."""

import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ..datasets import backbones, cohorts
from ..datasets.bags import Bags
from ..datasets.cohorts import Cohort
from ..datasets.features.opening import open_features
from ..datasets.features.reader import Reader
from ..datasets.folds.read import Folds, Split, read_splits, stratified_folds
from ..datasets.folds.site_preserving import site_preserving_folds
from ..datasets.labels.columns import parse_columns
from ..datasets.labels.link_slides import link_slides
from ..datasets.labels.read import Labels, read_labels
from ..datasets.labels.several_slides import MODES, select_slides
from ..datasets.layout import find_features, find_labels, find_splits
from ..errors import DataError, UsageError
from ..models import registry
from ..models.spec import ModelSpec
from ..names import check_choice as known
from .baselines.controls import CONTROLS
from .cross_validate import Material, without
from .experiment import Experiment
from .recipe import RECIPES, Recipe, change
from .training.losses import LOSSES

SYNTHETIC = "synthetic"
SYNTHETIC_BACKBONE = "uni2-h"
"""Whose width a drawn cohort has when none is named."""
SYNTHETIC_CELLS = 2.0
"""Mean 5x patches of a drawn slide; few, so that a first experiment takes two minutes and not an hour."""
PLANTED_BACKBONE, PLANTED_DIM, PLANTED_CELLS = "planted", 64, 2.5
"""What planted cohorts are shown by where no backbone is named, its width, and the mean 5x patches of their slides."""


@dataclass(frozen=True)
class Request:
    """What the command line takes for one experiment.

    model, cohort: names of the registries. backbone: a name, or None when the features say it.
    features: a folder, `synthetic`, or None to look in `data`; labels, splits: likewise files and folders.
    data: the data folder; out: where results go.
    recipe: a name; settings: `key=value` pairs that change recipe fields or hyperparameters, as text.
    endpoint: `os`, `dss`, `pfi` or `dfi`, where the table has it; columns: what the columns of another table hold.
    magnification, patch_px, coords: of the features, where their files do not say them.
    covariates: of the control clinical-cox, joined by commas; None for its default.
    folds, repeats, split_by: outer folds to draw where none are given: how many, how often, and whether `event`
        (stratified) or `site` (no tissue-source site in two parts) decides.
    slides: how several slides of a patient count, out of `milsurv.datasets.labels.several_slides.MODES`.
    seed: see `Experiment`. device: `cpu`, `cuda` or `auto`.
    missing: what to do about patients without features, `error` or `drop`; unusable_times: about times that are missing
        or not above zero, likewise.
    strength, patients, cohort_seed: of a drawn cohort, the planted hazard (a word or a number), how many patients, and
        which draw.
    """

    model: str
    cohort: str
    backbone: str | None = None
    features: str | None = None
    labels: Path | None = None
    splits: Path | None = None
    data: Path = Path("data")
    out: Path = Path("results")
    recipe: str = "default"
    settings: Mapping[str, str] | None = None
    endpoint: str = "os"
    columns: str | None = None
    magnification: int | None = None
    patch_px: int | None = None
    coords: Path | None = None
    covariates: str | None = None
    folds: int = 5
    repeats: int = 1
    split_by: str = "event"
    slides: str = "concat"
    seed: int = 0
    device: str = "auto"
    missing: str = "error"
    unusable_times: str = "error"
    strength: str | None = None
    patients: int | None = None
    cohort_seed: int = 0

    @property
    def drawn(self) -> bool:
        """Whether the cohort is drawn: a synthetic twin was asked for, or a planted cohort, which is never observed."""
        planted = cohorts.get(self.cohort).planted is not None
        return self.features == SYNTHETIC or (planted and self.features is None and self.labels is None)


def settings_of(spec: ModelSpec, recipe_name: str, settings: Mapping[str, str]) -> tuple[Recipe, dict[str, object]]:
    """The recipe and every hyperparameter, after `settings` changed some of them.

    Errors: `UsageError` for an unknown key or a value that does not fit.
    """
    known("recipe", recipe_name, RECIPES)
    recipe = RECIPES[recipe_name]
    hyper = dict(spec.reference_defaults if recipe_name == "reference" else spec.defaults)
    of_recipe = {field.name for field in fields(Recipe)} - {"name"}
    for key in settings:
        known("setting", key, [*sorted(of_recipe), *sorted(hyper)])
    try:
        recipe = change(recipe, {key: text for key, text in settings.items() if key in of_recipe})
        known("loss", recipe.loss, LOSSES)
        hyper |= {key: _parsed(key, text, hyper[key]) for key, text in settings.items() if key not in of_recipe}
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
    if "dropout-in-eval" in recipe.faults:
        if "attention_dropout_in_eval" not in hyper:
            raise UsageError(f"the fault dropout-in-eval needs attention with dropout, which {spec.name} has not")
        hyper["attention_dropout_in_eval"] = True
    return recipe, hyper


def _parsed(key: str, text: str, like: object) -> object:
    """A hyperparameter given as text, of the type of its default."""
    if isinstance(like, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise UsageError(f"{key}={text}: expected true or false")
    try:
        if isinstance(like, int):
            return int(text)
        return float(text) if isinstance(like, float) else text
    except ValueError as error:
        raise UsageError(f"{key}={text}: expected {type(like).__name__}") from error


def device_of(name: str) -> str:
    """`auto` becomes `cuda` where there is one. Errors: `UsageError` for a device that is not there."""
    import torch

    known("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no GPU here; use --device cpu or auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def build_check(spec: ModelSpec, hyper: Mapping[str, object]) -> None:
    """Errors: `UsageError` when the model refuses its hyperparameters."""
    try:
        spec.build(dim=32, n_out=4, **hyper)
    except (ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise UsageError(f"{spec.name} cannot be built with {dict(hyper)}: {error}") from error


def command_of(request: Request) -> str:
    """The `bench run` command that gives these numbers again; defaults are left out, and so is `--out`."""
    words = ["bench", "run", "--model", request.model, "--cohort", request.cohort]
    default = Request("", "")
    for field in fields(Request):
        value = getattr(request, field.name)
        if field.name in ("model", "cohort", "settings", "out") or value == getattr(default, field.name):
            continue
        option = "seeds" if field.name == "seed" else field.name.replace("_", "-")
        words += [f"--{option}", str(value)]
    for key, value in sorted((request.settings or {}).items()):
        words += ["--set", f"{key}={value}"]
    return shlex.join(words)


@dataclass(frozen=True)
class Choice:
    """The part of a request that needs no data: names looked up, settings read, the model known to build."""

    spec: ModelSpec
    cohort: Cohort
    recipe: Recipe
    hyperparameters: Mapping[str, object]
    magnifications: tuple[int, ...]
    device: str


def choose(request: Request) -> Choice:
    """Look up everything that a request names. Errors: `UsageError` and the registries' own unknown-name errors."""
    known("model", request.model, (*registry.MODELS, *CONTROLS))
    spec, cohort = registry.get(request.model), cohorts.get(request.cohort)
    if request.covariates is not None:
        raise UsageError(f"--covariates are those of the control clinical-cox; {spec.name} reads patches")
    check_words(request)
    settings = dict(request.settings or {})
    if "scale" in settings and spec.family != "single-scale":
        raise UsageError(
            f"{spec.name} reads {', '.join(f'{m}x' for m in spec.scales)} together; --scale is for single-scale models"
        )
    recipe, hyper = settings_of(spec, request.recipe, settings)
    if hyper.get("scale", 20) not in (5, 10, 20):
        raise UsageError(f"scale={hyper['scale']}: the magnifications are 5, 10 and 20")
    build_check(spec, hyper)
    return Choice(spec, cohort, recipe, hyper, spec.reads(hyper), device_of(request.device))


def check_words(request: Request) -> None:
    """Errors: `UsageError` for a word that an option does not know, and for options that belong to drawn cohorts."""
    if request.backbone is not None and request.drawn:
        backbones.get(request.backbone)
    known("missing", request.missing, ("error", "drop"))
    known("unusable-times", request.unusable_times, ("error", "drop"))
    known("slides", request.slides, MODES)
    known("split-by", request.split_by, ("event", "site"))
    if request.splits and (request.split_by != "event" or request.repeats > 1):
        raise UsageError("--splits names the folds, --split-by and --repeats draw others: give one of them")
    strength_of(request)
    if request.drawn and (request.labels or request.splits):
        raise UsageError("a drawn cohort has its own patients; leave --labels and --splits out")
    if not request.drawn and (request.strength is not None or request.patients is not None or request.cohort_seed):
        raise UsageError(
            "--strength, --patients and --cohort-seed shape a drawn cohort: a planted one, or --features synthetic"
        )


def prepare(
    request: Request,
    drawing: Callable[[int, int], None] | None = None,
    checking: Callable[[int, int], None] | None = None,
) -> tuple[Experiment, Material]:
    """Read and check everything, and name the experiment.

    drawing, checking: told (done, total) while a synthetic cohort is drawn, and while slides are looked at.
    Errors: `UsageError`, and `DataError` for faults in the data.
    """
    choice = choose(request)
    place, labels = read_table(request, choice.cohort, drawing)
    reader = reader_for(request, place.features or Path(), labels)
    if labels.without_slides:
        labels = link_slides(labels, reader.slides)
    folds = folds_for(request, place, labels)
    units = select_slides(labels, request.slides)
    missing = "drop" if request.missing == "drop" else "error"
    bags = Bags(reader, units.labels.patients, choice.magnifications, missing=missing, places=choice.spec.places)
    noticed = bags.check(checking)
    material = Material(labels, folds.splits, units, bags, reader.dim)
    if bags.absent:
        material = without(material, bags.absent)
        check_events(material.splits, material.labels)
    material = replace(
        material,
        findings=(*labels.findings, *folds.findings, *units.findings, *noticed),
        left_out={**labels.excluded, **dict.fromkeys(bags.absent, "no slide with usable features")},
    )
    experiment = Experiment(
        model=choice.spec.name,
        hyperparameters=dict(sorted(choice.hyperparameters.items())),
        cohort=choice.cohort.name,
        cohort_version=choice.cohort.version,
        backbone=reader.backbone,
        magnifications=choice.magnifications,
        recipe=choice.recipe,
        endpoint=request.endpoint,
        slides=request.slides,
        folds_name=folds.name,
        n_folds=len(folds.splits),
        seed=request.seed,
        device=choice.device,
        labels=units.labels.fingerprint,
        folds=folds.fingerprint,
        features=reader.fingerprint(bags.slides),
        missing=request.missing,
        synthetic=labels.synthetic,
    )
    return experiment, material


def read_table(
    request: Request, cohort: Cohort, drawing: Callable[[int, int], None] | None = None, needs_features: bool = True
) -> "tuple[Place, Labels]":
    """Where everything lies, and the labels. Errors: `UsageError`, `DataError`."""
    place = _locate(request, cohort, drawing, needs_features)
    columns = parse_columns(request.columns) if request.columns else None
    unusable = "drop" if request.unusable_times == "drop" else "error"
    return place, read_labels(place.labels, cohort, unusable, request.endpoint, columns)


def reader_for(request: Request, features: Path, labels: Labels) -> Reader:
    """The features of these labels. Errors: `UsageError` where one is drawn and the other measured; `DataError`."""
    reader = open_features(
        features,
        request.backbone,
        magnification=request.magnification,
        patch_px=request.patch_px,
        coords=request.coords,
    )
    if labels.synthetic != reader.synthetic:
        raise UsageError("synthetic features belong to synthetic labels only: measured and drawn data never mix")
    return reader


def folds_for(request: Request, place: "Place", labels: Labels) -> Folds:
    """The outer folds: those given, else folds of our own, which do not depend on the seed: seeds share their folds."""
    if place.splits:
        return read_splits(place.splits, labels)
    divide = site_preserving_folds if request.split_by == "site" else stratified_folds
    return divide(labels, request.folds, repeats=request.repeats)


@dataclass(frozen=True)
class Place:
    """Where the labels, the folds (None: draw some) and the features (None: there are none) of a request lie."""

    labels: Path
    splits: Path | None
    features: Path | None


def _locate(
    request: Request, cohort: Cohort, drawing: Callable[[int, int], None] | None, needs_features: bool = True
) -> "Place":
    """Where labels, folds and features lie: as given, else by the convention of the data folder."""
    if request.drawn:
        folder = _draw(request, cohort, drawing)
        return Place(folder / "labels.csv", None, folder / "features")
    given = [request.labels, request.splits, request.features]
    lacks = request.labels is None or (needs_features and request.features is None)
    if not request.data.is_dir() and lacks:
        raise UsageError(
            f"no data for {cohort.name}: there is no folder {request.data}/. Give --labels FILE and --features FOLDER "
            f"(and --splits FOLDER), or --data FOLDER that holds {cohort.name}/labels.csv and {cohort.name}/features/, "
            "or try everything without data with --features synthetic"
        )
    for option, path in zip(("labels", "splits", "features"), given, strict=True):
        if path is not None and not Path(path).exists():
            raise UsageError(f"--{option} {path}: there is no such file or folder")
    labels = request.labels or find_labels(request.data, cohort.name)
    features = Path(request.features) if request.features else find_features(request.data, cohort.name)
    if features is None and needs_features:
        raise UsageError(
            f"no features of {cohort.name} in {request.data}: looked for {request.data / cohort.name / 'features'}. "
            "Give --features FOLDER, or try without data with --features synthetic"
        )
    # Folds found beside other labels than those given would be the wrong ones; where others are asked for, any would.
    ours = request.labels is not None or request.split_by != "event" or request.repeats > 1
    splits = request.splits or (None if ours else find_splits(request.data, cohort.name))
    return Place(labels, splits, features)


def strength_of(request: Request) -> str | float:
    """The planted hazard, a word or a number. Errors: `UsageError`."""
    from ..datasets.simulated.cohort import STRENGTHS

    crossed = cohorts.get(request.cohort).planted == "cross"
    strength = request.strength or ("stronger" if crossed else "strong")
    if strength in STRENGTHS:
        return strength
    try:
        number = float(strength)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 10:
        raise UsageError(f"--strength {strength}: expected {', '.join(STRENGTHS)} or a number from 0 to 10")
    return number


def _draw(request: Request, cohort: Cohort, drawing: Callable[[int, int], None] | None) -> Path:
    """The folder of the drawn cohort; every strength, size and draw has one of its own."""
    from ..datasets.simulated.cohort import simulate_cohort

    strength = strength_of(request)
    of_its_own = cohort.planted is not None and request.backbone is None
    backbone = PLANTED_BACKBONE if of_its_own else backbones.get(request.backbone or SYNTHETIC_BACKBONE).name
    name = f"{cohort.name}-{backbone}-{strength}" + (f"-{request.patients}" if request.patients else "")
    name += f"-draw{request.cohort_seed}" if request.cohort_seed else ""
    return simulate_cohort(
        cohort,
        backbone,
        request.out / SYNTHETIC / name,
        seed=request.cohort_seed,
        strength=strength,
        patients=request.patients,
        cells=PLANTED_CELLS if cohort.planted else SYNTHETIC_CELLS,
        dim=PLANTED_DIM if of_its_own else None,
        progress=drawing,
    )


def check_events(splits: tuple[Split, ...], labels: Labels) -> None:
    """Errors: `DataError` where nobody died in a part of a fold any more."""
    died = {patient.id for patient in labels.patients if patient.event}
    for split in splits:
        for part, ids in (("train", split.train), ("test", split.test)):
            if not died & set(ids):
                raise DataError(
                    f"fold {split.fold}: nobody in the {part} part died once patients without features are left out "
                    f"({len(ids)} patients remain). Extract the missing features or use other folds"
                )
