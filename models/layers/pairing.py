"""Which bags of a batch attend together when queries and keys have different lengths in every bag."""

from dataclasses import dataclass

import torch
from torch import Tensor

# One more call of the attention kernel costs about as much as this many attention weights: measured on CPU.
WEIGHTS_PER_CALL = 2**14


@dataclass(frozen=True)
class Bundle:
    """Bags padded to a common number of queries and of keys.

    Attributes:
        queries: rows of the packed queries, (g, n); shorter bags repeat their last row, which nobody reads.
        keys: rows of the packed keys, (g, m), filled up likewise.
        seen: which keys are real, (g, 1, 1, m); None where all are.
    """

    queries: Tensor
    keys: Tensor
    seen: Tensor | None


@dataclass(frozen=True)
class Pairing:
    """The bundles of a batch; `back` is the row of the bundles' outputs, laid end to end, for each packed query."""

    bundles: tuple[Bundle, ...]
    back: Tensor


def pairing(n_queries: list[int], n_keys: list[int], device: torch.device) -> Pairing:
    """Bundle bags of similar size: padding costs less there than a call of its own; a bag unlike others stays alone."""
    bundles: list[list[int]] = []
    n_most = m_most = 0
    for bag in sorted(range(len(n_queries)), key=lambda bag: (n_queries[bag], n_keys[bag])):
        n, m = n_queries[bag], n_keys[bag]
        if bundles:
            count = len(bundles[-1])
            n_joint, m_joint = max(n, n_most), max(m, m_most)
            extra = (count + 1) * n_joint * m_joint - count * n_most * m_most - n * m
            if extra <= WEIGHTS_PER_CALL:
                bundles[-1].append(bag)
                n_most, m_most = n_joint, m_joint
                continue
        bundles.append([bag])
        n_most, m_most = n, m
    query_sizes, key_sizes = torch.tensor(n_queries), torch.tensor(n_keys)
    query_starts, key_starts = query_sizes.cumsum(0) - query_sizes, key_sizes.cumsum(0) - key_sizes
    back = torch.empty(sum(n_queries), dtype=torch.long)
    made: list[Bundle] = []
    offset = 0
    for bags in (torch.tensor(bundle) for bundle in bundles):
        queries, real = _rows(query_starts[bags], query_sizes[bags])  # (g, n) both
        keys, seen = _rows(key_starts[bags], key_sizes[bags])  # (g, m) both
        back[queries[real]] = real.flatten().nonzero().squeeze(1) + offset
        offset += queries.numel()
        mask = None if bool(seen.all()) else seen[:, None, None].to(device, non_blocking=True)
        made.append(Bundle(queries.to(device, non_blocking=True), keys.to(device, non_blocking=True), mask))
    return Pairing(tuple(made), back.to(device, non_blocking=True))


def _rows(starts: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of each bag filled up to the longest, and which of them are real: (g, longest) both."""
    within = torch.arange(int(sizes.max()))
    return starts[:, None] + torch.minimum(within, sizes[:, None] - 1), within < sizes[:, None]
