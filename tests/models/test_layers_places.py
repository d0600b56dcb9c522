"""Graphs, parents, children and regions: found by cells, never across slides, whatever the order of the rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.models.contract import Places
from milsurv.models.layers.cells import children, containing, parents, regions
from milsurv.models.layers.gen_conv import GENConv
from milsurv.models.layers.kmeans import kmeans
from milsurv.models.layers.messages import edges_from, message_sum
from milsurv.models.layers.neighbours import nearest, reading_order
from milsurv.models.layers.paired import paired_rows
from milsurv.models.layers.scatter import scatter_mean, scatter_softmax, scatter_sum
from milsurv.models.layers.similar import most_similar
from milsurv.models.layers.top_k import perturbed_top_k
from milsurv.models.public_weights import PublicWeights

Rows = list[tuple[int, int, int]]
rows = st.lists(st.tuples(st.integers(0, 2), st.integers(-9, 30), st.integers(-9, 30)), min_size=1, max_size=50)
far = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 900), st.integers(0, 900)), min_size=1, max_size=25)


def placed(found: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells (n, 2) and slides (n,) of (slide, x, y)."""
    t = torch.tensor(found, dtype=torch.int32)
    return t[:, 1:], t[:, 0]


@settings(max_examples=60, deadline=None)
@given(found=rows | far, k=st.integers(1, 9))
def test_neighbours_are_the_nearest_of_the_slide_by_distance_and_reading_order(found: Rows, k: int) -> None:
    expected = []
    for i, (slide, x, y) in enumerate(found):
        others = [((x - u) ** 2 + (y - v) ** 2, v, u, j) for j, (s, u, v) in enumerate(found) if s == slide and j != i]
        expected.append(([j for *_, j in sorted(others)] + [-1] * k)[:k])
    assert nearest(*placed(found), k).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(found=st.lists(st.tuples(*[st.integers(0, 2), *[st.integers(0, 30)] * 2]), min_size=2, max_size=40, unique=True))
def test_the_graph_follows_the_tissue_and_not_the_order_of_the_rows(found: Rows) -> None:
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(1))
    here, there = nearest(*placed(found), 8), nearest(*placed([found[i] for i in order]), 8)
    assert torch.equal(torch.where(there < 0, -1, order[there]), here[order])


def test_messages_go_to_those_on_whose_list_one_is() -> None:
    near = torch.tensor([[1, 2], [0, -1], [1, 0]])
    x = torch.tensor([[1.0], [10.0], [100.0]], requires_grad=True)
    edges = edges_from(near)
    summed = message_sum(x, edges)
    assert summed.flatten().tolist() == [110, 101, 1]
    (summed.flatten() * torch.tensor([1.0, 2.0, 4.0])).sum().backward()
    assert x.grad.flatten().tolist() == [2 + 4, 1, 1 + 2]
    assert message_sum(x, edges_from(torch.full((3, 2), -1))).abs().sum() == 0


@settings(max_examples=30, deadline=None)
@given(found=rows, seed=st.integers(0, 99))
def test_message_sums_are_sums_over_the_edges_and_so_are_their_gradients(found: Rows, seed: int) -> None:
    edges = edges_from(nearest(*placed(found), 4))
    x = torch.randn(
        len(found), 3, dtype=torch.double, generator=torch.Generator().manual_seed(seed), requires_grad=True
    )
    torch.testing.assert_close(message_sum(x, edges), scatter_sum(x[edges.sender], edges.receiver, len(x)))
    assert torch.autograd.gradcheck(lambda x: message_sum(x, edges), x)


def test_a_graph_convolution_with_scores_far_apart_is_computed_edge_by_edge() -> None:
    torch.manual_seed(0)
    edges = edges_from(nearest(*placed([(0, i, i % 3) for i in range(12)]), 3))
    conv, x = GENConv(4).double(), torch.randn(12, 4, dtype=torch.double)
    score = (torch.relu(x) + 1e-7) * conv.t
    by_edge = conv.mlp(x + conv.by_edge(score, torch.relu(x) + 1e-7, edges))
    torch.testing.assert_close(conv(x, edges), by_edge)
    conv.t.data.fill_(1000.0)  # nearly the maximum of the senders
    x = x.float().double()
    messages = torch.relu(x) + 1e-7
    most = torch.stack(
        [messages[edges.sender[edges.receiver == i]].amax(0) for i in range(12) if (edges.receiver == i).any()]
    )
    heard = torch.tensor([bool((edges.receiver == i).any()) for i in range(12)])
    torch.testing.assert_close(conv(x, edges)[heard], conv.mlp(x[heard] + most), atol=1e-3, rtol=1e-3)
    conv.t.data.fill_(0.0)  # the mean
    mean = scatter_mean(messages[edges.sender], edges.receiver, 12)
    torch.testing.assert_close(conv(x, edges), conv.mlp(x + mean))


@given(fine=rows, coarse=rows, ratio=st.sampled_from([2, 4]))
def test_the_containing_patch_is_the_one_whose_cell_holds_it(fine: Rows, coarse: Rows, ratio: int) -> None:
    found = containing(placed(fine), placed(coarse), ratio).tolist()
    for (slide, x, y), row in zip(fine, found, strict=True):
        holders = [j for j, of in enumerate(coarse) if of == (slide, x // ratio, y // ratio)]
        assert row == (holders[0] if holders else -1)


@given(fine=rows, coarse=rows)
def test_the_parent_is_the_containing_patch_or_the_nearest_of_the_slide(fine: Rows, coarse: Rows) -> None:
    fine = [(slide % 2, x, y) for slide, x, y in fine]
    coarse = [*coarse, (0, 0, 0), (1, 5, 5)]
    holding = containing(placed(fine), placed(coarse), 2).tolist()
    for (slide, x, y), row, holder in zip(
        fine, parents(placed(fine), placed(coarse), 2).tolist(), holding, strict=True
    ):
        apart = [(u + 0.5 - (x + 0.5) / 2) ** 2 + (v + 0.5 - (y + 0.5) / 2) ** 2 for _, u, v in coarse]
        assert coarse[row][0] == slide
        if holder >= 0:
            assert row == holder
        else:
            assert apart[row] == pytest.approx(min(d for d, of in zip(apart, coarse, strict=True) if of[0] == slide))


def test_a_slide_without_any_coarse_patch_is_an_error() -> None:
    with pytest.raises(ValueError, match="slide 1 of the batch"):
        parents(placed([(0, 0, 0), (1, 0, 0)]), placed([(0, 0, 0)]), 2)


@given(fine=rows, coarse=st.lists(st.tuples(*[st.integers(0, 2), *[st.integers(-5, 15)] * 2]), min_size=1, unique=True))
def test_children_lie_in_their_parent_at_their_place(fine: Rows, coarse: Rows) -> None:
    table = children(placed(fine), placed(coarse), 2)
    assert table.shape == (len(coarse), 4)
    for (slide, u, v), slots in zip(coarse, table.tolist(), strict=True):
        for place, row in enumerate(slots):
            wanted = (slide, 2 * u + place % 2, 2 * v + place // 2)
            assert (row < 0 and wanted not in fine) or fine[row] == wanted


@given(found=rows)
def test_regions_are_squares_of_one_slide(found: Rows) -> None:
    cut = regions(*placed(found), 4)
    for (slide, x, y), region, place in zip(found, cut.region.tolist(), cut.place.tolist(), strict=True):
        assert cut.slide[region] == slide
        assert place == y % 4 * 4 + x % 4
    together = {}
    for (slide, x, y), region in zip(found, cut.region.tolist(), strict=True):
        assert together.setdefault((slide, x // 4, y // 4), region) == region
    assert len(set(together.values())) == len(together) == len(cut.slide)


def test_pairs_follow_the_cells() -> None:
    cells = {20: [(0, 0, 0), (0, 3, 3), (1, 0, 0)], 10: [(1, 0, 0), (0, 1, 1), (0, 0, 0)], 5: [(0, 0, 0), (1, 7, 7)]}
    both = {m: placed(found) for m, found in cells.items()}
    places = Places({m: c for m, (c, _) in both.items()}, {m: s for m, (_, s) in both.items()})
    assert [r.tolist() for r in paired_rows(places, (20, 10, 5))] == [[0, 1, 2], [2, 1, 0], [0, 0, 1]]


def test_reading_order_goes_slide_by_slide_and_row_by_row() -> None:
    assert reading_order(*placed([(1, 0, 0), (0, 5, 1), (0, 0, 2), (0, 2, 1), (0, 2, 1)])).tolist() == [3, 4, 1, 2, 0]


def test_similar_patches_are_those_of_the_slide_with_the_nearest_features() -> None:
    torch.manual_seed(0)
    x, slide = torch.randn(30, 5), torch.arange(30) % 2
    found = most_similar(x, slide, 20)
    distance = torch.cdist(x, x).masked_fill(slide[:, None] != slide, torch.inf).fill_diagonal_(torch.inf)
    assert (found[:, 14:] == -1).all()
    assert torch.equal(found[:, :14], distance.argsort(1)[:, :14])


@given(seed=st.integers(0, 50))
def test_scattered_softmaxes_sum_to_one_in_every_group(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, group = 100 * torch.randn(20, 3, generator=generator), torch.randint(0, 4, (20,), generator=generator)
    weights = scatter_softmax(x, group, 5)
    for g in group.unique():
        torch.testing.assert_close(weights[group == g], x[group == g].softmax(0))
        torch.testing.assert_close(scatter_mean(x, group, 5)[g], x[group == g].mean(0))
    assert scatter_mean(x, group, 5)[4].abs().sum() == 0


def test_without_noise_the_perturbed_top_k_is_the_top_k() -> None:
    scores = torch.tensor([0.1, 0.9, -torch.inf, 0.5])
    assert perturbed_top_k(scores, 2, torch.zeros(3, 4), 0.1).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]


def test_the_gradient_of_the_perturbed_top_k_lifts_what_should_have_been_selected() -> None:
    torch.manual_seed(0)
    scores = torch.tensor([0.50, 0.49, 0.0], requires_grad=True)
    value = torch.tensor([0.0, 1.0, 0.0])
    (perturbed_top_k(scores, 1, torch.randn(2000, 3), 0.05) @ value).sum().backward()
    assert scores.grad[1] > 1 and scores.grad[2] == 0


WEIGHTS = PublicWeights(
    case="toy",
    model="abmil",
    read=lambda given: (given["w"].shape[1], 1, {}),
    hyperparameters={"k": "neighbours"},
    constants={"bias": True},
    told=("width",),
)


def test_hyperparameters_of_public_codes_are_translated_or_refused() -> None:
    from milsurv.models.deepgraphsurv import SPEC

    assert WEIGHTS.translated({"k": 4, "bias": True, "width": 9, "hidden": 3}, SPEC) == {"neighbours": 4, "hidden": 3}
    with pytest.raises(ValueError, match="bias is True in ours, not False"):
        WEIGHTS.translated({"bias": False}, SPEC)
    with pytest.raises(ValueError, match="toy has no hyperparameter 'depth'"):
        WEIGHTS.translated({"depth": 4}, SPEC)


@given(seed=st.integers(0, 30))
@settings(max_examples=15, deadline=None)
def test_k_means_finds_separate_groups_from_any_start(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(0, 4, (80,), generator=generator)
    x = 100 * torch.eye(4, 6)[group] + torch.randn(80, 6, generator=generator)
    centres, label = kmeans(x, 4, 5, torch.Generator().manual_seed(seed))
    present = group.unique()
    assert len({(int(g), int(k)) for g, k in zip(group, label, strict=True)}) == len(label.unique()) >= len(present)
    if len(present) == 4:
        for g in range(4):
            torch.testing.assert_close(centres[label[group == g][0]], x[group == g].mean(0))


def test_k_means_takes_fewer_points_than_centres_and_equal_points() -> None:
    generator = torch.Generator().manual_seed(0)
    assert kmeans(torch.randn(3, 2, generator=generator), 5, 3, generator)[0].shape == (3, 2)
    centres, label = kmeans(torch.ones(6, 2), 3, 3, generator)
    assert torch.equal(centres, torch.ones(3, 2)) and label.tolist() == [0] * 6
