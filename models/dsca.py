"""DSCA: 5x patches that look at their 20x children, and the 5x patches themselves, in two streams."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import Places
from .layers.cells import children
from .layers.dropout import Dropout
from .layers.encoder import EncoderLayer
from .layers.gated_attention import GatedAttentionPool
from .layers.neighbours import reading_order
from .public_weights import PublicWeights
from .spec import ModelSpec

COARSE, FINE = 5, 20


class ChildrenPool(nn.Module):
    """The 16 children of a 5x patch as one vector: e = MHA(L(x_5), ReLU(LN(conv(4 x 4 image of children))))."""

    def __init__(self, dim: int, width: int, heads: int, kernel: int) -> None:
        """Convolve `dim` to `width` with a square kernel of odd side."""
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide the width {width}")
        self.heads = heads
        self.query = nn.Linear(dim, width)
        self.convolution = nn.Conv2d(dim, width, kernel, padding=kernel // 2)
        self.norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, coarse: Tensor, fine: Tensor, table: Tensor) -> Tensor:
        """coarse (n, dim), fine (m, dim), table (n, 16) of rows of fine -> (n, width). Absent children are not seen."""
        real = table >= 0  # (n, 16)
        x = fine[table.clamp(min=0)] * real[:, :, None]  # (n, 16, dim), zeros where there is none
        image = x.transpose(1, 2).unflatten(2, (4, 4))  # (n, dim, 4, 4)
        tokens = torch.relu(self.norm(self.convolution(image).flatten(2).transpose(1, 2)))  # (n, 16, width)
        width = tokens.shape[2]
        query = F.linear(self.query(coarse), self.qkv.weight[:width], self.qkv.bias[:width])  # (n, width)
        keyed = F.linear(tokens, self.qkv.weight[width:], self.qkv.bias[width:])  # (n, 16, 2 * width)
        q = query.view(len(query), 1, self.heads, -1).transpose(1, 2)  # (n, heads, 1, d)
        k, v = keyed.unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (n, heads, 16, d) each
        seen = real | ~real.any(1, keepdim=True)  # a patch without children looks at 16 empty ones
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None])
        return self.out(attended.flatten(1))  # (n, width)


class RowConvolution(nn.Module):
    """LN(conv1d) along the 5x patches of each slide in reading order."""

    def __init__(self, dim: int, width: int, kernel: int) -> None:
        """Convolve `dim` to `width` with an odd kernel and zero padding."""
        super().__init__()
        self.convolution = nn.Conv1d(dim, width, kernel, padding=kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, slide: Tensor) -> Tensor:
        """x (n, dim) in reading order, slide (n,) -> (n, width). The kernel does not reach into another slide."""
        reach = self.convolution.kernel_size[0] // 2
        rows = torch.arange(len(x), device=x.device)[:, None] + torch.arange(-reach, reach + 1, device=x.device)
        inside = (rows >= 0) & (rows < len(x))  # (n, kernel)
        rows = rows.clamp(0, len(x) - 1)
        inside &= slide[rows] == slide[:, None]
        patches = x[rows] * inside[:, :, None]  # (n, kernel, dim)
        weight = self.convolution.weight.transpose(1, 2).flatten(1)  # (width, kernel * dim)
        return self.norm(F.linear(patches.flatten(1), weight, self.convolution.bias))


class DSCA(nn.Module):
    """Dual-stream cross-attention between 5x and 20x (Liu et al. 2023).

    Stream 20x: every 5x patch attends to its children (`ChildrenPool`). Stream 5x: `RowConvolution`. Both get sine
    positions of the 5x cells and an encoder layer of their own; their sum is pooled by gated attention.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        embed_dim: int = 384,
        num_heads: int = 8,
        pool_heads: int = 4,
        num_layers: int = 1,
        fine_kernel: int = 3,
        coarse_kernel: int = 5,
        encoder_dropout: float = 0.6,
        dropout: float = 0.25,
        input_dropout: float = 0.0,
    ) -> None:
        """Bring features of `dim` to streams of `embed_dim`, a multiple of 4."""
        super().__init__()
        if embed_dim % 4:
            raise ValueError(f"embed_dim is {embed_dim}: sines and cosines of x and y need a multiple of 4")
        self.input_dropout = Dropout(input_dropout)
        self.fine = ChildrenPool(dim, embed_dim, pool_heads, fine_kernel)
        self.coarse = RowConvolution(dim, embed_dim, coarse_kernel)
        encoder = (embed_dim, num_heads, embed_dim, encoder_dropout)
        self.fine_layers = nn.ModuleList(EncoderLayer(*encoder) for _ in range(num_layers))
        self.coarse_layers = nn.ModuleList(EncoderLayer(*encoder) for _ in range(num_layers))
        self.pool = GatedAttentionPool(embed_dim, embed_dim, branch_dropout=dropout)
        self.head = nn.Linear(embed_dim, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[COARSE].tolist()
        cells, slide = places.cells[COARSE], places.slide[COARSE]
        # Slides are numbered bag by bag, so reading order keeps bags together.
        order = reading_order(cells, slide)
        cells, slide = cells[order].long(), slide[order].long()
        coarse = self.input_dropout(features[COARSE])[order]  # (n5, dim)
        table = children((places.cells[FINE], places.slide[FINE]), (cells, slide), FINE // COARSE)  # (n5, 16)
        fine = self.fine(coarse, self.input_dropout(features[FINE]), table)  # (n5, embed_dim)
        positions = sine_positions(side_by_side(cells, slide, sizes), fine.shape[1]).to(fine.dtype)
        fine, coarse = fine + positions, self.coarse(coarse, slide) + positions
        for first, second in zip(self.fine_layers, self.coarse_layers, strict=True):
            fine, coarse = first(fine, sizes), second(coarse, sizes)
        return self.head(self.pool(fine + coarse, sizes))  # (b, n_out)


def side_by_side(cells: Tensor, slide: Tensor, sizes: list[int]) -> Tensor:
    """Cells from (0, 0) on, (n, 2), the slides of each bag laid next to each other along x."""
    placed = []
    for xy, of in zip(cells.split(sizes), slide.split(sizes), strict=True):
        start = 0
        for one in xy.split(torch.unique_consecutive(of, return_counts=True)[1].tolist()):
            moved = one - one.amin(0)
            moved[:, 0] += start
            start += int(one[:, 0].amax() - one[:, 0].amin()) + 1
            placed.append(moved)
    return torch.cat(placed)


def sine_positions(cells: Tensor, width: int) -> Tensor:
    """[sin(x w), cos(x w), sin(y w), cos(y w)] with w_i = 10000^(-i / (width / 4 - 1)): (n, width)."""
    count = width // 4
    w = 10000.0 ** (-torch.arange(count, device=cells.device).double() / max(1, count - 1))
    x, y = cells.double().unbind(1)
    x, y = x[:, None] * w, y[:, None] * w
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], 1)


def _encoder(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
    return (
        (rf"^{ours}\.(\d+)\.attention\.qkv\.", rf"{theirs}.layers.\1.self_attn.in_proj_"),
        (rf"^{ours}\.(\d+)\.attention\.out\.", rf"{theirs}.layers.\1.self_attn.out_proj."),
        (rf"^{ours}\.(\d+)\.first\.", rf"{theirs}.layers.\1.linear1."),
        (rf"^{ours}\.(\d+)\.second\.", rf"{theirs}.layers.\1.linear2."),
        (rf"^{ours}\.(\d+)\.", rf"{theirs}.layers.\1."),
    )


WEIGHTS = PublicWeights(
    case="dsca",
    model="dsca",
    read=lambda given: (
        given["patchx5_embedding_layer.conv.weight"].shape[1],
        given["out_layer.0.bias"].shape[0],
        {
            "embed_dim": given["patchx5_embedding_layer.conv.bias"].shape[0],
            "fine_kernel": given["patchx20_embedding_layer.conv.weight"].shape[2],
            "coarse_kernel": given["patchx5_embedding_layer.conv.weight"].shape[2],
            "num_layers": sum(key.endswith(".self_attn.out_proj.bias") for key in given) // 2,
        },
    ),
    rules=(
        (r"^fine\.query\.", "patchx20_embedding_layer.conv_patch_x5.conv."),
        (r"^fine\.convolution\.", "patchx20_embedding_layer.conv."),
        (r"^fine\.norm\.", "patchx20_embedding_layer.norm."),
        (r"^fine\.qkv\.", "patchx20_embedding_layer.cross_att_pool.in_proj_"),
        (r"^fine\.out\.", "patchx20_embedding_layer.cross_att_pool.out_proj."),
        (r"^coarse\.convolution\.", "patchx5_embedding_layer.conv."),
        (r"^coarse\.norm\.", "patchx5_embedding_layer.norm."),
        *_encoder("fine_layers", "patch_encoder_layer_parallel"),
        *_encoder("coarse_layers", "patch_encoder_layer"),
        (r"^pool\.content\.", "pool.fc1.0."),
        (r"^pool\.gate\.", "pool.score.0."),
        (r"^pool\.score\.(weight|bias)$", r"pool.fc2.\1"),
        (r"^head\.", "out_layer.0."),
    ),
    hyperparameters={
        "hidden": "embed_dim",
        "heads": "num_heads",
        "layers": "num_layers",
        "conv20": "fine_kernel",
        "conv5": "coarse_kernel",
    },
)

SPEC = ModelSpec(
    name="dsca",
    title="DSCA",
    build=DSCA,
    scales=(COARSE, FINE),
    defaults={
        "embed_dim": 128,
        "num_heads": 8,
        "pool_heads": 4,
        "num_layers": 1,
        "fine_kernel": 1,
        "coarse_kernel": 5,
        "encoder_dropout": 0.25,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "embed_dim": 384,
        "num_heads": 8,
        "pool_heads": 4,
        "num_layers": 1,
        "fine_kernel": 3,
        "coarse_kernel": 5,
        "encoder_dropout": 0.6,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    search_space={
        "embed_dim": (64, 128, 256),
        "fine_kernel": (1, 3),
        "coarse_kernel": (1, 5),
        "encoder_dropout": (0.0, 0.25, 0.6),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="multi-scale",
    order_free=True,
    places=True,
    reference="Liu et al.: DSCA: A dual-stream network with cross-attention on whole-slide image pyramids for cancer "
    "prognosis. Expert Systems with Applications 2023.",
    equation="e_20 = MHA(L(x_5), ReLU(LN(conv(children)))), e_5 = LN(conv1d(x_5)), each with positions and an encoder "
    "layer; gated attention over their sum",
    cost="linear in the 20x patches; the square of the 5x patches, 1/256 of n^2",
    repository="liupei101/DSCA a749074",
    licence="none stated",
    defects=(
        "The 5x convolution runs along the order of the file: here along reading order (y, x), slide by slide.",
        "Rows must be parent by parent with all 16 children present: here joined by cells, absent ones masked as keys.",
        "The comments say that the 3 x 3 kernel is not used; it is, and holds most weights: a hyperparameter here.",
        "L1 on all weights in the loss: left to weight decay.",
        "Time bins come from all patients: here from the training set.",
    ),
)
