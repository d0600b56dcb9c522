"""CrossFusionConcat: CrossFusion with its scales fused by concatenation instead of its Conv Processor."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .layers.class_token_head import ClassTokenHead
from .layers.dropout import Dropout
from .layers.initialise import initialise
from .layers.scale_streams import COARSE, FINE, SOURCE, ScaleStreams
from .spec import ModelSpec


class CrossFusionConcat(nn.Module):
    """Three streams on the 10x grid, concatenated and brought back to one by a linear layer, read by a class token."""

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        embed_dim: int = 512,
        num_heads: int = 4,
        num_layers: int = 1,
        attention_dropout: float = 0.2,
        ffn_dropout: float = 0.3,
        input_dropout: float = 0.0,
        attention_dropout_in_eval: bool = False,
    ) -> None:
        """Read 5x, 10x and 20x features of `dim`; streams of `embed_dim`; head of width `n_out`.

        `attention_dropout_in_eval` leaves the attention dropout on in evaluation, as the public code does.
        """
        super().__init__()
        transformer = (num_heads, num_layers, attention_dropout, ffn_dropout, attention_dropout_in_eval)
        self.input_dropout = Dropout(input_dropout)
        self.streams = ScaleStreams(dim, embed_dim, *transformer)
        self.fuse = nn.Sequential(nn.Linear(3 * embed_dim, embed_dim), nn.LayerNorm(embed_dim))
        self.head = ClassTokenHead(embed_dim, n_out, *transformer)
        self.apply(initialise)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        read = {scale: self.input_dropout(features[scale]) for scale in (COARSE, SOURCE, FINE)}
        streams, layout = self.streams(read, lengths)  # 3 x (cells, c)
        return self.head(self.fuse(torch.cat(streams, 1)), layout)  # (b, n_out)


SPEC = ModelSpec(
    name="crossfusion-concat",
    title="CrossFusionConcat",
    learning_rate=2e-4,
    build=CrossFusionConcat,
    scales=(5, 10, 20),
    defaults={
        "embed_dim": 128,
        "num_heads": 4,
        "num_layers": 1,
        "attention_dropout": 0.0,
        "ffn_dropout": 0.3,
        "input_dropout": 0.0,
        "attention_dropout_in_eval": False,
    },
    reference_defaults={
        "embed_dim": 512,
        "num_heads": 4,
        "num_layers": 1,
        "attention_dropout": 0.2,
        "ffn_dropout": 0.3,
        "input_dropout": 0.0,
        "attention_dropout_in_eval": False,
    },
    search_space={
        "embed_dim": (64, 128, 256),
        "num_layers": (1, 2),
        "attention_dropout": (0.0, 0.1, 0.2),
        "ffn_dropout": (0.0, 0.1, 0.3, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="multi-scale",
    order_free=False,
    reference="CrossFusion: A Multi-Scale Cross-Attention Convolutional Fusion Model for Cancer Survival "
    "Prediction. arXiv:2503.02064, 2025.",
    equation="CrossFusion with its three streams joined along the features and one linear layer in place of the "
    "convolutions",
    cost="as CrossFusion",
    repository="RustinS/CrossFusion df5473d",
    licence="none stated",
    defects=(
        "The public code leaves its attention dropout on in evaluation, so that two evaluations of one model differ: "
        "off here, and `attention_dropout_in_eval` brings it back.",
    ),
)
