"""State-space layers equal the recurrences that define them, bag by bag, and so do their gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.models.layers import selective_scan as module
from milsurv.models.layers.diagonal_ssm import DiagonalSSM
from milsurv.models.layers.selective_scan import selective_scan
from milsurv.models.mambamil import MambaMIL

sizes_of_bags = st.lists(st.integers(1, 200), min_size=1, max_size=4)


def step_by_step(dt, u, a, b, c, sizes):
    """The selective scan as it is written down: one step after the other."""
    bags = []
    for parts in zip(*(x.split(sizes) for x in (dt, u, b, c)), strict=True):
        state, rows = torch.zeros_like(a), []
        for t, x, into, out in zip(*parts, strict=True):
            state = torch.exp(t[:, None] * a) * state + (t * x)[:, None] * into
            rows.append(state @ out)
        bags.append(torch.stack(rows))
    return torch.cat(bags)


@settings(max_examples=15, deadline=None)
@given(sizes=sizes_of_bags, seed=st.integers(0, 99), most=st.sampled_from([1, 2**18]))
def test_the_chunked_scan_is_the_recurrence_and_so_are_its_gradients(sizes, seed, most):
    generator = torch.Generator().manual_seed(seed)
    n, width, states = sum(sizes), 3, 2

    def drawn(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    given_ = [drawn(n, width).abs(), drawn(n, width), -drawn(width, states).abs(), drawn(n, states), drawn(n, states)]
    weights = drawn(n, width)
    before, module.MOST_STATES["cpu"] = module.MOST_STATES["cpu"], most
    try:
        found = []
        for scan in (selective_scan, step_by_step):
            inputs = [x.clone().requires_grad_() for x in given_]
            y = scan(*inputs, sizes)
            found.append((y.detach(), torch.autograd.grad((y * weights).sum(), inputs)))
    finally:
        module.MOST_STATES["cpu"] = before
    torch.testing.assert_close(found[0][0], found[1][0])
    for ours, plain in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(ours, plain)


@settings(max_examples=10, deadline=None)
@given(sizes=sizes_of_bags, seed=st.integers(0, 99))
def test_the_convolution_of_the_diagonal_state_space_is_its_recurrence(sizes, seed):
    torch.manual_seed(seed)
    layer = DiagonalSSM(3, 4).double()
    u = torch.randn(sum(sizes), 3, dtype=torch.float64)
    a = torch.complex(-layer.log_a.exp(), layer.b)
    step = layer.log_dt.exp()[:, None] * a
    c = torch.view_as_complex(layer.c) * (torch.exp(step) - 1) / a
    bags = []
    for bag in u.split(sizes):
        state, rows = torch.zeros_like(a), []
        for x in bag:
            state = torch.exp(step) * state + x[:, None]
            rows.append(2 * (c * state).sum(1).real + layer.skip * x)
        bags.append(torch.stack(rows))
    torch.testing.assert_close(layer(u, sizes), torch.cat(bags), rtol=1e-8, atol=1e-8)


def test_appending_patches_leaves_what_came_before_them():
    torch.manual_seed(0)
    layer, u = DiagonalSSM(3, 4), torch.randn(150, 3)
    torch.testing.assert_close(layer(u, [150])[:90], layer(u[:90], [90]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [4, 5, 13])
def test_the_strided_order_reads_columns_and_is_undone(n):
    layer = MambaMIL(6, 1, hidden=8, order="strided", rate=4, attention=4).layers[0]
    rows, (padded,) = layer._second_order([n])
    full = torch.nn.functional.pad(torch.arange(n), (0, -n % 4), value=n).view(-1, 4)
    assert padded == full.numel() and rows.tolist() == [int(x) for column in full.T for x in column]


def test_rate_1_makes_both_orders_the_same():
    torch.manual_seed(0)
    strided = MambaMIL(6, 2, hidden=8, order="strided", rate=1, attention=4).eval()
    layer = strided.layers[0]
    layer.ssms[1].load_state_dict(layer.ssms[0].state_dict())
    x = torch.randn(9, 8)
    once = MambaMIL(6, 2, hidden=8, order="forward", attention=4).eval().layers[0]
    once.load_state_dict({k: v for k, v in layer.state_dict().items() if "ssms.1" not in k})
    torch.testing.assert_close(layer(x, [9]), 2 * once(x, [9]))
