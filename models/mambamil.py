"""MambaMIL: selective state-space layers over the patches, read in order and in a second, strided order."""

from collections.abc import Mapping
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers.embedding import embedding
from .layers.plain_attention import AttentionPool
from .layers.selective_scan import selective_scan
from .public_weights import PublicWeights
from .spec import ModelSpec

ORDERS = ("strided", "forward", "both-ways")


class SelectiveSSM(nn.Module):
    """S(x, z): u = SiLU(causal conv(x)); (d, B, C) = W u; dt = softplus(L(d)); the scan plus D u, times SiLU(z).

    Gu and Dao 2023 (Mamba), without the projections in and out.
    """

    def __init__(self, width: int, states: int, kernel: int, rank: int, initialise: bool) -> None:
        """Filter `width` channels with `states` states; `rank` is the width from which dt is made."""
        super().__init__()
        self.rank = rank
        self.log_a = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))  # (width, states)
        self.skip = nn.Parameter(torch.ones(width))
        self.conv = nn.Conv1d(width, width, kernel, groups=width)
        self.select = nn.Linear(width, rank + 2 * states, bias=False)
        self.step = nn.Linear(rank, width)
        if initialise:
            nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
            dt = torch.exp(torch.rand(width) * (log(0.1) - log(0.001)) + log(0.001)).clamp(min=1e-4)
            self.step.bias.data = dt + torch.log(-torch.expm1(-dt))  # softplus of it is dt
        else:  # as published: drawn again and zeroed, dt = softplus(0) = 0.69
            nn.init.xavier_normal_(self.step.weight)
            nn.init.zeros_(self.step.bias)

    def forward(self, x: Tensor, z: Tensor, sizes: list[int]) -> Tensor:
        """Filter a packed batch, x and its gate z (sum of n, width): -> (sum of n, width)."""
        u = F.silu(self._convolve(x, sizes))
        states = self.log_a.shape[1]
        d, b, c = self.select(u).split([self.rank, states, states], 1)
        dt = F.softplus(self.step(d))  # (sum of n, width)
        y = selective_scan(dt, u, -self.log_a.exp(), b, c, sizes)
        return (y + self.skip * u) * F.silu(z)

    def _convolve(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Causal depthwise convolution within every bag: each tap is the batch moved by so many rows."""
        kernel = self.conv.kernel_size[0]
        place = torch.cat([torch.arange(n) for n in sizes]).to(x.device)[:, None]  # row within its bag
        assert self.conv.bias is not None
        out = x * self.conv.weight[:, 0, -1] + self.conv.bias
        for back in range(1, kernel):
            moved = torch.where(place >= back, x.roll(back, 0), 0.0)
            out = out + moved * self.conv.weight[:, 0, -1 - back]
        return out


class MambaLayer(nn.Module):
    """(x, z) = W_in H; W_out (S(x, z) in order + S'(x, z) in a second order, undone), W_in and W_out without bias.

    strided: zeros are added until `rate` divides n, the bag is written row by row in `rate` columns and read by
    columns. both-ways: the second order is the reverse. forward: there is no second.
    """

    def __init__(
        self,
        width: int,
        order: str,
        rate: int,
        states: int,
        kernel: int,
        expand: int,
        dt_rank: int,
        mamba_initialisation: bool,
    ) -> None:
        """Filter tokens of `width` in `expand` times as many channels; `rank` 0 is a sixteenth of the width."""
        super().__init__()
        self.order, self.rate = order, rate
        self.into = nn.Linear(width, 2 * expand * width, bias=False)
        count = 1 if order == "forward" else 2
        self.ssms = nn.ModuleList(
            SelectiveSSM(expand * width, states, kernel, dt_rank or -(-width // 16), mamba_initialisation)
            for _ in range(count)
        )
        self.out = nn.Linear(expand * width, width, bias=False)

    def forward(self, h: Tensor, sizes: list[int]) -> Tensor:
        """Filter a packed batch: (sum of n, width) -> (sum of n, width)."""
        x, z = self.into(h).chunk(2, 1)  # (sum of n, expand * width) each
        y = self.ssms[0](x, z, sizes)
        if self.order != "forward":
            rows, padded = self._second_order(sizes)
            rows = rows.to(h.device)
            x, z = (F.pad(part, (0, 0, 0, 1)).index_select(0, rows) for part in (x, z))  # a row of zeros at the end
            second = self.ssms[1](x, z, padded)
            real = rows < len(y)
            y = y.index_add(0, rows[real], second[real].to(y.dtype))
        return self.out(y)

    def _second_order(self, sizes: list[int]) -> tuple[Tensor, list[int]]:
        """Rows in the second order, the number of all rows standing for a row of zeros; and the rows of each bag."""
        total, start, orders = sum(sizes), 0, []
        for n in sizes:
            rows = torch.arange(start, start + n)
            if self.order == "both-ways":
                orders.append(rows.flip(0))
            else:
                orders.append(F.pad(rows, (0, -n % self.rate), value=total).view(-1, self.rate).T.flatten())
            start += n
        return torch.cat(orders), [len(rows) for rows in orders]


class MambaMIL(nn.Module):
    """H = act(L(X)); H += SR-Mamba(LN(H)), twice; out = L(attention pooling of LN(H)) (Yang et al. 2024)."""

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 512,
        order: str = "strided",
        rate: int = 10,
        layers: int = 2,
        states: int = 16,
        kernel: int = 4,
        expand: int = 2,
        dt_rank: int = 0,
        attention: int = 128,
        activation: str = "relu",
        mamba_initialisation: bool = True,
        dropout: float = 0.25,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; `order` is "strided" with its `rate` (the paper), "forward" or "both-ways" (its ablations).

        Raises ValueError for another `order` or an `activation` that is neither "relu" nor "gelu".
        """
        super().__init__()
        if order not in ORDERS or activation not in ("relu", "gelu"):
            raise ValueError(f"order is one of {ORDERS}, activation 'relu' or 'gelu', not {order!r}, {activation!r}")
        self.scale = scale
        self.embed = embedding(dim, hidden, dropout, input_dropout)
        if activation == "gelu":
            self.embed[2] = nn.GELU()
        layer = (order, rate, states, kernel, expand, dt_rank, mamba_initialisation)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.layers = nn.ModuleList(MambaLayer(hidden, *layer) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.pool = AttentionPool(hidden, attention, nn.Tanh())
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        h = self.embed(features[self.scale])  # (sum of n, hidden)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = h + layer(norm(h), sizes)
        return self.head(self.pool(self.norm(h), sizes))


def _read(given: Mapping[str, Tensor]) -> tuple[int, int, dict[str, object]]:
    hidden, dim = given["_fc1.0.weight"].shape
    shapes = {
        "hidden": hidden,
        "attention": given["attention.0.bias"].shape[0],
        "states": given["layers.0.1.A_log"].shape[1],
        "kernel": given["layers.0.1.conv1d.weight"].shape[2],
        "expand": given["layers.0.1.D"].shape[0] // hidden,
        "dt_rank": given["layers.0.1.dt_proj.weight"].shape[1],
        "layers": sum(key.endswith(".A_log") for key in given),
    }
    # A strided and a two-way layer have the same shapes; the strided is the published model.
    return (
        dim,
        given["classifier.bias"].shape[0],
        {
            **shapes,
            "order": "strided" if "layers.0.1.A_b_log" in given else "forward",
        },
    )


WEIGHTS = PublicWeights(
    case="mambamil",
    model="mambamil",
    read=_read,
    rules=(
        (r"^embed\.1\.", "_fc1.0."),
        (r"^norms\.(\d+)\.", r"layers.\1.0."),
        (r"^layers\.(\d+)\.into\.", r"layers.\1.1.in_proj."),
        (r"^layers\.(\d+)\.out\.", r"layers.\1.1.out_proj."),
        (r"^layers\.(\d+)\.ssms\.0\.", r"layers.\1.1.=."),
        (r"^layers\.(\d+)\.ssms\.1\.", r"layers.\1.1.=_b."),
        (r"=(_b)?\.log_a$", r"A\1_log"),
        (r"=(_b)?\.skip$", r"D\1"),
        (r"=(_b)?\.conv\.", r"conv1d\1."),
        (r"=(_b)?\.select\.", r"x_proj\1."),
        (r"=(_b)?\.step\.", r"dt_proj\1."),
        (r"^pool\.content\.", "attention.0."),
        (r"^pool\.score\.", "attention.2."),
        (r"^head\.", "classifier."),
    ),
    hyperparameters={"state": "states", "conv": "kernel"},
)


SPEC = ModelSpec(
    name="mambamil",
    title="MambaMIL",
    build=MambaMIL,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 128,
        "order": "strided",
        "rate": 10,
        "layers": 2,
        "states": 16,
        "kernel": 4,
        "expand": 2,
        "dt_rank": 0,
        "attention": 128,
        "activation": "gelu",
        "mamba_initialisation": True,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 512,
        "order": "strided",
        "rate": 5,
        "layers": 2,
        "states": 16,
        "kernel": 4,
        "expand": 2,
        "dt_rank": 0,
        "attention": 128,
        "activation": "gelu",
        "mamba_initialisation": False,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (64, 128, 256),
        "order": ("strided", "forward", "both-ways"),
        "rate": (5, 10, 20),
        "layers": (1, 2),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=False,
    reference="Yang, Wang, Chen: MambaMIL: Enhancing Long Sequence Modeling with Sequence Reordering in Computational "
    "Pathology. MICCAI 2024, arXiv:2403.06800.",
    equation="H = act(L(X)); H += W_out (S(x, z) + S'(x, z read with a stride, undone)), (x, z) = W_in LN(H), twice; "
    "S: u = SiLU(causal conv(x)), s_t = exp(dt A) s_(t-1) + dt B u, y = (C s + D u) SiLU(z); out = L(attention "
    "pooling of LN(H)).",
    cost="linear in n, with 16 states for each of 2h channels; states of 64 steps at a time, computed again backwards",
    repository="isyangshu/MambaMIL 9aea39e",
    licence="MIT by its README; mamba/ Apache-2.0",
    defects=(
        "An initialisation of all layers runs over Mamba's there, zeroes the bias of dt and draws its weight anew: "
        "`mamba_initialisation` keeps Mamba's by default, and False is as published.",
        "Without CUDA the published module fails: here the scan is plain torch.",
        "Zeros that fill the last row of the stride are zero only before the convolution's bias: kept.",
        "A and D are decayed by the optimizer, against Mamba's advice: kept.",
    ),
)
