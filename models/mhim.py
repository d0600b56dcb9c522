"""MHIM: a slow teacher masks the patches that are easy, the student learns from the hard ones."""

from collections.abc import Mapping
from math import ceil, isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import Trained
from .layers.embedding import embedding
from .layers.moving_average import follow, frozen_copy
from .layers.nystrom_attention import NystromAttention
from .layers.plain_attention import AttentionPool
from .layers.ppeg import PPEG
from .public_weights import PublicWeights
from .spec import ModelSpec

ENCODERS = ("attention", "transmil")
ALIKE = 8  # sizes of bags that are padded to one another: the inverses grow with the cube of the largest


class AttentionEncoder(nn.Module):
    """Attention pooling with scores w . act(V h), without biases."""

    def __init__(self, width: int, attention: int, activation: nn.Module) -> None:
        """Encode bags of tokens of `width`."""
        super().__init__()
        self.pool = AttentionPool(width, attention, activation, bias=False)

    def forward(self, h: Tensor, sizes: list[int]) -> Tensor:
        """A packed batch (sum of n, width): -> (b, width)."""
        return self.pool(h, sizes)

    def parts(self, h: Tensor, sizes: list[int]) -> Tensor:
        """What each patch adds to the feature of its bag: (sum of n, width) -> the same shape."""
        return self.pool.weights(h, sizes) * h


class TransMILEncoder(nn.Module):
    """Class token, Nystrom attention, PPEG on the least square of side 7 or more, Nystrom attention, class token."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """Encode bags of tokens of `width` with width / 2 landmarks."""
        super().__init__()
        attention = (width, heads, width // 2, 6, dropout)
        self.class_token = nn.Parameter(torch.randn(width))
        self.norm1, self.attention1 = nn.LayerNorm(width), NystromAttention(*attention)
        self.ppeg = PPEG(width)
        self.norm2, self.attention2 = nn.LayerNorm(width), NystromAttention(*attention)
        self.norm = nn.LayerNorm(width)

    def forward(self, h: Tensor, sizes: list[int]) -> Tensor:
        """A packed batch (sum of n, width): -> (b, width)."""
        bags = h.split(sizes)
        read: dict[int, Tensor] = {}
        for group in self._together(sizes):
            x, real = self._tokens([bags[bag] for bag in group])
            x = x + self._attend(self.attention1, self.norm1, x, real)
            placed = self._place([tokens[1 : 1 + sizes[bag]] for tokens, bag in zip(x, group, strict=True)])
            x = self._side_by_side([torch.cat([t[:1], p]) for t, p in zip(x, placed, strict=True)], real)
            told = x[:, :1] + self._attend(self.attention2, self.norm2, x, real, first_only=True)
            read |= dict(zip(group, self.norm(told)[:, 0], strict=True))
        return torch.stack([read[bag] for bag in range(len(bags))])

    def parts(self, h: Tensor, sizes: list[int]) -> Tensor:
        """What each patch adds to the class token in the first layer: (sum of n, width) -> the same shape."""
        bags, added = h.split(sizes), dict[int, Tensor]()
        for group in self._together(sizes):
            x, real = self._tokens([bags[bag] for bag in group])
            # (g, heads, tokens) and (g, heads, tokens, d)
            weights, values = self.attention1.first_weights(_masked(self.norm1(x), real), real)
            joined = self.attention1.out((weights[..., None] * values).transpose(1, 2).flatten(2))
            added |= {bag: one[1 : 1 + sizes[bag]] for bag, one in zip(group, joined, strict=True)}
        return torch.cat([added[bag] for bag in range(len(sizes))])

    def _together(self, sizes: list[int]) -> list[list[int]]:
        """Bags that are computed together: of nearly one size below the number of landmarks, of exactly one above."""
        groups: dict[tuple[bool, int], list[int]] = {}
        for bag, n in enumerate(sizes):
            below = n + ALIKE < self.attention1.landmarks
            groups.setdefault((below, n // ALIKE if below else n), []).append(bag)
        return list(groups.values())

    def _tokens(self, bags: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """The class token and the patches (g, n, width), and how many each bag has where that differs."""
        sizes = [1 + len(bag) for bag in bags]
        real = None if len(set(sizes)) == 1 else torch.tensor(sizes, device=bags[0].device)
        return self._side_by_side([torch.cat([self.class_token[None], bag]) for bag in bags], real), real

    @staticmethod
    def _side_by_side(bags: list[Tensor], real: Tensor | None) -> Tensor:
        """Bags (n, width) as (g, n, width), with at least one row of zeros behind each where lengths differ."""
        longest = max(map(len, bags)) + (real is not None)
        return torch.stack([F.pad(bag, (0, 0, 0, longest - len(bag))) for bag in bags])

    @staticmethod
    def _attend(
        attention: NystromAttention, norm: nn.LayerNorm, x: Tensor, real: Tensor | None, first_only: bool = False
    ) -> Tensor:
        return attention(_masked(norm(x), real), first_only, real)

    def _place(self, bags: list[Tensor]) -> list[Tensor]:
        """Encode positions on a square that repeats the first patches, or fills up with zeros where it is below 7."""
        sides = [max(7, isqrt(len(bag) - 1) + 1) for bag in bags]
        grids = [_square(bag, side) for bag, side in zip(bags, sides, strict=True)]
        placed: dict[int, Tensor] = {}
        for side in set(sides):
            mine = [bag for bag, of in enumerate(sides) if of == side]
            (encoded,) = self.ppeg([torch.stack([grids[bag] for bag in mine])])
            placed |= {bag: one.flatten(0, 1)[: len(bags[bag])] for bag, one in zip(mine, encoded, strict=True)}
        return [placed[bag] for bag in range(len(bags))]


def _masked(x: Tensor, real: Tensor | None) -> Tensor:
    """Zero what lies behind the real tokens: x (g, n, width), real (g,)."""
    return x if real is None else x * (torch.arange(x.shape[1], device=x.device) < real[:, None])[..., None]


def _square(bag: Tensor, side: int) -> Tensor:
    """A bag (n, width) on (side, side, width): on its own least square, which repeats the first patches, then zeros."""
    own = isqrt(len(bag) - 1) + 1
    grid = torch.cat([bag, bag[: own * own - len(bag)]])
    return F.pad(grid, (0, 0, 0, side * side - own * own)).view(side, side, -1)


class Student(nn.Module):
    """H = act(L(X)); feature = encode(H); out = L(feature): all there is in evaluation."""

    def __init__(self, embed: nn.Module, encoder: "AttentionEncoder | TransMILEncoder", head: nn.Linear) -> None:
        """Join the three."""
        super().__init__()
        self.embed, self.encoder, self.head = embed, encoder, head

    def difficulty(self, h: Tensor, sizes: list[int]) -> Tensor:
        """How surely each patch alone speaks for an output, (sum of n, width) -> (sum of n,): easiest, the surest."""
        parts = F.linear(self.encoder.parts(h, sizes), self.head.weight)  # (sum of n, n_out)
        return parts[:, 0].abs() if parts.shape[1] == 1 else parts.softmax(1).amax(1)


class Merge(nn.Module):
    """Cross-attention of k queries to the patches left over; the queries follow their own outputs, untrained."""

    def __init__(self, width: int, queries: int, heads: int = 8, head_width: int = 64) -> None:
        """Merge tokens of `width` into `queries` tokens."""
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.empty(queries, width), requires_grad=False)
        nn.init.xavier_normal_(self.queries)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, heads * head_width, bias=False)
        self.key_value = nn.Linear(width, 2 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)

    def forward(self, h: Tensor) -> Tensor:
        """Tokens (n, width) -> (queries, width)."""
        q = self.query(self.norm(self.queries)).unflatten(1, (self.heads, -1)).transpose(0, 1)  # (heads, k, d)
        kv = self.key_value(self.norm(h)).unflatten(1, (2, self.heads, -1))
        k, v = kv.permute(1, 2, 0, 3)  # (heads, n, d) each
        told = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]  # (heads, k, d)
        return self.out(told.transpose(0, 1).flatten(1))


class MHIM(nn.Module):
    """Masked hard instance mining with a momentum teacher (Tang et al. 2023; its v2, 2025).

    In evaluation the student alone: out = L(encode(act(L(X)))). In training the teacher, an exponential moving average
    of the student, ranks the patches by how surely each alone speaks for an output: max over outputs of the softmax of
    (attention_i value_i) W. The student does not see the ceil(r n) surest; of the others, shuffled, int(q rest) stay
    and the remaining ones are merged into k tokens. The penalty is the cross entropy of the student's feature (softmax)
    under the teacher's (softmax of a tenth the temperature). With a head of one output patches are ranked by |.| of it.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        scale: int = 20,
        hidden: int = 512,
        encoder: str = "attention",
        attention: int = 128,
        num_heads: int = 8,
        activation: str = "relu",
        masked: float = 0.03,
        mask_chance: float = 1.0,
        kept: float = 0.9,
        merged: int = 10,
        momentum: float = 0.9997,
        query_momentum: float = 0.9999,
        temperature: float = 0.1,
        consistency: float = 0.5,
        dropout: float = 0.25,
        attention_dropout: float = 0.1,
        input_dropout: float = 0.0,
    ) -> None:
        """Read `scale`; `masked` = r (each of these with `mask_chance`), `kept` = q, `merged` = k.

        `consistency` weighs the penalty. `attention` belongs to the attention encoder, `num_heads` and
        `attention_dropout` to the TransMIL one. Raises ValueError for an `encoder` or `activation` that is none.
        """
        super().__init__()
        if encoder not in ENCODERS or activation not in ("relu", "gelu"):
            raise ValueError(f"encoder is one of {ENCODERS}, activation relu or gelu, not {encoder!r}, {activation!r}")
        self.scale, self.masked, self.mask_chance, self.kept = scale, masked, mask_chance, kept
        self.momentum, self.query_momentum = momentum, query_momentum
        self.temperature, self.consistency = temperature, consistency
        act = nn.ReLU if activation == "relu" else nn.GELU
        embed = embedding(dim, hidden, dropout, input_dropout)
        embed[2] = act()
        encode = (
            AttentionEncoder(hidden, attention, act())
            if encoder == "attention"
            else TransMILEncoder(hidden, num_heads, attention_dropout)
        )
        self.student = Student(embed, encode, nn.Linear(hidden, n_out))
        self.merge = Merge(hidden, merged) if kept < 1.0 else None
        self.teacher = frozen_copy(self.student)
        self._merged: list[Tensor] = []  # what the queries follow at the next step

    def train(self, mode: bool = True) -> "MHIM":
        """Set the mode; the teacher never drops anything."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor]) -> Tensor | Trained:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        x = features[self.scale]
        h = self.student.embed(x)  # (sum of n, hidden)
        if not self.training:
            return self.student.head(self.student.encoder(h, sizes))
        score, target = self.teach(x, sizes)
        seen = [self.hard(bag, easy) for bag, easy in zip(h.split(sizes), score.split(sizes), strict=True)]
        z = self.student.encoder(torch.cat(seen), [len(bag) for bag in seen])  # (b, hidden)
        penalty = -(target * z.log_softmax(1)).sum(1)
        return Trained(self.student.head(z), penalty=self.consistency * penalty)

    @torch.no_grad()
    def teach(self, x: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
        """How easy each patch is, (sum of n, dim) -> (sum of n,), and the teacher's distributions, (b, hidden)."""
        h = self.teacher.embed(x)
        feature = self.teacher.encoder(h, sizes)
        return self.teacher.difficulty(h, sizes), (feature / self.temperature).softmax(1)

    def hard(self, h: Tensor, score: Tensor, noise: Tensor | None = None) -> Tensor:
        """What the student sees of one bag: (n, hidden), (n,) -> (m, hidden); `noise` (rest,) shuffles it."""
        n = len(h)
        masked = min(ceil(self.masked * n), n - 1)
        seen = torch.ones(n, dtype=torch.bool, device=h.device)
        easiest = score.topk(masked).indices
        if self.mask_chance < 1.0:
            easiest = easiest[torch.rand(masked, device=h.device) < self.mask_chance]
        seen[easiest] = False
        rest = seen.nonzero().squeeze(1)  # (n - masked,)
        if noise is None:
            noise = torch.rand(len(rest), device=h.device)
        rest = rest[noise.argsort()]
        keep = max(1, int(self.kept * len(rest)))
        if keep == len(rest) or self.merge is None:
            return h[rest]
        merged = self.merge(h[rest[keep:]])  # (k, hidden)
        if torch.is_grad_enabled():  # once for every bag: a pass that only looks ahead has no gradients
            self._merged.append(merged.detach())
        return torch.cat([h[rest[:keep]], merged])

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the teacher towards the student, and the queries towards what they gave, bag after bag."""
        follow(self.teacher, self.student, self.momentum)
        if self.merge is not None:
            queries = self.merge.queries
            for merged in self._merged:
                queries.lerp_(merged.to(queries.dtype), 1 - self.query_momentum)
        self._merged.clear()


def _read(given: Mapping[str, Tensor]) -> tuple[int, int, dict[str, object]]:
    hidden, dim = given["feature.0.weight"].shape
    shapes: dict[str, object] = {"hidden": hidden, "merged": given["merge.global_q_mm"].shape[-2]}
    if "online_encoder.cls_token" in given:
        shapes["encoder"] = "transmil"
    else:
        shapes["attention"] = given["online_encoder.attention.attention.0.weight"].shape[0]
    return dim, given["predictor.bias"].shape[0], shapes


WEIGHTS = PublicWeights(
    case="mhim",
    model="mhim",
    read=_read,
    rules=(
        (r"^(student|teacher)\.embed\.1\.", "feature.0."),
        (r"^(student|teacher)\.head\.", "predictor."),
        (r"^(student|teacher)\.encoder\.", "online_encoder."),
        (r"^online_encoder\.pool\.content\.", "online_encoder.attention.attention.0."),
        (r"^online_encoder\.pool\.score\.", "online_encoder.attention.attention.2."),
        (r"^online_encoder\.class_token$", "online_encoder.cls_token"),
        (r"^online_encoder\.norm([12])\.", r"online_encoder.layer\1.norm."),
        (r"^online_encoder\.attention([12])\.qkv\.", r"online_encoder.layer\1.attn.to_qkv."),
        (r"^online_encoder\.attention([12])\.out\.", r"online_encoder.layer\1.attn.to_out.0."),
        (r"^online_encoder\.attention([12])\.residual\.", r"online_encoder.layer\1.attn.res_conv."),
        (r"\.ppeg\.conv7\.", ".pos_embedding.proj."),
        (r"\.ppeg\.conv5\.", ".pos_embedding.proj1."),
        (r"\.ppeg\.conv3\.", ".pos_embedding.proj2."),
        (r"^merge\.queries$", "merge.global_q_mm"),
        (r"^merge\.query\.", "merge.attn.to_q."),
        (r"^merge\.key_value\.", "merge.attn.to_kv."),
        (r"^merge\.out\.", "merge.attn.to_out.0."),
    ),
    hyperparameters={
        "heads": "num_heads",
        "mask_ratio_high": "masked",
        "merge_queries": "merged",
        "merge_keep": "kept",
        "teacher_temperature": "temperature",
    },
    unused=(r"^merge\.",),
)


_DEFAULTS = {
    "scale": 20,
    "hidden": 256,
    "encoder": "attention",
    "attention": 128,
    "num_heads": 8,
    "activation": "relu",
    "masked": 0.01,
    "mask_chance": 0.5,
    "kept": 1.0,
    "merged": 10,
    "momentum": 0.99,
    "query_momentum": 0.999,
    "temperature": 0.1,
    "consistency": 0.1,
    "dropout": 0.25,
    "attention_dropout": 0.1,
    "input_dropout": 0.0,
}
_PUBLISHED = {
    **_DEFAULTS,
    "hidden": 512,
    "masked": 0.03,
    "mask_chance": 1.0,
    "kept": 0.9,
    "momentum": 0.9997,
    "query_momentum": 0.9999,
    "consistency": 0.5,
}

SPEC = ModelSpec(
    name="mhim",
    title="MHIM",
    learning_rate=2e-3,
    build=MHIM,
    scales=(20,),
    defaults=_DEFAULTS,
    reference_defaults=_PUBLISHED,
    search_space={
        "hidden": (128, 256, 512),
        "masked": (0.0, 0.01, 0.03, 0.05),
        "mask_chance": (0.5, 1.0),
        "kept": (0.8, 0.9, 1.0),
        "merged": (1, 5, 10),
        "consistency": (0.0, 0.1, 0.5),
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="single-scale",
    order_free=True,
    reference="Tang et al.: Multiple Instance Learning Framework with Masked Hard Instance Mining for Whole Slide "
    "Image Classification. ICCV 2023, arXiv:2307.15254; its second version, IJCV 2025, arXiv:2509.11526.",
    equation="out = L(attention pooling of act(L(X))). In training a moving average of the model masks the ceil(r n) "
    "patches that alone speak most surely for an output, int(q rest) of the others stay and the last are merged into "
    "k tokens; 0.5 times the cross entropy of the feature under the teacher's is added.",
    cost="linear in n; in training twice, for the teacher",
    repository="DearCaat/MHIM-MIL 9d0c91a",
    licence="none stated",
    defects=(
        "Published in two stages, the teacher starting from a baseline trained on the same fold: here in one, the "
        "teacher starting as the student; the default momentum (0.99) suits 300 steps, the published one (0.9997) "
        "many thousands.",
        "The teacher runs in training mode there, its dropout on: here in evaluation mode.",
        "The queries are moved inside `forward` there: here after the optimizer's step, by the same rule, so that a "
        "batch computed in pieces stays the same.",
        "The bias of class 0 is added to all classes' scores there, without effect: left out. Time bins do not "
        "exclude each other as classes do; the softmax over them is kept.",
        "In one stage, and in bags of a hundred patches, of which few tell anything, a mask that always hides the "
        "surest hides the signal: by default each of them is hidden with a chance of a half (`mask_chance`).",
        "Merged tokens are seen in training alone. In bags of a hundred patches they are a tenth of what the student "
        "sees, and it learns from them what evaluation lacks: by default nothing is merged (`kept` 1).",
    ),
)
