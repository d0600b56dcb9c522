"""HIPT-style regions: a transformer within each region of 16 x 16 patches, a second one over the regions."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import Places
from .layers.cells import regions
from .layers.dropout import Dropout
from .layers.encoder import EncoderLayer
from .layers.gated_attention import GatedAttentionPool
from .layers.self_attention import SelfAttention
from .public_weights import PublicWeights
from .spec import ModelSpec


class Block(nn.Module):
    """A pre-norm transformer block: h += MHA(LN(h)); h += L(GELU(L(LN(h)))) (Dosovitskiy et al. 2021)."""

    def __init__(self, width: int, heads: int) -> None:
        """Tokens of `width`; four times as many hidden units."""
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = SelfAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Tensor, groups: list[tuple[int, int]]) -> Tensor:
        """Tokens (t, width) of regions that lie end to end, `groups` giving (regions, tokens): the same shape."""
        h = h + self.attention(self.norm1(h), groups)
        return h + self.mlp(self.norm2(h))


class RegionTransformer(nn.Module):
    """One vector per region: a vision transformer over its patches, of which there may be any number."""

    def __init__(self, dim: int, width: int, depth: int, heads: int, grid: int, position_grid: int) -> None:
        """Regions of `grid` x `grid` places; positions are learned on `position_grid` x `position_grid` and resized."""
        super().__init__()
        self.grid, self.position_grid = grid, position_grid
        self.embed = nn.Linear(dim, width)
        self.class_token = nn.Parameter(torch.empty(width))
        self.positions = nn.Parameter(torch.empty(1 + position_grid**2, width))  # the class token's first
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def resized(self) -> Tensor:
        """Positions of the grid's places, row by row, (grid^2, width), as DINO resizes them: by grid + 0.1, bicubic."""
        if self.grid == self.position_grid:
            return self.positions[1:]
        table = self.positions[1:].unflatten(0, (1, self.position_grid, -1)).permute(0, 3, 1, 2)  # (1, width, p, p)
        factor = (self.grid + 0.1) / self.position_grid
        return F.interpolate(table, scale_factor=(factor, factor), mode="bicubic").flatten(2)[0].t()

    def forward(self, x: Tensor, region: Tensor, place: Tensor) -> Tensor:
        """Rows x (n, dim) of regions (n,) at places (n,) -> (r, width), in the order of the regions' numbers."""
        counts = torch.bincount(region)  # (r,)
        by_size = counts.argsort(stable=True)  # regions of equal size lie together and are one dense batch
        rank = torch.empty_like(by_size)
        rank[by_size] = torch.arange(len(by_size), device=x.device)
        order = place.argsort(stable=True)
        order = order[rank[region[order]].argsort(stable=True)]
        h = F.gelu(self.embed(x[order])) + self.resized()[place[order]]  # (n, width)
        sizes, regions_of = (t.tolist() for t in torch.unique_consecutive(counts[by_size], return_counts=True))
        groups = [(g, n + 1) for g, n in zip(regions_of, sizes, strict=True)]
        first = (self.class_token + self.positions[0]).expand(1, -1)
        tokens = []
        for part, (g, n) in zip(h.split([g * (n - 1) for g, n in groups]), groups, strict=True):
            tokens.append(torch.cat([first.expand(g, 1, -1), part.view(g, n - 1, -1)], 1).flatten(0, 1))
        h = torch.cat(tokens)  # (n + r, width)
        for block in self.blocks:
            h = block(h, groups)
        parts = h.split([g * n for g, n in groups])
        vectors = torch.cat([part.view(g, n, -1)[:, 0] for part, (g, n) in zip(parts, groups, strict=True)])
        return self.norm(vectors)[rank]  # (r, width)


class HIPT(nn.Module):
    """The upper half of HIPT (Chen et al. 2022): regions of patches, then the slide of regions. Not pre-trained.

    Region vectors from a vision transformer over the patches of each region of `grid` x `grid` cells; over a patient's
    regions ReLU(L), two post-norm encoder layers, gated attention, scores = L(ReLU(L(z))).
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        embed_dim: int = 192,
        depth: int = 6,
        num_heads: int = 6,
        global_layers: int = 2,
        global_heads: int = 3,
        grid: int = 16,
        position_grid: int = 14,
        least: int = 1,
        dropout: float = 0.25,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; regions of fewer than `least` patches are left out, unless a bag has no other."""
        super().__init__()
        self.scale, self.grid, self.least = scale, grid, least
        self.input_dropout = Dropout(input_dropout)
        self.local = RegionTransformer(dim, embed_dim, depth, num_heads, grid, position_grid)
        self.phi = nn.Sequential(nn.Linear(embed_dim, embed_dim), nn.ReLU(), Dropout(dropout))
        self.layers = nn.ModuleList(
            EncoderLayer(embed_dim, global_heads, embed_dim, dropout) for _ in range(global_layers)
        )
        self.pool = GatedAttentionPool(embed_dim, embed_dim, branch_dropout=dropout)
        self.rho = nn.Sequential(nn.Linear(embed_dim, embed_dim), nn.ReLU(), Dropout(dropout))
        self.head = nn.Linear(embed_dim, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        x, sizes = features[self.scale], lengths[self.scale]
        cut = regions(places.cells[self.scale], places.slide[self.scale], self.grid)
        bag = torch.repeat_interleave(torch.arange(len(sizes), device=x.device), sizes.to(x.device))  # (sum of n,)
        of = torch.empty_like(cut.slide).scatter_(0, cut.region, bag)  # (r,) the bag of each region
        kept = torch.bincount(cut.region) >= self.least  # (r,)
        lost = torch.bincount(of[kept], minlength=len(sizes)) == 0  # bags of small regions alone keep them
        kept |= lost[of]
        number = kept.cumsum(0) - 1
        rows = kept[cut.region].nonzero().squeeze(1)
        local = self.local(self.input_dropout(x)[rows], number[cut.region[rows]], cut.place[rows])  # (r, embed_dim)
        h, counts = self.phi(local), torch.bincount(of[kept]).tolist()
        for layer in self.layers:
            h = layer(h, counts)  # (r, embed_dim)
        return self.head(self.rho(self.pool(h, counts)))  # (b, n_out)


WEIGHTS = PublicWeights(
    case="hipt",
    model="hipt",
    read=lambda given: (
        given["local_vit.phi.0.weight"].shape[1],
        given["classifier.bias"].shape[0],
        {
            "embed_dim": given["local_vit.phi.0.bias"].shape[0],
            "depth": sum(key.endswith(".attn.proj.bias") for key in given),
            "global_layers": sum(key.endswith(".self_attn.out_proj.bias") for key in given),
            "position_grid": round((given["local_vit.pos_embed"].shape[-2] - 1) ** 0.5),
        },
    ),
    rules=(
        (r"^local\.embed\.", "local_vit.phi.0."),
        (r"^local\.class_token$", "local_vit.cls_token"),
        (r"^local\.positions$", "local_vit.pos_embed"),
        (r"^local\.", "local_vit."),
        (r"^(local_vit.*)\.attention\.qkv\.", r"\1.attn.qkv."),
        (r"^(local_vit.*)\.attention\.out\.", r"\1.attn.proj."),
        (r"\.mlp\.0\.", ".mlp.fc1."),
        (r"\.mlp\.2\.", ".mlp.fc2."),
        (r"^layers\.", "global_transformer.layers."),
        (r"\.attention\.qkv\.", ".self_attn.in_proj_"),
        (r"\.attention\.out\.", ".self_attn.out_proj."),
        (r"\.first\.", ".linear1."),
        (r"\.second\.", ".linear2."),
        (r"^phi\.", "global_phi."),
        (r"^pool\.content\.", "global_attn_pool.attention_a.0."),
        (r"^pool\.gate\.", "global_attn_pool.attention_b.0."),
        (r"^pool\.score\.", "global_attn_pool.attention_c."),
        (r"^rho\.", "global_rho."),
        (r"^head\.", "classifier."),
    ),
    hyperparameters={"embed": "embed_dim", "heads": "num_heads"},
)

SPEC = ModelSpec(
    name="hipt",
    title="HIPT-style regions",
    learning_rate=2e-4,
    build=HIPT,
    scales=(20,),
    defaults={
        "scale": 20,
        "embed_dim": 192,
        "depth": 1,
        "num_heads": 6,
        "global_layers": 1,
        "global_heads": 3,
        "grid": 16,
        "position_grid": 14,
        "least": 1,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "scale": 20,
        "embed_dim": 192,
        "depth": 6,
        "num_heads": 6,
        "global_layers": 2,
        "global_heads": 3,
        "grid": 16,
        "position_grid": 14,
        "least": 1,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    search_space={
        "embed_dim": (96, 192),
        "depth": (1, 2, 4),
        "global_layers": (1, 2),
        "least": (1, 16),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    places=True,
    reference="Chen et al.: Scaling Vision Transformers to Gigapixel Images via Hierarchical Self-Supervised Learning. "
    "CVPR 2022.",
    equation="a vision transformer over the patches of each region of 16 x 16 cells; two encoder layers and gated "
    "attention over a patient's regions",
    cost="n x 256 attention weights a head and block within regions; (n / 256)^2 over regions",
    repository="mahmoodlab/HIPT 780fafa",
    licence="Apache-2.0 with Commons Clause",
    defects=(
        "The published runs freeze a region transformer pre-trained by DINO on its own features: not pre-trained here.",
        "All 256 patches of a region exist there: absent ones (background) take no part here, neither as zeros.",
        "Regions are 16 x 16 patches, 4096 pixels wide only where patches are of 256 pixels at 20x.",
        "`HIPT_GP_FC.forward` stops in the debugger: the form with local and global parts is the one built here.",
        "Widths 384 and 192 are fixed: here the first layer takes features of any width.",
    ),
)
