"""What a tuner may vary: how a model is trained, and what its own description calls its search space."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

from ...errors import UsageError
from ...models.spec import ModelSpec
from ..baselines.registry import Baseline
from ..experiment import Experiment
from ..recipe import Recipe

Choices = tuple[object, ...] | Mapping[str, object]
"""As a model's description writes it: a tuple of values, or `{"low": a, "high": b, "log": bool}`."""
Space = Mapping[str, Mapping[str, object]]
"""As an experiment holds it: by name `{"choices": [...]}` or `{"low": a, "high": b, "log": bool}`."""

TRAINING: Mapping[str, Choices] = MappingProxyType(
    {
        "learning_rate": {"low": 5e-5, "high": 5e-3, "log": True},
        "weight_decay": {"low": 1e-5, "high": 1e-1, "log": True},
        "batch": (8, 16, 32),
        "loss": ("nll", "ce", "cox"),
    }
)
"""How any model may be trained. Dropout is each model's own, where it has it; the number of steps is not tuned, so that
no setting costs more than twice the patients of the default."""
PENALTY: Choices = MappingProxyType({"low": 0.01, "high": 1000.0, "log": True})
"""The ridge of a baseline."""


def space_of(
    method: ModelSpec | Baseline, recipe: Recipe | None, hyperparameters: Mapping[str, object], fixed: Collection[str]
) -> Space:
    """What may vary for a model or a baseline, every value that it has without tuning included.

    Parameters
    ----------
    recipe, hyperparameters
        The setting without tuning; the first trial is this one.
    fixed
        Names that the command sets itself: what a user sets is not tuned.

    Raises
    ------
    UsageError
        Nothing is left that may vary.
    """
    if isinstance(method, Baseline):
        allowed: dict[str, Choices] = {} if method.penalty is None else {"penalty": PENALTY}
    else:
        allowed = {**TRAINING, **method.search_space}
    start = {name: _value(name, recipe, hyperparameters) for name in allowed}
    space = {name: _with(of, start[name], name) for name, of in allowed.items() if name not in fixed}
    if not space:
        raise UsageError(f"{method.name} has nothing to tune: leave --tune out" + ", or some --set" * bool(fixed))
    return dict(sorted(space.items()))


def start_of(experiment: Experiment) -> dict[str, object]:
    """The setting that a tuned experiment starts from: its values of all that may vary."""
    assert experiment.tuning is not None
    return {name: _value(name, experiment.recipe, experiment.hyperparameters) for name in experiment.tuning.space}


def with_settings(experiment: Experiment, settings: Mapping[str, object]) -> Experiment:
    """The experiment with these values and without tuning."""
    of_recipe = {name: value for name, value in settings.items() if name in TRAINING}
    own = {name: value for name, value in settings.items() if name not in TRAINING}
    recipe = None if experiment.recipe is None else replace(experiment.recipe, **of_recipe)  # type: ignore[arg-type]
    return replace(experiment, recipe=recipe, hyperparameters={**experiment.hyperparameters, **own}, tuning=None)


def described(allowed: Mapping[str, Choices]) -> str:
    """A search space in words: `hidden 128, 256 or 512; learning_rate 5e-05 to 0.005 (log)`."""
    return "; ".join(f"{name} {values(of)}" for name, of in allowed.items())


def values(of: Choices) -> str:
    """What one setting may be, in words."""
    if isinstance(of, Mapping):
        return f"{of['low']:g} to {of['high']:g}" + " (log)" * bool(of.get("log"))
    *most, last = (f"{value:g}" if isinstance(value, float) else str(value) for value in of)
    return f"{', '.join(most)} or {last}" if most else last


def _value(name: str, recipe: Recipe | None, hyperparameters: Mapping[str, object]) -> object:
    return getattr(recipe, name) if name in TRAINING else hyperparameters[name]


def _with(of: Choices, value: object, name: str) -> dict[str, object]:
    """One part of a space as plain data, made to hold the value without tuning."""
    if isinstance(of, Mapping):
        assert isinstance(value, int | float)
        low, high, log = float(str(of["low"])), float(str(of["high"])), bool(of.get("log", False))
        if log and value <= 0:
            raise UsageError(f"{name}={value:g} cannot be tuned from: give it a value above 0, or --set it to fix it")
        kind = int if isinstance(value, int) and low.is_integer() and high.is_integer() else float
        return {"low": kind(min(low, value)), "high": kind(max(high, value)), "log": log}
    return {"choices": [*of, *([] if value in of else [value])]}
