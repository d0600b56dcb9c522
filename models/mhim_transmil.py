"""MHIM with a TransMIL encoder."""

from dataclasses import replace

from .mhim import SPEC as ATTENTION

SPEC = replace(
    ATTENTION,
    name="mhim-transmil",
    title="MHIM-TransMIL",
    learning_rate=5e-4,
    defaults={**ATTENTION.defaults, "encoder": "transmil"},
    reference_defaults={**ATTENTION.reference_defaults, "encoder": "transmil"},
    order_free=False,
    equation="out = L(TransMIL of act(L(X))), with width / 2 landmarks and the positions on a square of side 7 at "
    "least. In training as `mhim`, the teacher ranking patches by the class token's attention of its first layer.",
    cost="linear in n, with width / 2 landmarks; in training twice, for the teacher",
)
