"""The selective scan of Mamba over packed bags, in plain torch, without a loop over all patches and without all states.

For every channel e and state n: s_t = exp(dt_t A) s_(t-1) + dt_t u_t B_t, y_t = sum over n of C_t s_t.

Bags are cut into chunks of at most CHUNK steps, and all chunks are walked through side by side: CHUNK vector operations
instead of one per patch. Twice: the first walk starts every chunk from zero and gives its last state and its decay,
from which the states at the chunks' starts follow, bag by bag; the second walk starts from these. Bags of one chunk are
walked once. Backwards likewise, in the other direction, the states of a few chunks at a time being computed again. At
most about MOST_STATES states are walked side by side, and CHUNK times as many held in the backward pass; never all,
which would be n e N numbers.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CHUNK = 64
MOST_STATES = {"cpu": 2**18, "cuda": 2**24}  # on CPU 1 MiB in single precision: about what caches hold


def selective_scan(dt: Tensor, u: Tensor, a: Tensor, b: Tensor, c: Tensor, sizes: list[int]) -> Tensor:
    """Scan every bag of a packed batch.

    dt, u: (sum of n, e); a: (e, N), negative; b, c: (sum of n, N); sizes: rows of each bag. -> (sum of n, e).
    """
    with torch.autocast(u.device.type, enabled=False):
        dt, u, b, c = (x.to(a.dtype) for x in (dt, u, b, c))
        # Rows that fill up a bag's last chunk have dt = 0: they leave the state as it is.
        steps = min(CHUNK, max(sizes))
        chunks = [-(-n // steps) for n in sizes]
        ends = torch.tensor(chunks).cumsum(0) * steps
        starts = (ends - torch.tensor(chunks) * steps).tolist()
        place = torch.cat([torch.arange(n) + start for n, start in zip(sizes, starts, strict=True)]).to(u.device)

        def laid(x: Tensor) -> Tensor:
            return x.new_zeros(sum(chunks) * steps, x.shape[1]).index_copy(0, place, x).view(-1, steps, x.shape[1])

        packed = (laid(dt), laid(dt * u), a, laid(b), laid(c))
        y: Tensor = _Scan.apply(*packed, chunks)  # pyright: ignore[reportAssignmentType]
        return y.flatten(0, 1).index_select(0, place)


def _groups(chunks: int, states: int, device: str) -> Iterator[slice]:
    """Ranges of chunks that are walked side by side."""
    step = max(1, MOST_STATES.get(device, MOST_STATES["cuda"]) // states)
    for start in range(0, chunks, step):
        yield slice(start, start + step)


class _Scan(torch.autograd.Function):
    """The scan over chunks (k, steps, .): dt, x = dt u (., e), b, c (., N); `chunks` says how many each bag has."""

    @staticmethod
    def forward(ctx: Any, dt: Tensor, x: Tensor, a: Tensor, b: Tensor, c: Tensor, chunks: list[int]) -> Tensor:
        steps, several = dt.shape[1], max(chunks) > 1
        decay = torch.exp(dt.sum(1)[:, :, None] * a)  # (k, e, N)
        start = torch.zeros_like(decay)
        if several:
            last = torch.empty_like(decay)
            for g in _groups(len(dt), a.numel(), dt.device.type):
                state = start[g]
                for t in range(steps):
                    state = _step(state, dt[g, t], x[g, t], a, b[g, t])
                last[g] = state
            start = _carried(last, decay, chunks)
        y = torch.empty_like(x)
        for g in _groups(len(dt), a.numel(), dt.device.type):
            state = start[g]
            for t in range(steps):
                state = _step(state, dt[g, t], x[g, t], a, b[g, t])
                y[g, t] = (state @ c[g, t, :, None]).squeeze(2)
        ctx.save_for_backward(dt, x, a, b, c, start, decay)
        ctx.chunks = chunks
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, None]:
        dt, x, a, b, c, start, decay = ctx.saved_tensors
        dy = grads[0].contiguous()
        steps, several = dt.shape[1], max(ctx.chunks) > 1
        behind = torch.zeros_like(start)
        if several:  # what reaches a chunk's start, if nothing came from the chunks behind it
            first = torch.empty_like(start)
            for g in _groups(len(dt), a.numel(), dt.device.type):
                grad = behind[g]
                for t in reversed(range(steps)):
                    grad = (grad + dy[g, t, :, None] * c[g, t, None]) * torch.exp(dt[g, t, :, None] * a)
                first[g] = grad
            behind = _carried(first.flip(0), decay.flip(0), ctx.chunks[::-1]).flip(0)
        d_dt, d_x, d_b, d_c = (torch.empty_like(z) for z in (dt, x, b, c))
        d_a = torch.zeros_like(a)
        for g in _groups(len(dt), a.numel(), dt.device.type):
            states = [start[g]]
            for t in range(steps):
                states.append(_step(states[-1], dt[g, t], x[g, t], a, b[g, t]))
            grad = behind[g]
            for t in reversed(range(steps)):
                grad = grad + dy[g, t, :, None] * c[g, t, None]  # with respect to s_t, (k, e, N)
                d_c[g, t] = (dy[g, t, None] @ states[t + 1]).squeeze(1)
                d_x[g, t] = (grad @ b[g, t, :, None]).squeeze(2)
                d_b[g, t] = (x[g, t, None] @ grad).squeeze(1)
                grad = grad * torch.exp(dt[g, t, :, None] * a)  # with respect to s_(t-1)
                through = grad * states[t]  # with respect to dt_t A
                d_dt[g, t] = (through * a).sum(2)
                d_a += (through * dt[g, t, :, None]).sum(0)
        return d_dt, d_x, d_a, d_b, d_c, None


def _step(state: Tensor, dt: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """One step of all chunks: state (k, e, N), dt and x (k, e), b (k, N) -> (k, e, N)."""
    return torch.addcmul(x[:, :, None] * b[:, None], state, torch.exp(dt[:, :, None] * a))


def _carried(last: Tensor, decay: Tensor, chunks: list[int]) -> Tensor:
    """States at the start of every chunk, from what each chunk adds and how it decays; every bag starts from zero."""
    starts = []
    for ends, fades in zip(last.split(chunks), decay.split(chunks), strict=True):
        state = torch.zeros_like(ends[0])
        for end, fade in zip(ends, fades, strict=True):
            starts.append(state)
            state = torch.addcmul(end, state, fade)
    return torch.stack(starts)
