"""What single models that know where patches lie promise beside the common contract."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from milsurv.errors import DataError
from milsurv.models.abmil_joined import ABMILJoined
from milsurv.models.contract import Places
from milsurv.models.csmil import CSMIL
from milsurv.models.deepgraphsurv import DeepGraphSurv
from milsurv.models.dsca import DSCA
from milsurv.models.h2mil import H2MIL, adjacent
from milsurv.models.hipt import HIPT
from milsurv.models.mustmil import MuSTMIL
from milsurv.models.patchgcn import PatchGCN
from milsurv.models.protosurv import ProtoSurv, read_type_vectors
from milsurv.models.scmil import SCMIL
from milsurv.models.zoommil import ZoomMIL

DIM = 8
QUARTER = torch.tensor([(0, 0), (1, 0), (0, 1), (1, 1)])


def nested(coarse: list[tuple[int, int]], seed: int = 0) -> tuple[dict, dict, Places]:
    """One slide whose 5x patches have all their children: features, lengths, places."""
    generator = torch.Generator().manual_seed(seed)
    cells = {5: torch.tensor(coarse)}
    for m in (10, 20):
        cells[m] = (2 * cells[m // 2][:, None] + QUARTER).flatten(0, 1)
    features = {m: torch.randn(len(c), DIM, generator=generator) for m, c in cells.items()}
    places = Places({m: c.int() for m, c in cells.items()}, {m: torch.zeros(len(c)).int() for m, c in cells.items()})
    return features, {m: torch.tensor([len(c)]) for m, c in cells.items()}, places


def grid(side: int, step: int = 1) -> tuple[dict, dict, Places]:
    """A slide of side x side patches at 20x, `step` cells apart."""
    at = torch.arange(side) * step
    cells = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).reshape(-1, 2).int()
    x = torch.randn(len(cells), DIM, generator=torch.Generator().manual_seed(1))
    return {20: x}, {20: torch.tensor([len(x)])}, Places({20: cells}, {20: torch.zeros(len(x)).int()})


def test_deepgraphsurv_without_neighbours_sees_patches_alone() -> None:
    torch.manual_seed(0)
    features, lengths, places = grid(4)
    model = DeepGraphSurv(DIM, 3, hidden=8, attention=4, neighbours=0).eval()
    elsewhere = Places({20: places.cells[20].flip(0)}, places.slide)
    assert torch.equal(model(features, lengths, places), model(features, lengths, elsewhere))


def test_graphs_depend_on_who_is_near_and_not_on_how_far() -> None:
    torch.manual_seed(0)
    for model in (DeepGraphSurv(DIM, 3, hidden=8), PatchGCN(DIM, 3, hidden=8)):
        close, far = (model.eval()(*grid(5, step)) for step in (1, 7))
        torch.testing.assert_close(close, far)


def test_latent_edges_do_not_depend_on_the_cells() -> None:
    torch.manual_seed(0)
    features, lengths, places = grid(5)
    for model in (DeepGraphSurv(DIM, 3, hidden=8, edges="latent"), PatchGCN(DIM, 3, hidden=8, edges="latent")):
        elsewhere = Places({20: places.cells[20].flip(0)}, places.slide)
        assert torch.equal(model.eval()(features, lengths, places), model(features, lengths, elsewhere))


def test_hipt_does_not_mind_where_whole_regions_lie() -> None:
    torch.manual_seed(0)
    features, lengths, places = grid(6, step=5)  # four regions of 16 x 16 cells
    model = HIPT(DIM, 3, embed_dim=12, depth=1, num_heads=2).eval()
    square = places.cells[20] // 16
    moved = places.cells[20] + 16 * (square * torch.tensor([3, 5]) + square.flip(1))
    torch.testing.assert_close(
        model(features, lengths, Places({20: moved.int()}, places.slide)), model(features, lengths, places)
    )


def test_hipt_leaves_small_regions_out_unless_a_bag_has_no_other() -> None:
    torch.manual_seed(0)
    features, lengths, places = grid(4)
    model = HIPT(DIM, 3, embed_dim=12, depth=1, num_heads=2, least=4).eval()
    with_stray = Places(
        {20: torch.cat([places.cells[20], torch.tensor([[80, 80]]).int()])}, {20: torch.zeros(17).int()}
    )
    more = {20: torch.cat([features[20], torch.ones(1, DIM)])}
    torch.testing.assert_close(model(more, {20: torch.tensor([17])}, with_stray), model(features, lengths, places))
    alone = Places({20: torch.tensor([[3, 3]]).int()}, {20: torch.zeros(1).int()})
    assert model({20: torch.ones(1, DIM)}, {20: torch.tensor([1])}, alone).isfinite().all()


def test_zoommil_does_not_touch_what_lies_under_patches_that_it_did_not_select() -> None:
    torch.manual_seed(0)
    features, lengths, places = nested([(0, 0), (1, 0), (4, 2), (5, 5)])
    model = ZoomMIL(DIM, 3, hidden=8, attention=4, k=2).eval()
    for x in features.values():
        x.requires_grad_()
    model(features, lengths, places).sum().backward()
    touched = {m: (features[m].grad.abs().sum(1) > 0).sum().item() for m in (5, 10, 20)}
    assert touched == {5: 4, 10: 2 * 4, 20: 2 * 4}


def test_zoommil_that_selects_everything_sees_everything() -> None:
    torch.manual_seed(0)
    features, lengths, places = nested([(0, 0), (1, 0), (4, 2)])
    model = ZoomMIL(DIM, 3, hidden=8, attention=4, k=12).eval()
    for x in features.values():
        x.requires_grad_()
    model(features, lengths, places).sum().backward()
    assert all((x.grad.abs().sum(1) > 0).all() for x in features.values())


def test_coarse_patches_without_children_have_no_influence_on_pairs() -> None:
    torch.manual_seed(0)
    features, lengths, places = nested([(0, 0), (1, 0)])
    more = Places(
        {**places.cells, 5: torch.cat([places.cells[5], torch.tensor([[9, 9]]).int()])},
        {**places.slide, 5: torch.zeros(3).int()},
    )
    wider = {**features, 5: torch.cat([features[5], torch.ones(1, DIM)])}
    for model in (MuSTMIL(DIM, 3, hidden=8), CSMIL(DIM, 3, hidden=8), ABMILJoined(DIM, 3, hidden=8)):
        expected = model.eval()(features, lengths, places)
        torch.testing.assert_close(model(wider, {**lengths, 5: torch.tensor([3])}, more), expected)


def test_abmil_joined_is_abmil_on_the_joined_features() -> None:
    torch.manual_seed(0)
    features, lengths, places = nested([(0, 0), (1, 0), (2, 2)])
    model = ABMILJoined(DIM, 3, hidden=8, attention=4).eval()
    joined = torch.cat([features[20], features[10].repeat_interleave(4, 0), features[5].repeat_interleave(16, 0)], 1)
    h = torch.relu(model.embed(joined))
    expected = model.head(model.pool(h, [len(h)]))
    torch.testing.assert_close(model(features, lengths, places), expected)


def test_dsca_does_not_mind_where_on_the_glass_the_tissue_lies() -> None:
    torch.manual_seed(0)
    features, lengths, places = nested([(0, 0), (1, 0), (2, 2), (5, 1)])
    model = DSCA(DIM, 3, embed_dim=8, num_heads=2, pool_heads=2).eval()
    bare = Places({5: places.cells[5], 20: places.cells[20]}, places.slide)
    there = model(features, lengths, bare)
    far = {m: (c + 7 * 20 // (20 // m)).int() for m, c in bare.cells.items()}
    torch.testing.assert_close(model(features, lengths, Places(far, bare.slide)), there)


def test_dsca_masks_children_that_are_not_there() -> None:
    torch.manual_seed(0)
    features, _, places = nested([(0, 0), (1, 0)])
    model = DSCA(DIM, 3, embed_dim=8, num_heads=2, pool_heads=2, fine_kernel=1).eval()
    kept = torch.arange(32) < 20  # the second patch has 4 of its 16 children
    fine = Places({5: places.cells[5], 20: places.cells[20][kept]}, {5: places.slide[5], 20: places.slide[20][kept]})
    lengths = {5: torch.tensor([2]), 20: torch.tensor([20])}
    given = {5: features[5], 20: features[20][kept]}
    scores = model(given, lengths, fine)
    assert scores.isfinite().all()
    none = Places({5: places.cells[5], 20: places.cells[20][:16]}, {5: places.slide[5], 20: places.slide[20][:16]})
    given = {5: features[5], 20: features[20][:16]}
    assert model(given, {5: torch.tensor([2]), 20: torch.tensor([16])}, none).isfinite().all()


def test_h2mil_reads_a_thumbnail_where_there_is_one_and_fitness_has_no_scale() -> None:
    torch.manual_seed(0)
    features, lengths, places = nested([(0, 0), (1, 0), (2, 2), (5, 1), (1, 1)])
    model = H2MIL(DIM, 3, hidden=8).eval()
    plain = model(features, lengths, places)
    mean = features[5].mean(0, keepdim=True)
    torch.testing.assert_close(model({**features, 1: mean}, lengths, places), plain)
    assert not torch.allclose(model({**features, 1: mean + 1}, lengths, places), plain)
    for pool in (model.pool1, model.pool2):
        pool.coarse *= 3
        pool.fine *= 0.5
    torch.testing.assert_close(model(features, lengths, places), plain)


def test_patches_are_adjacent_where_their_cells_touch() -> None:
    cells = torch.tensor([(0, 0), (1, 1), (3, 1), (3, 2), (3, 2)])
    edges = {tuple(edge) for edge in adjacent(cells).t().tolist()}
    touching = {(i, j) for i in range(5) for j in range(5) if i != j and (cells[i] - cells[j]).abs().max() <= 1}
    assert edges == touching and adjacent(cells).shape[1] == len(touching)


def test_scmil_that_keeps_nothing_pools_what_the_filter_left() -> None:
    torch.manual_seed(0)
    features, lengths, places = grid(4)
    model = SCMIL(DIM, 3, num_heads=2, filter_hidden=4, attention=4).eval()
    model.filter[2].bias.data.fill_(-50.0)
    y = torch.sigmoid(model.filter(features[20])) * features[20]
    torch.testing.assert_close(model(features, lengths, places), model.head(model.pool(y, [16])))


def test_scmil_clusters_hold_about_as_many_as_asked_and_every_kept_row_once() -> None:
    torch.manual_seed(0)
    model = SCMIL(DIM, 3, num_heads=2, cluster_size=4).eval()
    y, kept = torch.randn(60, DIM), torch.rand(60) > 0.3
    cells, slide = torch.randint(0, 9, (60, 2)).int(), (torch.arange(60) > 30).int()
    order, runs = model.clustered(y, kept, cells, slide, [60])
    assert sorted(order.tolist()) == kept.nonzero().squeeze(1).tolist()
    assert sum(count * size for count, size in runs) == int(kept.sum())
    assert max(size for _, size in runs) < 8  # clusters of twice the size are cut


def test_a_type_that_a_bag_lacks_starts_at_the_mean_of_the_bag() -> None:
    torch.manual_seed(0)
    small = {"hidden": 8, "embed_dim": 6, "ffn": 8, "prototypes": 2, "iterations": 1, "fusion_layers": 1}
    model = ProtoSurv(DIM, 3, **small).eval()
    x = torch.randn(10, DIM)
    seen = {}
    model.around.register_forward_hook(lambda _, inputs, __: seen.update(means=inputs[0]))
    model.prototypes_of(x, torch.tensor([0, 1, 2, 4, 0, 1, 2, 4, 0, 1]), [10])
    torch.testing.assert_close(seen["means"][0, 3], x.mean(0))
    torch.testing.assert_close(seen["means"][0, 4], x[[3, 7]].mean(0))


def rendered_texts(folder: Path, seed: int = 0, types: int = 3) -> tuple[str, torch.Tensor, torch.Tensor]:
    """A file of four prompts a type, around one direction each, in a space of texts 6 wide: `path@hash`, these, P."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(6, types, generator=generator))[0].T  # (types, 6), orthonormal
    projection = torch.randn(DIM, 6, generator=generator)
    prompts = directions[:, None] + 0.1 * torch.randn(types, 4, 6, generator=generator)
    length = torch.rand(types, 4, 1, generator=generator) + 0.5  # embeddings need no length of their own
    content = {name: (x * long).contiguous() for name, x, long in zip("abc", prompts, length, strict=False)}
    file = folder / "texts.pt"
    torch.save({**content, "projection": projection}, file)
    return f"{file}@{hashlib.sha256(file.read_bytes()).hexdigest()[:10]}", directions, projection


def test_zero_shot_types_are_those_whose_text_is_nearest(tmp_path: Path) -> None:
    file, directions, projection = rendered_texts(tmp_path)
    model = ProtoSurv(DIM, 4, types=3, type_vectors=file)
    model.prepare({}, [], np.random.default_rng(0))  # no patch is read
    x = torch.randn(200, DIM, generator=torch.Generator().manual_seed(2))
    cosine = torch.cosine_similarity((x @ projection)[:, None], directions[None], dim=2)
    clear = cosine.topk(2, 1).values.diff(dim=1).abs().squeeze(1) > 0.2
    assert clear.sum() > 50 and torch.equal(model.types(x)[clear], cosine.argmax(1)[clear])
    assert torch.equal(model.types(10 * x), model.types(x))
    again = ProtoSurv(DIM, 4, types=3, type_vectors=file)  # as a checkpoint is read, elsewhere
    (tmp_path / "texts.pt").unlink()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.types(x), model.types(x))


def test_a_file_of_texts_that_does_not_fit_says_why(tmp_path: Path) -> None:
    file, *_ = rendered_texts(tmp_path)
    with pytest.raises(DataError, match="add --set types=3"):
        read_type_vectors(file, 5, DIM)
    with pytest.raises(DataError, match=f"its projection reads {DIM} numbers, and the features have 7"):
        read_type_vectors(file, 3, 7)
    with pytest.raises(DataError, match="has changed"):
        read_type_vectors(file.partition("@")[0] + "@0123456789", 3, DIM)
    with pytest.raises(DataError, match="cannot be read"):
        read_type_vectors(str(tmp_path / "nothing@0123456789"), 3, DIM)
    torch.save({name: torch.ones(2, 5) for name in "abc"}, tmp_path / "texts.pt")
    digest = hashlib.sha256((tmp_path / "texts.pt").read_bytes()).hexdigest()[:10]
    with pytest.raises(DataError, match=rf"a, b, c should be \(prompts, {DIM}\)"):
        read_type_vectors(f"{tmp_path / 'texts.pt'}@{digest}", 3, DIM)
