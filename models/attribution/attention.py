"""Attention weights of a model on one bag, wherever it has some that belong to patches."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers.cross_attention import CrossAttention
from ..layers.listening import listening
from ..layers.nystrom_attention import NystromAttention
from ..layers.self_attention import SelfAttention
from .scorer import Scorer

TITLES = {
    "streams.coarse_cross.attention": "coarse cross-attention",
    "streams.fine_cross.attention": "fine cross-attention",
    "streams.source_transformer": "source Pad-Transformer",
    "head.transformer": "fused Pad-Transformer",
}
"""The four maps of CrossFusion's figure 3, by the module that computes them."""
_WEIGHTS = 2**22  # attention weights held at once


@dataclass(frozen=True)
class AttentionMap:
    """One map: its title, the magnification of its patches, and weights (n,) that sum to 1."""

    title: str
    magnification: int
    weights: Tensor


@torch.no_grad()
def attention_maps(scorer: Scorer) -> list[AttentionMap]:
    """The attention that each patch receives: none where a model has no attention over patches.

    Of attention pooling, the weights themselves, mean over the maps. Of a class token, its weights, mean over heads. Of
    other self-attention and of cross-attention, what a patch receives from all queries, mean over queries and heads;
    of several layers the last one. Weights say where a model looks, and not which way that moves the risk.
    """
    heard: dict[str, tuple[int, Tensor]] = {}
    lengths = {m: len(x) for m, x in scorer.features.items()}

    def keep(title: str, weights: Tensor) -> None:
        found = _patches(weights.float().cpu(), lengths)
        if found is not None:
            heard[title] = found

    pooled = iter(range(1, 1000))

    def listen(weights: Tensor) -> None:
        keep(f"attention {next(pooled)}", weights.mean(1))

    with ExitStack() as stack:
        for name, module in scorer.module.named_modules():
            for kind, received in _RECEIVED.items():
                if isinstance(module, kind):
                    title = _title(name)
                    hook = _hook(lambda w, title=title: keep(title, w), received)
                    handle = module.register_forward_hook(hook, with_kwargs=True)
                    stack.callback(handle.remove)
        stack.enter_context(listening(listen))
        scorer.base()
    if set(TITLES.values()) <= heard.keys():  # CrossFusion: the four of the paper
        heard = {title: heard[title] for title in TITLES.values()}
    if len(heard) == 1:
        heard = {"attention": next(iter(heard.values()))}
    return [AttentionMap(title, m, w / w.sum().clamp(min=1e-12)) for title, (m, w) in heard.items()]


def _title(name: str) -> str:
    """What a map of a module is called; the last layer of a transformer takes the name of the whole."""
    for path, title in TITLES.items():
        if name == path or name.startswith(f"{path}."):
            return title
    return name or "attention"


def _hook(keep: Callable[[Tensor], None], received: Callable[..., Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        keep(received(module, *args, **kwargs))

    return hook


def _patches(weights: Tensor, lengths: dict[int, int]) -> tuple[int, Tensor] | None:
    """The magnification whose patches these weights belong to, and the weight of each; None where no count fits.

    Squares repeat their first patches, and class tokens stand before them: see `layers.squares`.
    """
    for m, n in lengths.items():
        if len(weights) == n:
            return m, weights
    for m, n in lengths.items():
        side = int((n - 1) ** 0.5) + 1 if n > 1 else 1
        side = next(s for s in (side - 1, side, side + 1) if s * s >= n)
        for extra in (0, 1):
            if len(weights) == side * side + extra:
                cells = weights[extra:]
                return m, torch.zeros(n).index_add_(0, torch.arange(len(cells)) % n, cells)
    return None


def _cross(module: CrossAttention, x: Tensor, context: Tensor, *_: Any) -> Tensor:
    """What the context (m, c) of one bag receives from all queries: (m,)."""
    width = x.shape[1]
    q = F.linear(x, module.q.weight, module.q(module.embedding))
    k = F.linear(context, module.kv.weight, module.kv(module.embedding))[:, :width]
    return _mean_received(_by_head(q, module.heads), _by_head(k, module.heads))


def _self(module: SelfAttention, x: Tensor, groups: Any, first_only: bool = False) -> Tensor:
    """What the tokens of one bag receive from all of them, or from the first alone: (tokens,)."""
    q, k, _ = module.qkv(x).chunk(3, 1)
    return _mean_received(_by_head(q[:1] if first_only else q, module.heads), _by_head(k, module.heads))


def _nystrom(module: NystromAttention, x: Tensor, *_: Any, **__: Any) -> Tensor:
    """How the first token, the class token, attends to all of one bag: (tokens,); negative approximations are 0."""
    return module.first_weights(x)[0][0].mean(0).clamp(min=0)


_RECEIVED: dict[type[nn.Module], Callable[..., Tensor]] = {
    CrossAttention: _cross,
    SelfAttention: _self,
    NystromAttention: _nystrom,
}


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(1, (heads, -1)).transpose(0, 1)  # (h, n, d)


def _mean_received(q: Tensor, k: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)), mean over heads and queries, in portions: q (h, n, d), k (h, m, d) -> (m,)."""
    total = torch.zeros(k.shape[1], dtype=torch.float64)
    for rows in _rows(q.shape[1], max(1, _WEIGHTS // (k.shape[0] * k.shape[1]))):
        weights = torch.softmax(q[:, rows] @ k.transpose(1, 2) * k.shape[2] ** -0.5, -1)
        total += weights.sum((0, 1)).double().cpu()
    return (total / (q.shape[0] * q.shape[1])).float()


def _rows(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, start + size)
