"""ABMIL-late: one complete ABMIL per magnification, their scores averaged."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .abmil import ABMIL
from .spec import ModelSpec

SCALES = (5, 10, 20)


class ABMILLate(nn.Module):
    """Late fusion: the scores of three models that never see each other, averaged.

    The mean is taken of the raw scores, before any loss reads them, so it means the same for every width of the head.
    For a Cox loss (n_out 1) the score is the log risk: the mean multiplies the three hazards and takes the cube root.
    For hazards (logits, n_out bins) it averages the log odds of dying in each bin, the logarithmic opinion pool of the
    three models; the risk then follows from the pooled hazards by the loss's own formula, as for every other model,
    instead of being averaged after it, which would leave a risk without a survival curve that belongs to it.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        hidden: int = 512,
        attention: int = 256,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Build an ABMIL of `dim` and `n_out` per scale."""
        super().__init__()
        self.models = nn.ModuleDict(
            {
                f"x{scale}": ABMIL(
                    dim,
                    n_out,
                    scale=scale,
                    hidden=hidden,
                    attention=attention,
                    dropout=dropout,
                    attention_dropout=attention_dropout,
                    input_dropout=input_dropout,
                )
                for scale in SCALES
            }
        )

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        return torch.stack([model(features, lengths) for model in self.models.values()]).mean(0)  # (b, n_out)


SPEC = ModelSpec(
    name="abmil-late",
    title="ABMIL-late",
    build=ABMILLate,
    scales=SCALES,
    defaults={
        "hidden": 256,
        "attention": 128,
        "dropout": 0.25,
        "attention_dropout": 0.0,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "hidden": 512,
        "attention": 256,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (128, 256, 512),
        "attention": (64, 128, 256),
        "dropout": (0.0, 0.25, 0.5),
        "attention_dropout": (0.0, 0.25),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="multi-scale",
    order_free=True,
    reference="Of this benchmark, after Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance "
    "Learning. ICML 2018.",
    equation="the mean of the scores of three ABMIL, one a scale",
    cost="linear in n",
    defects=(
        "Raw scores are averaged, before any loss reads them: with Cox the mean log risk, with hazards the mean log "
        "odds of dying in each bin. Risks averaged after the fact would belong to no survival curve.",
    ),
)
