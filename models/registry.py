"""Every model by name: ours from an explicit tuple, other packages' through the entry-point group `milsurv.models`."""

from difflib import get_close_matches

from ..plugins import registered
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


class UnknownModel(KeyError, ValueError):
    """A name that no model has. The message lists the known names and the nearest match."""

    def __str__(self) -> str:
        """Return the plain message (a KeyError alone would print it quoted)."""
        return str(self.args[0])


MODELS: dict[str, ModelSpec] = registered(ModelSpec, ENTRY_POINTS, SPECS)


def get(name: str) -> ModelSpec:
    """The spec of the model called `name`. Raises UnknownModel, which lists the known names and the nearest match."""
    if name in MODELS:
        return MODELS[name]
    near = get_close_matches(name.lower().replace("_", "-"), MODELS, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise UnknownModel(f"no model is called '{name}'.{hint} Known models: {', '.join(sorted(MODELS))}")
