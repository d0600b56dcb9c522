"""The shared layers do, on packed batches and by faster roads, what their definitions say."""

from math import ceil, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.models.layers import attention as attention_module
from milsurv.models.layers.attention import attention
from milsurv.models.layers.conv_processor import ConvProcessor
from milsurv.models.layers.cross_attention import CrossAttention
from milsurv.models.layers.depthwise import depthwise
from milsurv.models.layers.dropout import Dropout, dropout, kept
from milsurv.models.layers.nystrom_attention import NystromAttention
from milsurv.models.layers.pad_transformer import PadTransformer
from milsurv.models.layers.pairing import pairing
from milsurv.models.layers.per_bag import PerBag
from milsurv.models.layers.ppeg import PPEG
from milsurv.models.layers.segments import segment_max, segment_mean, segment_softmax, segment_weighted_sum
from milsurv.models.layers.squares import squares
from torch import nn
from torch.nn import functional as F

CPU = torch.device("cpu")
sizes_of_bags = st.lists(st.integers(1, 70), min_size=1, max_size=8)


@settings(deadline=None)
@given(sizes=sizes_of_bags)
def test_pooling_is_pooling_of_each_bag(sizes: list[int]) -> None:
    x, w = torch.randn(sum(sizes), 3), torch.randn(sum(sizes), 2)
    bags, weights = x.split(sizes), segment_softmax(w, sizes)
    torch.testing.assert_close(segment_mean(x, sizes), torch.stack([bag.mean(0) for bag in bags]))
    torch.testing.assert_close(segment_max(x, sizes), torch.stack([bag.amax(0) for bag in bags]))
    totals = torch.stack([part.sum(0) for part in weights.split(sizes)])
    torch.testing.assert_close(totals, torch.ones(len(sizes), 2))
    ones = segment_weighted_sum(torch.ones(sum(sizes), 1), x, sizes).squeeze(1)
    torch.testing.assert_close(ones, torch.stack([bag.sum(0) for bag in bags]), atol=1e-4, rtol=1e-4)


@settings(deadline=None)
@given(sizes=sizes_of_bags)
def test_a_square_shows_the_bag_and_then_its_first_patches_again(sizes: list[int]) -> None:
    layout = squares(sizes, CPU)
    shown = layout.cells.split([side * side for bags, side in layout.groups for _ in range(bags)])
    start = 0
    for bag, n in enumerate(sizes):
        side = ceil(sqrt(n))
        expected = [*range(start, start + n), *range(start, start + side * side - n)]
        assert shown[int(layout.back[bag])].tolist() == expected
        start += n


def test_an_empty_bag_is_refused() -> None:
    with pytest.raises(ValueError, match="bag 1 of the batch has no patches"):
        squares([4, 0], CPU)


@settings(deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(1, 300), st.integers(1, 900)), min_size=1, max_size=8))
def test_bundles_hold_every_query_once_and_its_own_keys(sizes: list[tuple[int, int]]) -> None:
    n_queries, n_keys = map(list, zip(*sizes, strict=True))
    made = pairing(n_queries, n_keys, CPU)
    of_query = torch.arange(len(sizes)).repeat_interleave(torch.tensor(n_queries))
    of_key = torch.arange(len(sizes)).repeat_interleave(torch.tensor(n_keys))
    rows = torch.cat([bundle.queries.flatten() for bundle in made.bundles])
    assert torch.equal(rows[made.back], torch.arange(sum(n_queries)))
    for bundle in made.bundles:
        bags = of_query[bundle.queries]
        assert (bags == bags[:, :1]).all()
        for keys, bag, i in zip(bundle.keys, bags[:, 0], range(len(bags)), strict=True):
            real = keys if bundle.seen is None else keys[bundle.seen[i, 0, 0]]
            assert torch.equal(real, (of_key == bag).nonzero().squeeze(1))


def test_bags_of_like_size_share_a_bundle_and_a_large_one_stays_alone() -> None:
    made = pairing([20, 21, 20, 900], [80, 80, 84, 3600], CPU)
    assert [len(bundle.queries) for bundle in made.bundles] == [3, 1]


def test_cross_attention_is_attention_of_the_embedded_tokens() -> None:
    layer = CrossAttention(12, 3)
    for p in layer.parameters():
        nn.init.normal_(p, std=0.3)
    n_queries, n_keys = [5, 2, 9], [3, 11, 4]
    x, context = torch.randn(16, 12), torch.randn(18, 12)
    expected = []
    for q, c in zip(x.split(n_queries), context.split(n_keys), strict=True):
        q, kv = layer.q(q + layer.embedding), layer.kv(c + layer.embedding)
        heads = (t.view(len(t), 3, 4).transpose(0, 1) for t in (q, *kv.chunk(2, 1)))
        q, k, v = heads
        weights = torch.softmax(q @ k.transpose(1, 2) / 2, -1)
        expected.append(layer.out((weights @ v).transpose(0, 1).flatten(1)))
    torch.testing.assert_close(layer(x, context, pairing(n_queries, n_keys, CPU)), torch.cat(expected))


def written_out(q, k, v, p: float) -> torch.Tensor:
    """Attention with the masks that `attention` draws when nothing is cut into portions."""
    weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    mask = kept(weights.flatten(0, 1).shape, p, weights.dtype, generator).view_as(weights)
    return (weights * mask / (1 - round(p * 65536) / 65536)) @ v


def test_attention_with_dropout_and_its_gradients_are_what_the_formula_says() -> None:
    q, k, v = (torch.randn(2, 3, n, 4, requires_grad=True, dtype=torch.float64) for n in (17, 23, 23))
    results = []
    for function in (attention, written_out):
        torch.manual_seed(0)
        out = function(q, k, v, 0.4)
        results.append((out, *torch.autograd.grad(out.square().sum(), (q, k, v))))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("most", [2 * 23 * 40, 23 * 40, 1])
def test_attention_in_portions_has_the_gradients_of_what_it_computes(most: int, monkeypatch) -> None:
    monkeypatch.setattr(attention_module, "MOST_WEIGHTS", most)
    q, k, v = (torch.randn(1, 2, n, 3, requires_grad=True, dtype=torch.float64) for n in (40, 23, 23))

    def same_masks(*tensors: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return attention(*tensors, 0.4)

    assert torch.autograd.gradcheck(same_masks, (q, k, v))


def test_attention_in_portions_covers_every_weight_once(monkeypatch) -> None:
    q, k, v = (torch.randn(2, 3, n, 4) for n in (77, 23, 23))
    whole = attention(q, k, v, 0.0)
    for most in (1, 77 * 23, 2 * 77 * 23, 10**6):
        monkeypatch.setattr(attention_module, "MOST_WEIGHTS", most)
        torch.testing.assert_close(attention(q, k, v, 1e-9), whole)  # rounds to no dropout at all


def test_dropout_drops_at_its_rate_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 999, requires_grad=True)
    y = dropout(x, 0.3)
    y.sum().backward()
    assert (y == 0).float().mean().item() == pytest.approx(0.3, abs=0.002)
    assert y.mean().item() == pytest.approx(1, abs=0.004)
    assert torch.equal(x.grad, y)
    columns = (y == 0).float().mean(0)
    assert columns.std().item() == pytest.approx((0.3 * 0.7 / 1001) ** 0.5, rel=0.1)


def test_dropout_neighbours_fall_independently() -> None:
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(2**18), 0.25) == 0).float() - 0.25
    for lag in (1, 2, 3, 4):
        assert (dropped[lag:] * dropped[:-lag]).mean().abs() < 0.002


def test_dropout_rests_outside_of_training_and_refuses_nonsense() -> None:
    x = torch.randn(5)
    assert torch.equal(Dropout(0.9).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)
    with pytest.raises(ValueError, match=r"in \[0, 1\), not 1"):
        Dropout(1.0)


@settings(deadline=None, max_examples=25)
@given(bags=st.integers(1, 3), side=st.integers(1, 40), kernel=st.sampled_from([1, 3, 5, 7]))
def test_depthwise_convolution_and_its_gradients_are_torchs(bags: int, side: int, kernel: int) -> None:
    x = torch.randn(bags, side, side, 4, requires_grad=True)
    weight = torch.randn(4, 1, kernel, kernel, requires_grad=True)
    expected = F.conv2d(x.permute(0, 3, 1, 2), weight, padding=kernel // 2, groups=4).permute(0, 2, 3, 1)
    got = depthwise(x, weight)
    torch.testing.assert_close(got, expected)
    upstream = torch.randn_like(got)
    pairs = zip(*(torch.autograd.grad(y, (x, weight), upstream) for y in (got, expected)), strict=True)
    for ours, torchs in pairs:
        torch.testing.assert_close(ours, torchs, atol=2e-4, rtol=1e-4)


def test_ppeg_is_the_sum_of_its_convolutions() -> None:
    layer = PPEG(6)
    grid = torch.randn(2, 5, 5, 6)
    x = grid.permute(0, 3, 1, 2)
    expected = x + layer.conv7(x) + layer.conv5(x) + layer.conv3(x)
    torch.testing.assert_close(layer([grid])[0], expected.permute(0, 2, 3, 1), atol=1e-6, rtol=1e-5)


def test_the_conv_processor_is_its_convolutions_one_by_one() -> None:
    layer = ConvProcessor(8, 3).eval()
    streams = [torch.randn(2 * 9 + 16, 8) for _ in range(3)]
    got = layer(streams, ((2, 3), (1, 4)))
    grids = torch.stack([s[18:].view(4, 4, 8).permute(2, 0, 1) for s in streams])  # (scales, c, 4, 4)
    x = layer.mix(grids.unsqueeze(0)).squeeze(1)  # (1, c, 4, 4)
    x = torch.relu(layer.conv7(x) + layer.conv5(x) + layer.conv3(x) + layer.conv1(x))
    expected = layer.norm(layer.widen(x.permute(0, 2, 3, 1).reshape(16, 4)))
    torch.testing.assert_close(got[18:], expected, atol=1e-5, rtol=1e-5)


def test_the_conv_processor_drops_whole_channels_of_a_bag() -> None:
    torch.manual_seed(0)
    layer = ConvProcessor(64, 1, 0.5).train()
    layer.widen, layer.norm = nn.Identity(), nn.Identity()
    nn.init.constant_(layer.conv1.bias, 10.0)  # no channel is silent of itself
    bags = layer([torch.randn(2 * 25, 64)], ((2, 5),)).view(2, 25, 32)
    dropped = (bags == 0).float().mean(1)  # (bags, channels): all cells or none
    assert set(dropped.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(dropped[0], dropped[1])


def test_the_last_block_for_the_class_token_alone_gives_what_the_whole_block_gives() -> None:
    layer = PadTransformer(8, 2, 2).eval()
    x = torch.randn(2 * 5 + 10, 8)
    groups = ((2, 2), (1, 3))
    tokens = [(2, 5), (1, 10)]
    y = x
    for block in layer.before:
        y = block(y, tokens)
    parts = [y[:10].view(2, 5, 8), y[10:].view(1, 10, 8)]
    grids = layer.ppeg([p[:, 1:].unflatten(1, (s, s)) for p, s in zip(parts, (2, 3), strict=True)])
    parts = [torch.cat([p[:, :1], g.flatten(1, 2)], 1) for p, g in zip(parts, grids, strict=True)]
    y = torch.cat([p.flatten(0, 1) for p in parts])
    for block in layer.after:
        y = block(y, tokens)
    torch.testing.assert_close(layer(x, groups, class_token=True), layer.norm(y)[[0, 5, 10]])


def nystrom_by_definition(layer: NystromAttention, x: torch.Tensor) -> torch.Tensor:
    """One bag (n, c), padded with zeros and computed as the papers write it."""
    n, m, h = len(x), layer.landmarks, layer.heads
    padded = F.pad(x, (0, 0, -n % m, 0))
    q, k, v = (t.view(len(padded), h, -1).transpose(0, 1) for t in layer.qkv(padded).chunk(3, 1))  # (h, N, d)
    q = q / q.shape[2] ** 0.5
    ql, kl = (t.unflatten(1, (m, -1)).mean(2) for t in (q, k))
    first, a, last = (torch.softmax(s @ t.transpose(1, 2), -1) for s, t in ((q, kl), (ql, kl), (ql, k)))
    z = a.transpose(1, 2) / (a.sum(-1).max() * a.sum(-2).max())
    eye = torch.eye(m, dtype=x.dtype)
    for _ in range(layer.iterations):
        z = z @ (13 * eye - a @ z @ (15 * eye - a @ z @ (7 * eye - a @ z))) / 4
    out = first @ z @ (last @ v) + layer.residual(v.unsqueeze(0)).squeeze(0)
    return layer.out(out.transpose(0, 1).flatten(1))[-n:]


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 60), landmarks=st.sampled_from([1, 4, 16, 64]))
def test_nystrom_attention_without_its_padding_is_nystrom_attention(n: int, landmarks: int) -> None:
    torch.manual_seed(n)
    layer = NystromAttention(8, 2, landmarks).double()
    x = torch.randn(3, n, 8, dtype=torch.float64) * 2
    expected = torch.stack([nystrom_by_definition(layer, bag) for bag in x])
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x, first_only=True), expected[:, :1])


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(1, 15), min_size=1, max_size=4), spare=st.integers(1, 3))
def test_bags_of_different_lengths_with_zeros_behind_are_nystrom_attention(sizes: list[int], spare: int) -> None:
    torch.manual_seed(sum(sizes))
    layer = NystromAttention(8, 2, landmarks=max(sizes) + spare).double()
    bags = [torch.randn(n, 8, dtype=torch.float64) * 2 for n in sizes]
    n = max(sizes) + 1
    x = torch.stack([F.pad(bag, (0, 0, 0, n - len(bag))) for bag in bags])
    found, real = layer(x, real=torch.tensor(sizes)), torch.tensor(sizes)
    weights, _ = layer.first_weights(x, real)
    for place, bag in enumerate(bags):
        torch.testing.assert_close(found[place, : len(bag)], nystrom_by_definition(layer, bag))
        torch.testing.assert_close(weights[place, :, : len(bag)], layer.first_weights(bag[None])[0][0])
    torch.testing.assert_close(layer(x, True, real)[:, 0], found[:, 0])


class Ordinary(nn.Module):
    """A module that knows nothing of packed batches."""

    def forward(self, x):
        return sum(v.mean(1) for v in x.values()) if isinstance(x, dict) else x.mean(1)


def test_per_bag_runs_an_ordinary_module_on_every_bag() -> None:
    features = {m: torch.randn(5, 3) for m in (10, 20)}
    lengths = {10: torch.tensor([2, 3]), 20: torch.tensor([4, 1])}
    one = PerBag(Ordinary(), 20)(features, lengths)
    torch.testing.assert_close(one, torch.stack([features[20][:4].mean(0), features[20][4]]))
    two = PerBag(Ordinary(), 10, 20)(features, lengths)
    torch.testing.assert_close(two[0], features[10][:2].mean(0) + features[20][:4].mean(0))
    with pytest.raises(ValueError, match="PerBag needs the magnifications"):
        PerBag(Ordinary())
