"""The nearest cells of every cell: the graph on which the graph models pass their messages.

No tree is built: patches lie on whole cells, so a cell's neighbours are found by looking the cells around it up in a
sorted list, ring by ring, and the few patches whose neighbours are far away are compared with all of their slide, in
blocks. torch alone does this, on the device of the features, in about the time of a k-d tree; and distances of whole
cells are exact, so ties are real ties and are broken the same way everywhere: by reading order, top to bottom, then
left to right. The graph therefore follows the tissue, not the order of the rows.
"""

import torch
from torch import Tensor

REACHES = (2, 4, 8)  # cells around a patch that are looked at, in turn, until there are enough
BLOCK = 2**22  # distances held at once


def nearest(cells: Tensor, slide: Tensor, k: int) -> Tensor:
    """The k nearest other patches of the same slide, nearest first: rows, (n, k) int64; -1 where a slide has fewer.

    cells: (n, 2) whole numbers; slide: (n,). Ties of the distance go by (y, x, row).
    """
    n = len(cells)
    order = reading_order(cells, slide)  # (n,)
    where, of = cells[order].long(), slide[order].long()
    found = torch.full((n, k), -1, dtype=torch.long, device=cells.device)  # places in `order`
    rest = torch.arange(n if k else 0, device=cells.device)
    for reach in REACHES:
        if not len(rest):
            break
        found[rest] = _near(where, of, rest, k, reach)
        rest = rest[found[rest, -1] < 0]
    if len(rest):
        found[rest] = _compared(where, of, rest, k)
    result = torch.full((n, k), -1, dtype=torch.long, device=cells.device)
    result[order] = torch.where(found < 0, -1, order[found.clamp(min=0)])
    return result


def reading_order(cells: Tensor, slide: Tensor) -> Tensor:
    """Rows slide by slide, top to bottom, left to right, then by row: (n,)."""
    order = torch.arange(len(cells), device=cells.device)
    for key in (cells[:, 0], cells[:, 1], slide):
        order = order[torch.sort(key[order], stable=True).indices]
    return order


def _near(where: Tensor, of: Tensor, rows: Tensor, k: int, reach: int) -> Tensor:
    """Neighbours of some rows, (r, k), out of those within `reach`; the last is -1 where these are fewer than k.

    where, of: cells and slides in reading order. A patch beyond `reach` cannot be nearer than one within it.
    """
    n, device = len(where), where.device
    low = where.amin(0) - reach
    width, height = (where.amax(0) + reach - low + 1).tolist()
    key = (of * height + where[:, 1] - low[1]) * width + where[:, 0] - low[0]  # (n,) ascending
    cell, start, count = key[rows], *_runs(key)  # what lies in a cell is a run of rows
    steps = torch.arange(-reach, reach + 1, device=device)
    dy, dx = (step.flatten() for step in torch.meshgrid(steps, steps, indexing="ij"))
    near = dx**2 + dy**2 <= reach**2
    dy, dx = dy[near], dx[near]  # (s,) in reading order
    wanted = cell[:, None] + dy * width + dx  # (r, s)
    place = torch.searchsorted(key[start], wanted).clamp(max=len(start) - 1)  # of the run
    hit = key[start][place] == wanted
    distance = (dx**2 + dy**2).expand_as(wanted)
    none = (reach**2 + 1) * n
    ranks = []
    for extra in range(int(count.max())):  # several patches of overlapping grids may share a cell
        row = start[place] + extra
        real = hit & (extra < count[place]) & (row != rows[:, None])
        ranks.append(torch.where(real, distance * n + row, none))  # one number: distance, then reading order
    rank = torch.cat(ranks, 1)
    rank = rank.topk(min(k, rank.shape[1]), largest=False).values  # (r, k), ascending
    return torch.nn.functional.pad(torch.where(rank < none, rank % n, -1), (0, k - rank.shape[1]), value=-1)


def _runs(key: Tensor) -> tuple[Tensor, Tensor]:
    """First row and length of every run of equal keys."""
    counts = torch.unique_consecutive(key, return_counts=True)[1]
    return counts.cumsum(0) - counts, counts


def _compared(where: Tensor, of: Tensor, rows: Tensor, k: int) -> Tensor:
    """Neighbours of a few rows by comparing each with all of its slide: (r, k)."""
    found = torch.full((len(rows), k), -1, dtype=torch.long, device=where.device)
    for start, count in zip(*(run.tolist() for run in _runs(of)), strict=True):
        here = ((rows >= start) & (rows < start + count)).nonzero().squeeze(1)
        x, y = where[start : start + count].double().unbind(1)  # whole numbers below 2^53 are exact
        kept = min(k, count - 1)
        for some in here.split(max(1, BLOCK // count)):
            own = rows[some] - start  # (r,)
            rank = (x - x[own, None]).square_().add_((y - y[own, None]).square_())  # (r, n of the slide)
            rank = rank.mul_(count).add_(torch.arange(count, device=where.device))
            rank.scatter_(1, own[:, None], torch.inf)
            nearest = rank.topk(kept, largest=False).values.long()  # (r, kept), ascending
            found[some, :kept] = nearest % count + start
    return found
