"""What single models promise beside the common contract: the identities that their equations imply."""

import numpy as np
import pytest
import torch
from milsurv.models.abmil import ABMIL
from milsurv.models.acmil import ACMIL, diversity
from milsurv.models.clam_sb import CLAM
from milsurv.models.dtfd import DTFD
from milsurv.models.ilra import ILRA
from milsurv.models.layers.kmeans import distortion, kmeans, nearest
from milsurv.models.layers.nystrom_attention import NystromAttention
from milsurv.models.mhim import MHIM
from milsurv.models.panther import Panther
from milsurv.models.rrtmil import RRTMIL, from_regions, in_regions, to_regions
from milsurv.models.slide_vector import SlideVector
from milsurv.models.wikg import WiKG

X = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
ONE = {20: torch.tensor([40])}


class Bags(dict):
    """Bags of half-precision features, as `prepare` sees them; it knows who was looked at."""

    def __init__(self, **bags):
        super().__init__({name: type("Bag", (), {"features": {20: x.half().numpy()}})() for name, x in bags.items()})
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)


def test_clam_without_instance_loss_is_abmil_and_its_branches_made_equal_are_one():
    abmil, sb, mb = ABMIL(8, 3, hidden=6, attention=4), CLAM(8, 3, hidden=6, attention=4, instance_weight=0.0), None
    mb = CLAM(8, 3, hidden=6, attention=4, branches=True)
    sb.load_state_dict({k.replace("pool.", "attention."): v for k, v in abmil.state_dict().items()})
    state = dict(sb.state_dict())
    state["attention.score.weight"] = state["attention.score.weight"].expand(3, -1)
    state["attention.score.bias"] = state["attention.score.bias"].expand(3)
    mb.load_state_dict(state, strict=False)
    expected = abmil.eval()({20: X}, ONE)
    for model in (sb, mb):
        torch.testing.assert_close(model.eval()({20: X}, ONE), expected)
    assert isinstance(sb.train()({20: X}, ONE), torch.Tensor)


def test_clam_never_takes_a_patch_for_highest_and_lowest_at_once():
    model = CLAM(8, 2, hidden=6, attention=4, instances=8, subtyping=False)
    h = torch.randn(6, 6)
    weights = torch.arange(6.0)[:, None]
    odds = torch.stack([model._log_odds(j, h) for j in range(2)])  # (n_out, n)
    expected = (torch.log1p(torch.exp(-odds[:, 3:])).mean(1) + torch.log1p(torch.exp(odds[:, :3])).mean(1)) / 2
    torch.testing.assert_close(model.instance_losses(weights, h), expected)
    assert not model.instance_losses(weights[:1], h[:1]).any()


def test_one_group_of_dtfd_is_abmil_under_an_affine_map():
    model = DTFD(8, 2, hidden=6, attention=4, groups=1).eval()
    h = model.embed(X)
    pooled = model.attention.scores(h).softmax(0).T @ h
    torch.testing.assert_close(model({20: X}, ONE), model.head(pooled))


def test_dtfds_second_tier_does_not_train_the_first_where_detached():
    for detach in (True, False):
        model = DTFD(8, 2, hidden=6, attention=4, detach=detach).train()
        model({20: X}, ONE).scores.sum().backward()
        assert (model.embed[1].weight.grad is None) == detach


def test_dtfd_groups_are_random_in_training_and_fixed_in_evaluation():
    model = DTFD(8, 2, hidden=6, attention=4, groups=3)
    assert [rows.tolist() for rows in model.eval()._draw(7)] == [[0, 3, 6], [1, 4], [2, 5]]
    torch.manual_seed(0)
    drawn = model.train()._draw(7)
    assert sorted(torch.cat(drawn).tolist()) == list(range(7)) and [len(rows) for rows in drawn] == [3, 2, 2]
    assert len(model._draw(2)) == 2


def test_acmil_masks_six_of_the_ten_strongest_of_every_branch():
    model = ACMIL(8, 2, hidden=6, attention=4, branches=3)
    raw = torch.randn(40, 3)
    masked = model._mask(raw) < -1e8
    assert masked.sum(0).tolist() == [6, 6, 6]
    assert (raw[masked] >= raw.topk(10, 0).values[-1].min()).all()


def test_the_diversity_of_equal_branches_is_one_and_of_disjoint_ones_zero():
    alike = torch.rand(5, 1, 1).expand(5, 3, 1)
    assert diversity(alike).item() == pytest.approx(1.0)
    assert diversity(torch.eye(3)[:, :, None]).item() == pytest.approx(0.0)
    assert diversity(torch.rand(5, 1, 1)).item() == 0.0


def test_a_patch_said_twice_changes_nothing_in_ilra_and_something_in_wikg():
    twice = {20: torch.cat([X, X])}, {20: torch.tensor([80])}
    ilra = ILRA(8, 2, hidden=8, num_heads=2, rank=3).eval()
    torch.testing.assert_close(ilra(*twice), ilra({20: X}, ONE), atol=1e-5, rtol=1e-4)
    wikg = WiKG(8, 2, hidden=8, neighbours=3).eval()
    assert (wikg(*twice) - wikg({20: X}, ONE)).abs().max() > 1e-6


def test_wikg_in_blocks_of_rows_is_wikg(monkeypatch):
    model = WiKG(8, 2, hidden=8).train()
    found = []
    for portion in (2048, 7):
        monkeypatch.setattr("milsurv.models.wikg.PORTION", portion)
        torch.manual_seed(0)
        scores = model({20: X}, ONE)
        model.zero_grad()
        scores.sum().backward()
        found.append((scores.detach(), model.to_tail.weight.grad.clone()))
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize("sizes", [[1], [9, 64, 65, 100], [300, 2, 300]])
def test_regions_are_cut_and_put_back(sizes):
    x = torch.randn(sum(sizes), 3)
    met = []

    def attend(cut):
        met.append(cut.shape)
        return cut

    assert torch.equal(in_regions(attend, x, sizes, 8), x)
    assert all(shape[1] == 64 for shape in met) and sum(shape[0] for shape in met) == len(sizes)


def test_rrtmils_regions_may_be_permuted_where_they_fill_the_square():
    model = RRTMIL(8, 2, hidden=8, num_heads=2, cross_heads=2, regions=8).eval()
    x = torch.randn(256, 8)  # 64 regions of 2 x 2
    moved = from_regions(to_regions(x[None], 8)[:, torch.randperm(64)], 8)[0]
    lengths = {20: torch.tensor([256])}
    torch.testing.assert_close(model({20: moved}, lengths), model({20: x}, lengths), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("tokens", [1, 2, 9, 100])
@pytest.mark.parametrize("epeg", [3, 15])
def test_epeg_on_the_queries_is_epeg_on_the_scores(tokens, epeg):
    model = RRTMIL(8, 2, hidden=8, num_heads=2, regions=2, epeg=epeg).layers[0].eval()
    x = torch.randn(4, tokens, 8)  # regions, tokens, width
    q, k, v = model.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(2, 3) * 4**-0.5
    scores = scores + torch.nn.functional.conv2d(scores, model.epeg[..., None], padding=(epeg // 2, 0), groups=2)
    expected = model.out((scores.softmax(3) @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(model.attend(x[None])[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("n", [5, 12, 40])
def test_the_first_tokens_weights_give_its_output(n):
    layer = NystromAttention(8, 2, landmarks=6).eval()
    x = torch.randn(1, n, 8)
    weights, values = layer.first_weights(x)
    plain = layer._convolve(values, True)
    joined = (weights[:, :, None] @ values).transpose(1, 2).flatten(2) + plain
    torch.testing.assert_close(layer.out(joined), layer(x, first_only=True), atol=1e-5, rtol=1e-4)


def small_mhim(**hyperparameters) -> MHIM:
    return MHIM(8, 3, **{"hidden": 8, "attention": 4, "merged": 2, "kept": 0.9, **hyperparameters})


def test_mhim_in_evaluation_depends_on_neither_teacher_nor_queries():
    model = small_mhim().eval()
    before = model({20: X}, ONE)
    model.merge.queries.data += 1
    for value in model.teacher.state_dict().values():
        value += 1
    assert torch.equal(model({20: X}, ONE), before)


def test_mhims_teacher_and_queries_move_at_the_step_and_only_there():
    model = small_mhim(momentum=0.5, query_momentum=0.75, kept=0.5).train()
    with torch.no_grad():
        for p in model.student.parameters():
            p += 1
    teacher = {k: v.clone() for k, v in model.teacher.state_dict().items()}
    queries = model.merge.queries.clone()
    with torch.no_grad():
        model({20: X}, ONE)  # a pass that only looks ahead leaves no trace
    model({20: X}, ONE)
    assert torch.equal(model.merge.queries, queries)
    (merged,) = model._merged
    model.after_step()
    torch.testing.assert_close(model.merge.queries.data, 0.75 * queries + 0.25 * merged)
    for name, value in model.teacher.state_dict().items():
        torch.testing.assert_close(value, (teacher[name] + model.student.state_dict()[name]) / 2)
    model.after_step()
    torch.testing.assert_close(model.merge.queries.data, 0.75 * queries + 0.25 * merged)


def test_mhims_consistency_is_at_least_the_entropy_of_the_teacher():
    model = small_mhim(consistency=1.0).train()
    _, target = model.teach(X, [len(X)])
    entropy = -(target * target.log()).sum()
    assert model({20: X}, ONE).penalty.item() >= entropy.item() - 1e-5


def test_mhim_masks_the_easiest_and_keeps_the_share_of_the_rest():
    model = small_mhim(masked=0.25, kept=0.6)
    h, score = torch.eye(12, 8), torch.arange(12.0)
    seen = model.hard(h, score, torch.arange(9.0))
    assert torch.equal(seen[:5], h[:5]) and len(seen) == 7  # 3 masked, int(0.6 * 9) stay, 4 are merged into 2
    whole = small_mhim(masked=0.0, kept=1.0)
    assert torch.equal(whole.hard(h, score, torch.arange(12.0)), h)


def test_the_teacher_is_trained_by_nobody():
    model = small_mhim()
    assert not any(name.startswith("teacher") for name, _ in model.named_parameters())
    assert any(name.startswith("teacher") for name in model.state_dict())
    assert not model.train().teacher.training


def test_panther_reads_the_training_set_alone_and_fits_what_a_checkpoint_holds():
    bags = Bags(a=torch.randn(30, 4) + 5, b=torch.randn(20, 4) - 5, other=torch.randn(9, 4) * 100)
    model = Panther(4, 2, prototypes=2, standardise=True)
    model.prepare(bags, ["a", "b"], np.random.default_rng(0))
    assert bags.read == {"a", "b"}
    means = model.prototypes.mean(1).sort().values
    assert means[0].item() == pytest.approx(-5, abs=0.5) and means[1].item() == pytest.approx(5, abs=0.5)
    other = Panther(4, 2, prototypes=2, standardise=True)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval()({20: X[:, :4]}, ONE), model.eval()({20: X[:, :4]}, ONE))


def test_a_heavy_prior_leaves_panthers_prior_and_one_prototype_gives_mean_and_variance():
    heavy = Panther(8, 2, prototypes=3, tau=1e8).vector(X)
    expected = Panther(8, 2, prototypes=3)
    assert heavy[:3].tolist() == pytest.approx([1 / 3] * 3, rel=1e-5)
    assert heavy[3 + 24 :].tolist() == pytest.approx([1.0] * 24, abs=1e-2) and expected.head.bias is None
    light = Panther(8, 2, prototypes=1, tau=1e-6).vector(X)
    torch.testing.assert_close(light[1:9], X.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(light[9:], X.var(0, correction=0), atol=1e-4, rtol=1e-4)


def test_slide_vectors_are_standardised_by_the_training_patients():
    bags = Bags(a=torch.full((3, 2), 2.0), b=torch.full((1, 2), 4.0), other=torch.full((1, 2), 99.0))
    model = SlideVector(2, 1, standardise=True)
    model.prepare(bags, ["a", "b"], np.random.default_rng(0))
    assert bags.read == {"a", "b"}
    assert model.mean.tolist() == [3.0, 3.0] and model.std.tolist() == [1.0, 1.0]
    constant = SlideVector(2, 1, standardise=True)
    constant.prepare(bags, ["a"], np.random.default_rng(0))
    assert constant({20: torch.full((1, 2), 2.0)}, {20: torch.tensor([1])}).isfinite().all()


def test_a_vector_said_twice_changes_nothing():
    model = SlideVector(8, 2).eval()
    torch.testing.assert_close(model({20: torch.cat([X, X])}, {20: torch.tensor([80])}), model({20: X}, ONE))


def test_kmeans_finds_clusters_that_are_apart_and_ends_where_no_step_helps():
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(50, 3) + 20 * i for i in range(4)])
    centres, label = kmeans(x, 4, 20, generator, candidates=3)
    assert sorted(label.bincount().tolist()) == [50] * 4
    moved = torch.stack([x[label == k].mean(0) for k in range(4)])
    torch.testing.assert_close(centres, moved)
    assert distortion(x, centres) == pytest.approx(nearest(x, centres)[0].sum().item(), rel=1e-5)
    same, again = kmeans(x, 4, 20, torch.Generator().manual_seed(0), candidates=3)
    assert torch.equal(same, centres) and torch.equal(again, label)


def test_kmeans_of_fewer_or_equal_rows_has_finite_centres():
    generator = torch.Generator().manual_seed(0)
    centres, label = kmeans(torch.zeros(3, 2), 5, 4, generator)
    assert centres.shape == (3, 2) and not centres.any() and label.tolist() == [0, 0, 0]
