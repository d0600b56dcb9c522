"""RRT-MIL: patches re-embedded by attention inside square regions, then across them."""

from collections.abc import Callable, Mapping, Sequence
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers.dropout import Dropout
from .layers.embedding import embedding
from .layers.plain_attention import AttentionPool
from .public_weights import PublicWeights
from .spec import ModelSpec

CROSS_REGIONS = 8  # the cross-region layer's grid, whatever the first layers' is


SHORT = 64  # tokens of a region up to which EPEG's filter is a small dense matrix


def to_regions(x: Tensor, grid: int) -> Tensor:
    """Cut squares into grid x grid regions: (bags, side * side, c) -> (bags, regions, tokens, c)."""
    side = isqrt(x.shape[1])
    x = x.view(len(x), grid, side // grid, grid, side // grid, -1).transpose(2, 3)
    return x.reshape(len(x), grid * grid, -1, x.shape[-1])


def from_regions(x: Tensor, grid: int) -> Tensor:
    """Undo `to_regions`: (bags, regions, tokens, c) -> (bags, side * side, c)."""
    side = isqrt(x.shape[2])  # of a region
    x = x.view(len(x), grid, grid, side, side, -1).transpose(2, 3)
    return x.reshape(len(x), -1, x.shape[-1])


def in_regions(attend: Callable[[Tensor], Tensor], x: Tensor, sizes: Sequence[int], grid: int) -> Tensor:
    """Lay every bag of a packed batch (sum of n, c) on a square, zeros at its end, and `attend` in its regions.

    The side is the least multiple of `grid` whose square holds the bag; bags of one side are computed together.
    """
    sides = [-(-(isqrt(n - 1) + 1) // grid) * grid for n in sizes]
    bags, told = x.split(list(sizes)), dict[int, Tensor]()
    for side in sorted(set(sides)):
        mine = [bag for bag, of in enumerate(sides) if of == side]
        laid = torch.stack([F.pad(bags[bag], (0, 0, 0, side * side - sizes[bag])) for bag in mine])
        read = from_regions(attend(to_regions(laid, grid)), grid)
        told |= {bag: read[at, : sizes[bag]] for at, bag in enumerate(mine)}
    return torch.cat([told[bag] for bag in range(len(sizes))])


class RegionAttention(nn.Module):
    """R-MSA: multi-head attention inside every region, with EPEG, a convolution of the scores along the queries.

    Scores S = q k^T / sqrt(d); EPEG adds to S[i, j] the sum over t of w_t S[i + t, j], one filter per head, which is
    the product of the convolved queries with the keys: q is convolved instead, and no n x n matrix is held. The
    filter's bias is one constant per head, which the softmax cancels, so there is none.
    """

    def __init__(self, width: int, heads: int, grid: int, kernel: int, dropout: float) -> None:
        """Attend over tokens of `width` in grid x grid regions; `kernel` (odd) is EPEG's length, 0 without it."""
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide the width {width}")
        self.heads, self.grid = heads, grid
        self.qkv = nn.Linear(width, 3 * width)
        self.epeg = nn.Parameter(torch.empty(heads, 1, kernel)) if kernel else None
        if self.epeg is not None:
            nn.init.uniform_(self.epeg, -(kernel**-0.5), kernel**-0.5)  # as torch's convolutions start
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Attend over the patches of every bag of a packed batch: (sum of n, c) -> the same shape."""
        return in_regions(self.attend, x, sizes, self.grid)

    def attend(self, x: Tensor) -> Tensor:
        """Attend over the tokens of every region: (bags, regions, tokens, c) -> the same shape."""
        q, k, v = self.qkv(x.flatten(0, 1)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()  # (r, h, tokens, d) each
        if self.epeg is not None:
            q = q + _along(q, self.epeg)
        told = F.scaled_dot_product_attention(q, k, v)
        return self.dropout(self.out(told.transpose(1, 2).flatten(2))).view_as(x)


def _along(q: Tensor, filters: Tensor) -> Tensor:
    """Convolve q (r, h, tokens, d) along the tokens, zeros around, with a filter per head (h, 1, kernel)."""
    r, heads, tokens, d = q.shape
    half = filters.shape[2] // 2
    if tokens > SHORT:
        lined = q.permute(0, 3, 1, 2).reshape(r * d, heads, tokens)
        along = F.conv1d(lined, filters, padding=half, groups=heads)
        return along.view(r, d, heads, tokens).permute(0, 2, 3, 1)
    # torch's convolution of a few tokens takes ten times as long as the product with the band matrix that it is.
    padded = F.pad(filters[:, 0], (max(tokens - 1 - half, 0),) * 2)  # (h, at least 2 tokens - 1)
    start = padded.shape[1] // 2
    step = torch.arange(tokens, device=q.device)
    return padded[:, start + step - step[:, None]] @ q


class CrossRegionAttention(nn.Module):
    """CR-MSA: k representatives of every region attend to those of all regions and are handed back to its tokens.

    l = Z phi (tokens, k). Representative j of a region is the mean of its tokens weighted by the softmax of l over the
    tokens. After attention across the regions a token receives the sum over j of representative j, weighted by l_j
    scaled to [0, 1] over the region's tokens and by the softmax of l over the k.
    """

    def __init__(self, width: int, heads: int, representatives: int, dropout: float) -> None:
        """Attend with `heads` heads over `representatives` = k tokens a region."""
        super().__init__()
        self.phi = nn.Parameter(torch.empty(width, representatives))
        nn.init.kaiming_uniform_(self.phi, a=5**0.5)
        self.attention = RegionAttention(width, heads, CROSS_REGIONS, 0, dropout)

    def forward(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Attend across the regions of every bag of a packed batch: (sum of n, c) -> the same shape."""
        return in_regions(self.attend, x, sizes, CROSS_REGIONS)

    def attend(self, z: Tensor) -> Tensor:
        """Attend across the regions of every bag: (bags, regions, tokens, c) -> the same shape."""
        scores = z @ self.phi  # (bags, regions, tokens, k)
        read = scores.softmax(2).transpose(2, 3) @ z  # (bags, regions, k, c)
        read = self.attention.attend(read.transpose(1, 2)).transpose(1, 2)  # attention over the regions, k by k
        low, high = scores.amin(2, keepdim=True), scores.amax(2, keepdim=True)
        share = (scores - low) / (high - low + 1e-8) * scores.softmax(3)  # (bags, regions, tokens, k)
        return share @ read


class RRTMIL(nn.Module):
    """H = ReLU(L(X)); H += R-MSA(LN(H)), layer by layer; H += CR-MSA(LN(H)); out = L(pool(LN(H))) (Tang et al. 2024).

    The pooling is an attention with scores w . ReLU(V h) without biases.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 512,
        num_heads: int = 8,
        regions: int = 8,
        epeg: int = 15,
        representatives: int = 3,
        cross_heads: int = 8,
        layers: int = 2,
        attention: int = 128,
        dropout: float = 0.25,
        attention_dropout: float = 0.1,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; regions x regions regions; `epeg` its kernel; `layers` counts the cross-region layer, the last.

        Raises ValueError where `epeg` is even or `layers` below 1.
        """
        super().__init__()
        if epeg % 2 == 0 or layers < 1:
            raise ValueError(f"epeg is odd and layers at least 1, not {epeg} and {layers}")
        self.scale = scale
        self.embed = embedding(dim, hidden, dropout, input_dropout)
        self.layers = nn.ModuleList(
            RegionAttention(hidden, num_heads, regions, epeg, attention_dropout) for _ in range(layers - 1)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in self.layers)
        self.cross = CrossRegionAttention(hidden, cross_heads, representatives, attention_dropout)
        self.cross_norm = nn.LayerNorm(hidden)
        self.norm = nn.LayerNorm(hidden)
        self.pool = AttentionPool(hidden, attention, nn.ReLU(), bias=False)
        self.head = nn.Linear(hidden, n_out)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        h = self.embed(features[self.scale])  # (sum of n, hidden)
        for norm, layer in zip([*self.norms, self.cross_norm], [*self.layers, self.cross], strict=True):
            h = h + layer(norm(h), sizes)
        return self.head(self.pool(self.norm(h), sizes))


WEIGHTS = PublicWeights(
    case="rrtmil",
    model="rrtmil",
    read=lambda given: (
        given["patch_to_emb.0.weight"].shape[1],
        given["predictor.bias"].shape[0],
        {
            "hidden": given["patch_to_emb.0.weight"].shape[0],
            "attention": given["pool_fn.attention.attention.0.weight"].shape[0],
            "representatives": given["online_encoder.cr_msa.attn.phi"].shape[1],
            "layers": 1 + sum(key.endswith("attn.attn.pe.weight") for key in given),
        },
    ),
    rules=(
        (r"^embed\.1\.", "patch_to_emb.0."),
        (r"^pool\.content\.", "pool_fn.attention.attention.0."),
        (r"^pool\.score\.", "pool_fn.attention.attention.2."),
        (r"^head\.", "predictor."),
        (r"^norm\.", "online_encoder.norm."),
        (r"^cross\.phi", "online_encoder.cr_msa.attn.phi"),
        (r"^cross\.attention\.", "online_encoder.cr_msa.attn.attn."),
        (r"^cross_norm\.", "online_encoder.cr_msa.norm."),
        (r"^layers\.(\d+)\.", r"online_encoder.layers.\1.attn.attn."),
        (r"^norms\.(\d+)\.", r"online_encoder.layers.\1.norm."),
        (r"\.out\.", ".proj."),
        (r"\.epeg$", ".pe.weight"),
    ),
    hyperparameters={
        "heads": "num_heads",
        "epeg_k": "epeg",
        "crmsa_k": "representatives",
        "crmsa_heads": "cross_heads",
    },
    constants={"crmsa_regions": CROSS_REGIONS},
    unused=(r"\.pe\.bias$",),
)


SPEC = ModelSpec(
    name="rrtmil",
    title="RRT-MIL",
    build=RRTMIL,
    scales=(20,),
    defaults={
        "scale": 20,
        "hidden": 256,
        "num_heads": 8,
        "regions": 8,
        "epeg": 15,
        "representatives": 3,
        "cross_heads": 8,
        "layers": 2,
        "attention": 128,
        "dropout": 0.25,
        "attention_dropout": 0.1,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "hidden": 512,
        "num_heads": 8,
        "regions": 8,
        "epeg": 15,
        "representatives": 3,
        "cross_heads": 8,
        "layers": 2,
        "attention": 128,
        "dropout": 0.25,
        "attention_dropout": 0.1,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (128, 256, 512),
        "regions": (4, 8, 16),
        "epeg": (9, 15, 21),
        "representatives": (1, 3, 5),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=False,
    reference="Tang et al.: Feature Re-Embedding: Towards Foundation Model-Level Performance in Computational "
    "Pathology. CVPR 2024, arXiv:2402.17228.",
    equation="H = ReLU(L(X)) on a square of 8 x 8 regions; H += attention inside every region of LN(H), with EPEG; H "
    "+= attention across the regions between k representatives each; out = L(attention pooling of LN(H)).",
    cost="n^2 / 64 operations inside the regions; memory linear in n",
    repository="DearCaat/RRT-MIL 7ecbdfb",
    licence="none stated",
    defects=(
        "Patches lie on the square in the order of the file, not of the slide: kept, so order matters.",
        "Zeros that fill the square take part in the attention, whole regions of them in small bags: kept.",
        "`region_num` never reaches the cross-region layer, which has 8 x 8 regions always: kept.",
        "EPEG's bias is one constant per head, which the softmax cancels: left out.",
        "Its survival results are of the best validation epoch: a matter of training, not of this model.",
    ),
)
