"""CLAM-MB: CLAM with an attention map for every output."""

from dataclasses import replace

from .clam_sb import SPEC as SB

SPEC = replace(
    SB,
    name="clam-mb",
    title="CLAM-MB",
    defaults={**SB.defaults, "branches": True},
    reference_defaults={**SB.reference_defaults, "branches": True},
    equation="H = ReLU(L(X)); one map and one vector per output: z_j = sum of softmax(w_j . (tanh(V h) * sigmoid(U "
    "h))) h; out_j = w_j . z_j + b_j. In training the instance loss of CLAM-SB, bin j choosing patches by its own map.",
)
