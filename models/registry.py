"""Every model by name: ours from an explicit tuple, other packages' through the entry-point group `milsurv.models`."""

from ..errors import UnknownName
from ..names import check_choice
from ..plugins import registered
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
    deepgraphsurv,
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
    deepgraphsurv.SPEC,
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


MODELS: dict[str, ModelSpec] = registered(ModelSpec, ENTRY_POINTS, SPECS)


def get(name: str) -> ModelSpec:
    """The spec of the model called `name`. UnknownName lists the known names and the nearest match."""
    check_choice("model", name, sorted(MODELS), UnknownName)
    return MODELS[name]
