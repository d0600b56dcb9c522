"""A vector a slide, from a slide encoder or as the mean of the patches, and a head: `slide-cox` and `slide-mlp`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .contract import TrainingBags
from .layers.dropout import Dropout
from .layers.segments import segment_mean
from .public_weights import PublicWeights
from .spec import ModelSpec


class SlideVector(nn.Module):
    """v = mean of the bag's rows, standardised by the training set; out = L(v), or a network of one hidden layer.

    The rows are the vectors of a patient's slides (TITAN, CHIEF, PRISM, ...), or patch features.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 0,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        standardise: bool = False,
    ) -> None:
        """Read `scale`; `hidden` = 0 scores linearly (`dropout` acts on the hidden layer).

        `standardise` z-scores the vectors by the training patients.
        """
        super().__init__()
        self.scale, self.standardise = scale, standardise
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.input_dropout = Dropout(input_dropout)
        layers = (nn.Linear(dim, hidden), nn.ReLU(), Dropout(dropout)) if hidden else ()
        self.head = nn.Sequential(*layers, nn.Linear(hidden or dim, n_out))

    @torch.no_grad()
    def prepare(self, bags: TrainingBags, patients: Sequence[str], rng: Any) -> None:
        """Take mean and standard deviation of every feature over the training patients' vectors."""
        if self.standardise:
            rows = [torch.tensor(bags[patient].features[self.scale]).double().mean(0) for patient in patients]
            vectors = torch.stack(rows)  # (patients, dim)
            self.mean.copy_(vectors.mean(0))
            std = vectors.std(0, correction=0)
            self.std.copy_(torch.where(std > 1e-6 * (1 + vectors.mean(0).abs()), std, 1.0))

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        v = segment_mean(features[self.scale], lengths[self.scale].tolist())  # (b, dim)
        return self.head(self.input_dropout((v - self.mean) / self.std))


WEIGHTS = PublicWeights(
    case="slide-vector",
    model="slide-cox",
    read=lambda given: (given["weight"].shape[1], given["weight"].shape[0], {}),
    rules=((r"^head\.0\.", ""),),
    ours_alone=(r"^mean$", r"^std$"),
)


SPEC = ModelSpec(
    name="slide-cox",
    title="Slide vector, linear",
    learning_rate=2e-3,
    build=SlideVector,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 0,
        "dropout": 0.0,
        "input_dropout": 0.25,
        "standardise": True,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 0,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "standardise": False,
    },
    search_space={"input_dropout": (0.0, 0.1, 0.25, 0.5)},
    family="single-scale",
    order_free=True,
    reference="Ding et al.: Multimodal Whole Slide Foundation Model for Pathology (TITAN). arXiv:2411.19666 (the "
    "protocol: mean of a patient's slide vectors, linear Cox).",
    equation="v = mean of the rows (vectors of the slides, or patch features), z-scored by the training patients; "
    "out = L(v).",
    cost="linear in n, d c parameters",
    defects=(
        "The scale of slide vectors varies by encoder: `standardise` takes mean and standard deviation of the training "
        "patients; without it the vectors are read as they are.",
    ),
)

MLP = replace(
    SPEC,
    name="slide-mlp",
    title="Slide vector, one hidden layer",
    learning_rate=1e-3,
    defaults={**SPEC.defaults, "hidden": 128, "dropout": 0.25},
    reference_defaults={**SPEC.reference_defaults, "hidden": 512},
    search_space={**SPEC.search_space, "hidden": (64, 128, 256), "dropout": (0.0, 0.25, 0.5)},
    equation="v = mean of the rows, z-scored by the training patients; out = L(ReLU(L(v))).",
)
