"""Weights trained by public code, read into our models. The rules for each stand in the model's own file."""

from collections.abc import Mapping

from torch import Tensor, nn

from . import (
    acmil,
    clam_mb,
    clam_sb,
    crossfusion_code,
    csmil,
    deepgraphsurv,
    dsca,
    dtfd,
    h2mil,
    hipt,
    ilra,
    mambamil,
    mhim,
    mustmil,
    panther,
    patchgcn,
    protosurv,
    registry,
    rrtmil,
    s4mil,
    scmil,
    slide_vector,
    wikg,
    zoommil,
)
from .public_weights import PublicWeights

CASES: dict[str, PublicWeights] = {
    weights.case: weights
    for weights in (
        *crossfusion_code.WEIGHTS,
        deepgraphsurv.WEIGHTS,
        patchgcn.WEIGHTS,
        *scmil.WEIGHTS,
        protosurv.WEIGHTS,
        zoommil.WEIGHTS,
        mustmil.WEIGHTS,
        csmil.WEIGHTS,
        hipt.WEIGHTS,
        clam_sb.WEIGHTS,
        clam_mb.WEIGHTS,
        dtfd.WEIGHTS,
        rrtmil.WEIGHTS,
        wikg.WEIGHTS,
        ilra.WEIGHTS,
        acmil.WEIGHTS,
        mhim.WEIGHTS,
        s4mil.WEIGHTS,
        mambamil.WEIGHTS,
        dsca.WEIGHTS,
        h2mil.WEIGHTS,
        panther.WEIGHTS,
        slide_vector.WEIGHTS,
    )
}
REFERENCE_NAMES: tuple[str, ...] = tuple(CASES)


def reference_entries(name: str, entry: str) -> list[str]:
    """The public names of one entry of our state dict of case `name`, to be stacked along the first axis."""
    return CASES[name].entries(entry)


def load_reference(case: str, state_dict: Mapping[str, Tensor], **hyperparameters: object) -> nn.Module:
    """Build the model of a case with weights of its public code, in evaluation mode.

    Widths of the features, of the head and of the layers are read off the shapes; other hyperparameters are those of
    the public code, unless given, by its names or ours (a checkpoint does not tell the number of heads). A prefix
    `module.`, left by DataParallel, is dropped. Read a checkpoint with `torch.load(path, weights_only=True)`.

    Raises:
        ValueError: for a name not in REFERENCE_NAMES; for entries missing, unexpected or of another shape, all listed;
            for a hyperparameter that does not exist.
    """
    if case not in CASES:
        raise ValueError(f"the reference has no weights of '{case}'; it has {', '.join(REFERENCE_NAMES)}")
    weights = CASES[case]
    return weights.load(registry.get(weights.model), state_dict, **hyperparameters)
