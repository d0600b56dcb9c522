"""ZoomMIL: look at all of the low magnification, zoom into the best of it, and again."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .contract import Places
from .layers.cells import children
from .layers.embedding import embedding
from .layers.gated_attention import GatedAttention
from .layers.top_k import perturbed_top_k
from .public_weights import PublicWeights
from .spec import ModelSpec

SCALES = (5, 10, 20)


class ZoomMIL(nn.Module):
    """Gated attention at 5x, over the children of the k best at 10x, and over their best k's at 20x (Thandiackal 2022).

    At each scale H = ReLU(L(x)) and M = gated attention over H; an auxiliary gated attention scores what to zoom into.
    scores = L(M_5 + M_10 + M_20). Evaluation selects the k best; training takes their expected indicators under noise,
    which has a gradient. k counts rows of the patient, not of each slide.
    """

    def __init__(
        self,
        dim: int,
        n_out: int,
        *,
        hidden: int = 512,
        attention: int = 256,
        k: int = 12,
        sigma: float = 0.002,
        samples: int = 100,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        """Zoom into `k` patches, training with `samples` draws of noise of size `sigma`."""
        super().__init__()
        self.k, self.sigma, self.samples = k, sigma, samples
        self.embed = nn.ModuleList(embedding(dim, hidden, dropout, input_dropout) for _ in SCALES)
        self.attention = nn.ModuleList(GatedAttention(hidden, attention) for _ in SCALES)
        self.selection = nn.ModuleList(GatedAttention(hidden, attention) for _ in SCALES[:-1])
        self.head = nn.Linear(hidden, n_out)

    def forward(self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        of = {m: (places.cells[m], places.slide[m]) for m in SCALES}
        middle = children(of[10], of[5], 2)  # (n at 5x, 4) rows of 10x
        high = children(of[20], of[10], 2)  # (n at 10x, 4) rows of 20x
        pooled = []
        for rows in torch.arange(len(middle), device=middle.device).split(lengths[5].tolist()):
            grandchildren = torch.where(middle[rows, :, None] < 0, -1, high[middle[rows]])  # (n, 4, 4)
            pooled.append(self.zoom(features, rows, middle[rows], grandchildren))
        return self.head(torch.stack(pooled))  # (b, n_out)

    def zoom(self, features: Mapping[int, Tensor], low: Tensor, middle: Tensor, high: Tensor) -> Tensor:
        """One bag: its rows at 5x (n,), their children (n, 4) and grandchildren (n, 4, 4) -> (hidden,)."""
        x = features[5][low]  # (n, dim)
        m1, chosen = self.look(0, x, torch.ones_like(low, dtype=torch.bool))
        x, real = self.below(chosen, features[10], middle)  # (4k, dim), (4k,)
        below, there = self.below(chosen, features[20], high.flatten(1))  # (16k, dim), (16k,)
        if not real.any():  # nothing was found under the selected patches
            return m1
        m2, chosen = self.look(1, x, real)
        x = torch.einsum("qp,pjd->qjd", chosen, below.unflatten(0, (-1, 4))).flatten(0, 1)  # (4k, dim)
        real = ((chosen > 0).to(x.dtype) @ there.view(-1, 4).to(x.dtype) > 0).flatten()  # (4k,)
        return m1 + m2 + self.look(2, x, real)[0] if real.any() else m1 + m2

    def look(self, level: int, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Pool the real rows of x (n, dim) and select among them: (hidden,), (k, n) weights of what is selected."""
        h = self.embed[level](x)  # (n, hidden)
        weights = self.masked_softmax(self.attention[level], h, real)
        pooled = weights @ h
        if level == len(SCALES) - 1:
            return pooled, pooled
        scores = self.masked_softmax(self.selection[level], h, real).masked_fill(~real, -torch.inf)  # (n,)
        k = min(self.k, int(real.sum()))
        if self.training:
            return pooled, perturbed_top_k(scores, k, self.noise(level, scores), self.sigma)
        best = scores.topk(k).indices.sort().values  # (k,)
        return pooled, torch.nn.functional.one_hot(best, len(x)).to(x.dtype)

    def masked_softmax(self, attention: nn.Module, h: Tensor, real: Tensor) -> Tensor:
        """Gated attention weights of the rows of h (n, hidden), 0 where they are not real: (n,)."""
        return attention.scores(h).squeeze(1).masked_fill(~real, -torch.inf).softmax(0)  # type: ignore[operator]

    def noise(self, level: int, scores: Tensor) -> Tensor:
        """The draws of a selection: (samples, n)."""
        return torch.randn(self.samples, len(scores), dtype=scores.dtype, device=scores.device)

    def below(self, chosen: Tensor, features: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        """What lies under the selected: chosen (k, n), table (n, s) of rows -> (k * s, dim), and which are real.

        Rows under patches that nothing selected are not touched.
        """
        seen = (chosen > 0).any(0).nonzero().squeeze(1)  # (u,)
        chosen, table = chosen[:, seen], table[seen]  # (k, u), (u, s)
        real = table >= 0
        x = features[table.clamp(min=0)] * real[:, :, None]  # (u, s, dim); a missing child is lost, not made up for
        found = (chosen > 0).to(x.dtype) @ real.to(x.dtype) > 0  # (k, s)
        return torch.einsum("qp,pjd->qjd", chosen, x).flatten(0, 1), found.flatten()


def _attention(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
    return (
        (rf"^{ours}\.content\.", f"{theirs}.attention_a.0."),
        (rf"^{ours}\.gate\.", f"{theirs}.attention_b.0."),
        (rf"^{ours}\.score\.", f"{theirs}.attention_c."),
    )


WEIGHTS = PublicWeights(
    case="zoommil",
    model="zoommil",
    read=lambda given: (
        given["fc_low_mag.0.weight"].shape[1],
        given["classify_head.bias"].shape[0],
        {
            "hidden": given["fc_low_mag.0.bias"].shape[0],
            "attention": given["ga_low_mag.attention_a.0.bias"].shape[0],
        },
    ),
    rules=(
        (r"^embed\.0\.1\.", "fc_low_mag.0."),
        (r"^embed\.1\.1\.", "fc_mid_mag.0."),
        (r"^embed\.2\.1\.", "fc_high_mag.0."),
        *_attention(r"attention\.0", "ga_low_mag"),
        *_attention(r"attention\.1", "ga_mid_mag"),
        *_attention(r"attention\.2", "ga_high_mag"),
        *_attention(r"selection\.0", "aux_ga_low_mag"),
        *_attention(r"selection\.1", "aux_ga_mid_mag"),
        (r"^head\.", "classify_head."),
    ),
)

SPEC = ModelSpec(
    name="zoommil",
    title="ZoomMIL",
    learning_rate=1e-3,
    build=ZoomMIL,
    scales=SCALES,
    defaults={
        "hidden": 256,
        "attention": 128,
        "k": 12,
        "sigma": 0.002,
        "samples": 100,
        "dropout": 0.25,
        "input_dropout": 0.0,
    },
    reference_defaults={
        "hidden": 512,
        "attention": 256,
        "k": 12,
        "sigma": 0.002,
        "samples": 100,
        "dropout": 0.0,
        "input_dropout": 0.0,
    },
    search_space={
        "hidden": (128, 256, 512),
        "attention": (64, 128, 256),
        "k": (8, 12, 24, 48),
        "sigma": {"low": 0.0005, "high": 0.05, "log": True},
        "dropout": (0.0, 0.25, 0.5),
        "input_dropout": (0.0, 0.1, 0.25),
    },
    family="multi-scale",
    order_free=True,
    places=True,
    reference="Thandiackal et al.: Differentiable Zooming for Multiple Instance Learning on Whole-Slide Images. "
    "ECCV 2022.",
    equation="scores = L(M_5 + M_10 + M_20), M = gated attention over ReLU(L(x)); 10x is seen under the k best 5x "
    "patches, 20x under the k best of those",
    cost="linear in the 5x patches; 4k patches of 10x and 20x each, whatever n is",
    repository="histocartography/zoommil da7bb7f",
    licence="MIT",
    defects=(
        "Rows must be parent by parent with all children present, else later patches shift: here joined by cells.",
        "Missing children take no part in the attention here, and their weight is not made up for.",
        "Children are found by Kronecker products with identity matrices: here by their rows.",
        "The gradient of the selection is the diagonal of the estimator, as in its published listing: kept.",
        "`forward` works on the device that the constructor chose: here on that of the features.",
    ),
)
