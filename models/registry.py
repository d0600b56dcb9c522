"""Every model by name: ours from an explicit tuple, other packages' through the entry-point group `milsurv.models`."""

import warnings
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from ..errors import UnknownName
from ..names import check_choice
from . import (
    abmil,
    abmil_concat,
    abmil_late,
    crossfusion,
    crossfusion_concat,
    crossfusion_single,
    dsmil,
    maxpool,
    meanpool,
    transmil,
)
from .spec import ModelSpec

ENTRY_POINTS = "milsurv.models"

SPECS: tuple[ModelSpec, ...] = (
    meanpool.SPEC,
    maxpool.SPEC,
    abmil.SPEC,
    dsmil.SPEC,
    transmil.SPEC,
    crossfusion_single.SPEC,
    abmil_concat.SPEC,
    abmil_late.SPEC,
    crossfusion.SPEC,
    crossfusion_concat.SPEC,
)


def collect(own: Iterable[ModelSpec], others: Iterable[EntryPoint]) -> dict[str, ModelSpec]:
    """Specs by name: `own`, then those that the entry points name.

    An entry point that cannot be loaded, is no ModelSpec, or takes a name already given is left out with a
    RuntimeWarning that says which one and why: a faulty package elsewhere must not stop the benchmark, nor hide.
    """
    models = {spec.name: spec for spec in own}
    for entry in others:
        where = f"entry point '{entry.name} = {entry.value}' of the group {ENTRY_POINTS}"
        try:
            spec = entry.load()
        except Exception as error:  # any import of foreign code can raise anything; it is reported, not hidden
            fault = f"cannot be loaded ({type(error).__name__}: {error})"
        else:
            if not isinstance(spec, ModelSpec):
                fault = f"is a {type(spec).__name__}, not a milsurv.models.spec.ModelSpec"
            elif spec.name in models:
                fault = f"gives a model named '{spec.name}', which exists already"
            else:
                models[spec.name] = spec
                continue
        warnings.warn(f"left out: {where} {fault}", RuntimeWarning, stacklevel=2)
    return models


MODELS: dict[str, ModelSpec] = collect(SPECS, entry_points(group=ENTRY_POINTS))


def get(name: str) -> ModelSpec:
    """The spec of the model called `name`. UnknownName lists the known names and the nearest match."""
    check_choice("model", name, sorted(MODELS), UnknownName)
    return MODELS[name]
