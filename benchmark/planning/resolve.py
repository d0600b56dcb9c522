"""From the words of a request to what they name: registries are looked up and settings parsed, nothing is read."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ...datasets import backbones, cohorts
from ...datasets.cohorts import Cohort
from ...datasets.features.geometry import STANDARD
from ...datasets.labels.several_slides import MODES
from ...datasets.own_cohorts.cohort_file import CohortFile
from ...datasets.own_cohorts.find import Found, find_cohort, unknown_cohort
from ...datasets.simulated.cohort import STRENGTHS
from ...datasets.simulated.dials import parse_dials, text_of
from ...errors import UnknownName, UsageError
from ...models import registry
from ...models.spec import ModelSpec
from ...names import check_choice
from ..baselines.covariates import KNOWN, parse_covariates
from ..baselines.registry import BASELINES, DEFAULT_COVARIATES, Baseline
from ..recipe import RECIPES, Recipe, Tuning, change
from ..training.device import device_of
from ..tuning.spaces import space_of
from .request import Request


@dataclass(frozen=True)
class Resolved:
    """What a request names.

    method: a model of the registry, or a baseline.
    hyperparameters: every one of them, after the request's settings.
    recipe: how the model is trained; None for a baseline, which is fitted once.
    magnifications: the scales that are read; none for a baseline.
    device: `cpu` or `cuda`.
    tuning: how settings are chosen fold by fold; None where those above are used.
    covariates: what a model is joined with, in the order of `KNOWN`; those of a baseline are a hyperparameter.
    cohort_file: what describes a cohort of one's own, if anything; registered: whether the registry holds the cohort.
    """

    method: ModelSpec | Baseline
    cohort: Cohort
    hyperparameters: Mapping[str, object]
    recipe: Recipe | None
    magnifications: tuple[int, ...]
    device: str
    seed: int
    tuning: Tuning | None = None
    covariates: tuple[str, ...] = ()
    cohort_file: CohortFile | None = None
    registered: bool = True

    @property
    def baseline(self) -> Baseline | None:
        """The baseline, or None where a model is trained."""
        return self.method if isinstance(self.method, Baseline) else None

    @property
    def needs_places(self) -> bool:
        """Whether the model needs to know where patches lie."""
        return isinstance(self.method, ModelSpec) and self.method.places


def resolve(request: Request, elsewhere: str | None = None, build: bool = True) -> Resolved:
    """Look up everything that a request names.

    elsewhere: the device of other machines, `cpu` or `cuda`, where they compute; None where this one does.
    build: whether the model is built to see that it takes its settings.

    Raises
    ------
    UsageError
        A name that no registry holds, a setting that does not fit, or options that exclude each other.
    """
    found = check_request(request)
    cohort = found.cohort
    if dials := dials_of(request):  # a cohort of its own, with an identity of its own
        cohort = replace(cohort, version=f"{cohort.version}, {text_of(dials)}")
    if request.model in BASELINES:
        baseline = BASELINES[request.model]
        settings = _baseline_settings(baseline, request)
        return Resolved(
            method=baseline,
            cohort=cohort,
            cohort_file=found.file,
            registered=found.registered,
            hyperparameters=settings,
            recipe=None,
            magnifications=(),
            device="cpu",
            seed=request.seed if baseline.seeded else 0,
            tuning=_tuning(request, baseline, None, settings),
        )
    spec = registry.get(request.model)
    recipe, hyperparameters = model_settings(spec, request.recipe, request.settings)
    covariates = () if request.covariates is None else parse_covariates(request.covariates)
    if covariates and recipe.refit:
        raise UsageError(
            "--refit trains on the validation split, on which image and clinic are joined: leave --refit or "
            "--covariates out"
        )
    if build:
        _check_build(spec, hyperparameters, recipe)
    return Resolved(
        method=spec,
        cohort=cohort,
        cohort_file=found.file,
        registered=found.registered,
        hyperparameters=dict(sorted(hyperparameters.items())),
        recipe=recipe,
        magnifications=spec.reads(hyperparameters),
        device=device_of(request.device, elsewhere),
        seed=request.seed,
        tuning=_tuning(request, spec, recipe, hyperparameters),
        covariates=tuple(name for name in KNOWN if name in covariates),
    )


def check_request(request: Request) -> Found:
    """Check all that can be checked without a model: a mistyped name is found before torch is loaded.

    Returns the cohort. Errors: `UsageError`, as `resolve` raises it.
    """
    if ":" not in request.model:  # other people's code is not adopted yet
        check_model(request.model)
    found = find_cohort(request.cohort)
    if request.simulated and not found.registered:
        cohorts.get(request.cohort)  # raises: only a registered cohort has a size to simulate
    own = not found.registered and found.file is None
    if own and request.labels_path is None and not (request.data / found.cohort.name).is_dir():
        raise UnknownName(unknown_cohort(request.cohort))
    _check_options(request)
    return found


def check_model(name: str) -> None:
    """Errors: `UsageError` for a name that is neither a model nor a baseline."""
    check_choice("model", name, (*registry.MODELS, *BASELINES))


def model_settings(spec: ModelSpec, recipe_name: str, settings: Mapping[str, str]) -> tuple[Recipe, dict[str, object]]:
    """The recipe and every hyperparameter of a model, after `settings` changed some of them.

    Errors: `UsageError` for an unknown key or a value that does not fit.
    """
    from ..training.losses import LOSSES

    check_choice("recipe", recipe_name, RECIPES)
    recipe = RECIPES[recipe_name]
    if recipe_name == "default":
        recipe = replace(recipe, learning_rate=spec.learning_rate)
    hyper = dict(spec.reference_defaults if recipe_name == "reference" else spec.defaults)
    if "scale" in settings and spec.family != "single-scale":
        scales = ", ".join(f"{m}x" for m in spec.scales)
        raise UsageError(f"{spec.name} reads {scales} together; --scale is for single-scale models")
    of_recipe = {field.name for field in fields(Recipe)} - {"name", "learning_rate_set"}
    for key in settings:
        check_choice("setting", key, [*sorted(of_recipe), *sorted(hyper)])
    own = recipe.learning_rate
    try:
        recipe = change(recipe, {key: text for key, text in settings.items() if key in of_recipe})
    except ValueError as error:
        raise UsageError(str(error)) from error
    recipe = replace(recipe, learning_rate_set=recipe.learning_rate != own)
    check_choice("loss", recipe.loss, LOSSES)
    hyper |= {key: _parsed(key, text, hyper[key]) for key, text in settings.items() if key not in of_recipe}
    for key in spec.files:
        path = hyper.pop(key)
        if path:
            hyper[key] = _with_hash(key, str(path))
    _check_head(spec, hyper, recipe.loss)
    if hyper.get("scale", 20) not in STANDARD:
        raise UsageError(f"scale={hyper['scale']}: the magnifications are 5, 10, 20 and 40")
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


def _with_hash(key: str, path: str) -> str:
    """A file that is a hyperparameter, with its hash, so that changed content is another experiment."""
    try:
        return f"{path}@{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:10]}"
    except OSError as error:
        raise UsageError(f"{key}={path}: {error.strerror}") from error


def _check_head(spec: ModelSpec, hyperparameters: Mapping[str, object], loss_name: str) -> None:
    """Errors: `UsageError` where the head of a model gives other scores than the loss reads."""
    from ..training.losses import LOSSES

    loss, head = LOSSES[loss_name], hyperparameters.get("head", "linear")
    if loss.head not in ("linear", head):
        having = [one.name for one in registry.specs() if "head" in one.defaults]
        raise UsageError(
            f"the loss {loss.name} needs a head of its own: --set head={loss.head}, with --model {' or '.join(having)}"
        )
    own = [name for name, one in LOSSES.items() if one.head == head]
    if own and loss.name not in own:
        raise UsageError(
            f"{spec.name} with head={head} is not trained by the loss {loss.name}: --loss {' or '.join(own)}"
        )


def _check_build(spec: ModelSpec, hyperparameters: Mapping[str, object], recipe: Recipe) -> None:
    """Errors: `UsageError` when the model refuses its hyperparameters."""
    from ..training.losses import LOSSES

    try:
        spec.build(dim=32, n_out=LOSSES[recipe.loss].width(recipe.bins), **hyperparameters)
    except (ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise UsageError(f"{spec.name} cannot be built with {dict(hyperparameters)}: {error}") from error


def _tuning(
    request: Request, method: ModelSpec | Baseline, recipe: Recipe | None, hyperparameters: Mapping[str, object]
) -> Tuning | None:
    """How the settings of a request are tuned. Errors: `UsageError` for options that do not fit."""
    if not request.tuned:
        return None
    if request.tune is not None and request.tune_seconds is not None:
        raise UsageError("--tune and --tune-seconds are two budgets: give one of them")
    inner = 1 if request.inner == "validation" else int(request.inner) if request.inner.isdecimal() else 0
    if not 1 <= inner <= 20:
        raise UsageError(f"--inner {request.inner}: expected `validation`, or a number of inner folds from 2 to 20")
    if inner == 1 and recipe is None:
        raise UsageError(f"{method.name} has no validation split: use --inner 3")
    if inner == 1 and recipe is not None and not recipe.validation:
        raise UsageError(
            f"the recipe {recipe.name} holds out no validation split that could compare settings: use --inner 3"
        )
    if isinstance(method, Baseline) and method.penalty is None:
        raise UsageError(f"{method.name} has no setting that could be tuned: leave --tune out")
    space = space_of(method, recipe, hyperparameters, request.settings)
    return Tuning(request.tune, request.tune_seconds, inner, space, shared=request.tune_workers > 1)


def _baseline_settings(baseline: Baseline, request: Request) -> dict[str, object]:
    """The hyperparameters of a baseline: the penalty of its ridge, and the covariates of clinical-cox."""
    if request.recipe != "default":
        raise UsageError(f"{baseline.name} is not trained by epochs: leave --recipe out")
    unknown = [key for key in request.settings if key != "penalty" or baseline.penalty is None]
    if unknown:
        takes = "--set penalty=… (of its ridge) alone" if baseline.penalty is not None else "no setting"
        raise UsageError(f"{baseline.name} is not trained by epochs and takes {takes}: leave {', '.join(unknown)} out")
    if request.covariates is not None and baseline.name != "clinical-cox":
        raise UsageError(f"--covariates are for models and for clinical-cox; {baseline.name} has none")
    hyper: dict[str, object] = {}
    if baseline.penalty is not None:
        hyper["penalty"] = _penalty(request.settings.get("penalty"), baseline.penalty)
    if baseline.name == "clinical-cox":
        text = ",".join(DEFAULT_COVARIATES) if request.covariates is None else request.covariates
        hyper["covariates"] = ",".join(parse_covariates(text))
    return hyper


def _penalty(text: str | None, default: float) -> float:
    try:
        penalty = default if text is None else float(text)
    except ValueError:
        penalty = -1.0
    if not 0 <= penalty < math.inf:
        raise UsageError(f"penalty={text}: a ridge penalty is a number from 0 on")
    return penalty


def _check_options(request: Request) -> None:
    """Errors: `UsageError` for a word that an option does not know, and for options of simulated cohorts elsewhere."""
    if request.backbone is not None and request.simulated:
        backbones.get(request.backbone)
    check_choice("missing", request.missing, ("error", "drop"))
    check_choice("unusable-times", request.unusable_times, ("error", "drop"))
    check_choice("slides", request.slides, MODES)
    check_choice("split-by", request.split_by, ("event", "site"))
    if request.splits_path and (request.split_by != "event" or request.repeats > 1):
        raise UsageError("--splits names the folds, --split-by and --repeats make others: give one of them")
    _ = request.keeping
    if not request.tuned and (request.inner != "3" or request.tune_workers != 1):
        raise UsageError("--inner and --tune-workers say how settings are tuned: add --tune N, or leave them out")
    strength_of(request)
    if request.simulated and (request.labels_path or request.splits_path):
        raise UsageError("a simulated cohort has its own patients; leave --labels and --splits out")
    dials_of(request)
    shaped = request.strength is not None or request.patients is not None or request.cohort_seed
    if request.simulated and request.derive_scales:
        raise UsageError("a simulated cohort has 5x, 10x and 20x: leave --derive-scales out")
    if not request.simulated and shaped:
        raise UsageError(
            "--strength, --patients and --cohort-seed shape a simulated cohort: one named planted-…, or "
            "--features synthetic"
        )


def dials_of(request: Request) -> dict[str, float]:
    """The dials of a planted cohort that are turned. Errors: `UsageError`."""
    if not request.dial:
        return {}
    kind = find_cohort(request.cohort).cohort.planted
    if kind is None or not request.simulated:
        raise UsageError(f"--dial {request.dial[0]}: dials are those of planted cohorts; `bench list dials` shows them")
    dials = parse_dials(request.dial, kind)
    if "oracle" in dials and request.strength is not None:
        raise UsageError("--dial oracle=… solves for the strength: leave --strength out")
    return dials


def strength_of(request: Request) -> str | float:
    """The strength of a simulated hazard, a word or a number. Errors: `UsageError`."""
    crossed = find_cohort(request.cohort).cohort.planted == "cross"
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
