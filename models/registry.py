"""Every model by name: ours from an explicit tuple, other packages' through the entry-point group `milsurv.models`."""

import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points

from . import (
    abmil,
    abmil_concat,
    abmil_late,
    acmil,
    clam_mb,
    clam_sb,
    crossfusion,
    crossfusion_concat,
    crossfusion_single,
    dsmil,
    dtfd,
    ilra,
    mambamil,
    maxpool,
    meanpool,
    mhim,
    mhim_transmil,
    panther,
    rrtmil,
    s4mil,
    slide_vector,
    transmil,
    wikg,
)
from .spec import ModelSpec

ENTRY_POINTS = "milsurv.models"

SPECS: tuple[ModelSpec, ...] = (
    meanpool.SPEC,
    maxpool.SPEC,
    abmil.SPEC,
    dsmil.SPEC,
    transmil.SPEC,
    clam_sb.SPEC,
    clam_mb.SPEC,
    dtfd.SPEC,
    rrtmil.SPEC,
    wikg.SPEC,
    ilra.SPEC,
    acmil.SPEC,
    mhim.SPEC,
    mhim_transmil.SPEC,
    s4mil.SPEC,
    mambamil.SPEC,
    panther.SPEC,
    slide_vector.SPEC,
    slide_vector.MLP,
    crossfusion_single.SPEC,
    abmil_concat.SPEC,
    abmil_late.SPEC,
    crossfusion.SPEC,
    crossfusion_concat.SPEC,
)


class UnknownModel(KeyError, ValueError):
    """A name that no model has. The message lists the known names and the nearest match."""

    def __str__(self) -> str:
        """Return the plain message (a KeyError alone would print it quoted)."""
        return str(self.args[0])


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
    """The spec of the model called `name`. Raises UnknownModel, which lists the known names and the nearest match."""
    if name in MODELS:
        return MODELS[name]
    near = get_close_matches(name.lower().replace("_", "-"), MODELS, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise UnknownModel(f"no model is called '{name}'.{hint} Known models: {', '.join(sorted(MODELS))}")
