"""The options that every command with a request shares, each declared once.

Types and defaults are those of `Request`, and of the engine's `Options`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from inspect import Parameter, Signature, signature
from typing import Any, TypeVar

from ..engines.options import Options
from ..planning.request import Request, features_given
from ..results.tracking.options import Tracking
from . import options as o
from .label_options import LABEL_OPTIONS

OPTIONS: dict[str, Any] = {
    "backbone": o.Backbone,
    "features_path": o.Features,
    "labels_path": o.LabelsFile,
    "splits_path": o.SplitsFolder,
    "data": o.Data,
    "out": o.Out,
    "recipe": o.RecipeName,
    **LABEL_OPTIONS,
    "magnification": o.Magnification,
    "patch_px": o.PatchPx,
    "coords": o.Coords,
    "derive_scales": o.DeriveScales,
    "covariates": o.Covariates,
    "folds": o.Folds,
    "repeats": o.Repeats,
    "split_by": o.SplitBy,
    "slides": o.Slides,
    "device": o.Device,
    "missing": o.Missing,
    "strength": o.Strength,
    "patients": o.Patients,
    "cohort_seed": o.CohortSeed,
    "dial": o.Dial,
    "keep_weights": o.KeepWeights,
    "retrain": o.Retrain,
    "checkpoint_every": o.CheckpointEvery,
    "cache": o.Cache,
    "tune": o.Tune,
    "tune_seconds": o.TuneSeconds,
    "inner": o.Inner,
    "tune_workers": o.TuneWorkers,
}
"""The option of every field of `Request` that is taken as it is; the others (`model`, `settings`, …) are composed."""

OF_FILES = (
    "features_path", "labels_path", "splits_path", "data", *LABEL_OPTIONS, "magnification", "patch_px", "coords",
    "derive_scales", "missing",
)  # fmt: skip
"""The fields that say where a cohort lies on disk and how its files are read."""

ENGINE_OPTIONS: dict[str, Any] = {
    "name": ("engine", o.Engine),
    "jobs": ("jobs", o.Jobs),
    "cpus": ("cpus", o.Cpus),
    "gpus": ("gpus", o.Gpus),
    "address": ("address", o.Address),
    "slurm": ("slurm", o.Slurm),
}
"""What the command line calls every field of the engine's `Options`, and its option."""

TRACKING_OPTIONS: dict[str, Any] = {
    "address": ("tracking", o.Tracking),
    "register": ("register", o.Register),
    "system_metrics": ("system_metrics", o.SystemMetrics),
}
"""What the command line calls every field of `Tracking`, and its option."""

Command = TypeVar("Command", bound=Callable[..., None])


def with_request_options(command: Command, without: Collection[str] = ()) -> Command:
    """Give a command, which takes them as `**shared`, all of `OPTIONS` that it does not declare itself.

    without: fields whose options would mean nothing there.
    """
    own = [p for p in signature(command, eval_str=True).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    named = {parameter.name for parameter in own}
    shared = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=option)
        for field in fields(Request)
        if (option := OPTIONS.get(field.name)) and field.name not in (*named, *without)
    ]
    shared.append(Parameter("no_weights", Parameter.KEYWORD_ONLY, default=False, annotation=o.NoWeights))
    for kind, named_options in ((Options, ENGINE_OPTIONS), (Tracking, TRACKING_OPTIONS)):
        for field in fields(kind):
            name, option = named_options[field.name]
            shared.append(Parameter(name, Parameter.KEYWORD_ONLY, default=field.default, annotation=option))
    needed = [parameter for parameter in own if parameter.default is Parameter.empty]
    rest = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own if p.default is not Parameter.empty]
    everything = [*needed, *shared, *rest]
    command.__signature__ = Signature(everything)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
    return command


def request_from(
    model: str, cohort: str, shared: Mapping[str, Any], settings: Sequence[str] | None = None, **short: object
) -> Request:
    """The request of these options. `settings` are `KEY=VALUE`; `short` are options that stand for one.

    Errors: `UsageError` for a setting that is no `KEY=VALUE`.
    """
    values = {field: shared[field] for field in OPTIONS if field in shared}
    if "features_path" in values:
        values["features_path"] = features_given(values["features_path"])
    if "dial" in values:
        values["dial"] = tuple(values["dial"] or ())
    if shared.get("no_weights"):
        values["keep_weights"] = "none"
    return Request(model, cohort, settings=parse_settings(settings, **short), **values)


def engine_from(shared: Mapping[str, Any]) -> Options:
    """The engine of these options."""
    return Options(**{field: shared[name] for field, (name, _) in ENGINE_OPTIONS.items()})


def tracking_from(shared: Mapping[str, Any]) -> Tracking:
    """What these options say of MLflow."""
    return Tracking(**{field: shared[name] for field, (name, _) in TRACKING_OPTIONS.items()})


def parse_settings(pairs: Sequence[str] | None, **short: object) -> dict[str, str]:
    """`KEY=VALUE` pairs, and options that stand for one, as settings. Errors: `UsageError` for another form."""
    from ...errors import UsageError

    found = {key: str(value) for key, value in short.items() if value is not None}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {pair}: expected KEY=VALUE")
        found[key.replace("-", "_")] = value
    return found
