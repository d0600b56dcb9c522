"""CLAM-MB: CLAM with an attention map for every output."""

from dataclasses import replace

from .clam_sb import SPEC as SB
from .clam_sb import WEIGHTS as SB_WEIGHTS

WEIGHTS = replace(
    SB_WEIGHTS,
    case="clam-mb",
    model="clam-mb",
    read=lambda given: (
        given["attention_net.0.weight"].shape[1],
        given["attention_net.3.attention_c.bias"].shape[0],
        {
            "hidden": given["attention_net.0.weight"].shape[0],
            "attention": given["attention_net.3.attention_a.0.bias"].shape[0],
        },
    ),
    rules=((r"^head\.", "head.*."), *SB_WEIGHTS.rules),
)

SPEC = replace(
    SB,
    name="clam-mb",
    title="CLAM-MB",
    learning_rate=2e-3,
    defaults={**SB.defaults, "branches": True},
    reference_defaults={**SB.reference_defaults, "branches": True},
    equation="H = ReLU(L(X)); one map and one vector per output: z_j = sum of softmax(w_j . (tanh(V h) * sigmoid(U "
    "h))) h; out_j = w_j . z_j + b_j. In training the instance loss of CLAM-SB, bin j choosing patches by its own map.",
)
