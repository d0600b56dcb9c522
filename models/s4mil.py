"""S4MIL: a structured state-space layer over the patches in order, then the maximum."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from .layers.diagonal_ssm import DiagonalSSM
from .layers.embedding import embedding
from .layers.segments import segment_max
from .public_weights import PublicWeights
from .spec import ModelSpec


class S4MIL(nn.Module):
    """H = GELU(L(X)); Y = GLU(L(GELU(S4D(LN(H))))); out = L(max over the patches of Y) (Fillioux et al. 2023).

    No residual. Of the gated linear unit the first half is multiplied by the sigmoid of the second.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 512,
        states: int = 32,
        activation: str = "gelu",
        dropout: float = 0.25,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; `states` a channel; `activation` is "gelu" or "relu", or a ValueError is raised."""
        super().__init__()
        if activation not in ("gelu", "relu"):
            raise ValueError(f"activation is 'gelu' or 'relu', not {activation!r}")
        self.scale = scale
        self.embed = embedding(dim, hidden, dropout, input_dropout)
        self.embed[2] = nn.GELU() if activation == "gelu" else nn.ReLU()
        self.norm = nn.LayerNorm(hidden)
        self.ssm = DiagonalSSM(hidden, states)
        self.out = nn.Linear(hidden, 2 * hidden)
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        h = self.norm(self.embed(features[self.scale]))  # (sum of n, hidden)
        y = F.glu(self.out(F.gelu(self.ssm(h, sizes))), 1)  # (sum of n, hidden)
        return self.head(segment_max(y, sizes))


WEIGHTS = PublicWeights(
    case="s4mil",
    model="s4mil",
    read=lambda given: (
        given["_fc1.0.weight"].shape[1],
        given["classifier.bias"].shape[0],
        {
            "hidden": given["_fc1.0.weight"].shape[0],
            "states": 2 * given["s4_block.1.kernel.A_imag"].shape[1],
        },
    ),
    rules=(
        (r"^embed\.1\.", "_fc1.0."),
        (r"^norm\.", "s4_block.0."),
        (r"^ssm\.skip$", "s4_block.1.D"),
        (r"^ssm\.c$", "s4_block.1.kernel.C"),
        (r"^ssm\.log_dt$", "s4_block.1.kernel.log_dt"),
        (r"^ssm\.log_a$", "s4_block.1.kernel.log_A_real"),
        (r"^ssm\.b$", "s4_block.1.kernel.A_imag"),
        (r"^out\.", "s4_block.1.output_linear.0."),
        (r"^head\.", "classifier."),
    ),
    hyperparameters={"state": "states"},
)


SPEC = ModelSpec(
    name="s4mil",
    title="S4MIL",
    build=S4MIL,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 256,
        "states": 32,
        "activation": "gelu",
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 512,
        "states": 32,
        "activation": "gelu",
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (128, 256, 512),
        "states": (16, 32, 64),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=False,
    reference="Fillioux et al.: Structured State Space Models for Multiple Instance Learning in Digital Pathology. "
    "MICCAI 2023, arXiv:2306.15789.",
    equation="H = GELU(L(X)); y_t = 2 Re sum of C' s_t + D u_t, s_t = exp(dt A) s_(t-1) + u_t on u = LN(H); "
    "out = L(max over t of GLU(L(GELU(y)))).",
    cost="n log n operations; memory linear in n (the kernel by blocks of 128 steps)",
    repository="isyangshu/MambaMIL 9aea39e (models/S4MIL.py)",
    licence="MIT by its README",
    defects=(
        "Parameters of the state space are marked there to be spared from weight decay, but the optimizer does not "
        "look at the mark: they are decayed here as well.",
        "Another collection's S4MIL adds a residual and attention pooling: another model.",
    ),
)
