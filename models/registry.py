"""Every model by name: ours from an explicit tuple, other packages' through the entry-point group `milsurv.models`."""

from ..errors import UnknownName
from ..names import check_choice
from ..plugins import registered
from . import (
    abmil,
    abmil_concat,
    abmil_joined,
    abmil_late,
    acmil,
    clam_mb,
    clam_sb,
    crossfusion,
    crossfusion_concat,
    crossfusion_single,
    csmil,
    deepgraphsurv,
    dsca,
    dsmil,
    dtfd,
    h2mil,
    hipt,
    ilra,
    mambamil,
    maxpool,
    meanpool,
    mhim,
    mhim_transmil,
    mustmil,
    panther,
    patchgcn,
    protosurv,
    rrtmil,
    s4mil,
    scmil,
    slide_vector,
    transmil,
    wikg,
    zoommil,
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
    patchgcn.SPEC,
    scmil.SPEC,
    protosurv.SPEC,
    hipt.SPEC,
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
    abmil_joined.SPEC,
    mustmil.SPEC,
    csmil.SPEC,
    zoommil.SPEC,
    dsca.SPEC,
    h2mil.SPEC,
    crossfusion.SPEC,
    crossfusion_concat.SPEC,
)


MODELS: dict[str, ModelSpec] = registered(ModelSpec, ENTRY_POINTS, SPECS)


def get(name: str) -> ModelSpec:
    """The spec of the model called `name`. UnknownName lists the known names and the nearest match."""
    if ":" in name and name not in MODELS:
        raise UnknownName(
            f"model {name!r} is other people's code, which is imported only where the command itself names it: "
            f"add --model {name}"
        )
    check_choice("model", name, sorted(MODELS), UnknownName)
    return MODELS[name]
