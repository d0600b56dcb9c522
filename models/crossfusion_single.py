"""CrossFusionSingle: CrossFusion on one scale alone."""

from collections.abc import Mapping

from torch import Tensor, nn

from .layers.class_token_head import ClassTokenHead
from .layers.conv_processor import ConvProcessor
from .layers.dropout import Dropout
from .layers.initialise import initialise
from .layers.pad_transformer import PadTransformer
from .layers.scale_streams import projection
from .layers.squares import squares
from .spec import ModelSpec


class CrossFusionSingle(nn.Module):
    """One scale through a Pad-Transformer and the Conv Processor, read by a class token."""

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        embed_dim: int = 512,
        num_heads: int = 4,
        num_layers: int = 1,
        attention_dropout: float = 0.2,
        ffn_dropout: float = 0.3,
        conv_dropout: float = 0.3,
        input_dropout: float = 0.0,
        attention_dropout_in_eval: bool = False,
    ) -> None:
        """Read features of `dim` at `scale`; tokens of `embed_dim`; head of width `n_out`.

        `attention_dropout_in_eval` leaves the attention dropout on in evaluation, as the public code does.
        """
        super().__init__()
        self.scale = scale
        transformer = (num_heads, num_layers, attention_dropout, ffn_dropout, attention_dropout_in_eval)
        self.input_dropout = Dropout(input_dropout)
        self.projection = projection(dim, embed_dim)
        self.transformer = PadTransformer(embed_dim, *transformer)
        self.fuse = ConvProcessor(embed_dim, 1, conv_dropout)
        self.head = ClassTokenHead(embed_dim, n_out, *transformer)
        self.apply(initialise)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        x = self.projection(self.input_dropout(features[self.scale]))  # (sum of n, c)
        layout = squares(lengths[self.scale].tolist(), x.device)
        x = self.transformer(x.index_select(0, layout.cells), layout.groups)  # (cells, c)
        return self.head(self.fuse([x], layout.groups), layout)  # (b, n_out)


SPEC = ModelSpec(
    name="crossfusion-single",
    title="CrossFusionSingle",
    learning_rate=1e-4,
    build=CrossFusionSingle,
    scales=(20,),
    defaults={
        "scale": 20,
        "embed_dim": 128,
        "num_heads": 4,
        "num_layers": 1,
        "attention_dropout": 0.0,
        "ffn_dropout": 0.3,
        "conv_dropout": 0.3,
        "input_dropout": 0.0,
        "attention_dropout_in_eval": False,
    },
    reference_defaults={
        "scale": 20,
        "embed_dim": 512,
        "num_heads": 4,
        "num_layers": 1,
        "attention_dropout": 0.2,
        "ffn_dropout": 0.3,
        "conv_dropout": 0.3,
        "input_dropout": 0.0,
        "attention_dropout_in_eval": False,
    },
    search_space={
        "embed_dim": (64, 128, 256),
        "num_layers": (1, 2),
        "attention_dropout": (0.0, 0.1, 0.2),
        "ffn_dropout": (0.0, 0.1, 0.3, 0.5),
        "conv_dropout": (0.0, 0.3),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=False,
    reference="CrossFusion: A Multi-Scale Cross-Attention Convolutional Fusion Model for Cancer Survival "
    "Prediction. arXiv:2503.02064, 2025.",
    equation="CrossFusion with one stream: transformer blocks with a PPEG between them, convolutions, a class token "
    "that reads them; out = L(class token)",
    cost="n^2 operations; memory linear in n (attention in portions)",
    repository="RustinS/CrossFusion df5473d",
    licence="none stated",
    defects=(
        "The public code leaves its attention dropout on in evaluation, so that two evaluations of one model differ: "
        "off here, and `attention_dropout_in_eval` brings it back.",
    ),
)
