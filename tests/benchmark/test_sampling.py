"""Patches drawn for training: so many, in their order, whole cells together; evaluation reads all."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.benchmark.training.batches import pack
from milsurv.benchmark.training.sampling import training_bags


@dataclass(frozen=True)
class Bag:
    features: dict[int, np.ndarray]
    cells: dict[int, np.ndarray] = field(default_factory=dict)
    slide_lengths: dict[int, tuple[int, ...]] = field(default_factory=dict)


class Bags(dict):
    def tokens(self, patient_id: str) -> int:
        return sum(self.lengths(patient_id).values())

    def lengths(self, patient_id: str) -> dict[int, int]:
        return {m: len(x) for m, x in self[patient_id].features.items()}


def bag_of(*sides: int, located: bool = True) -> Bag:
    """Slides of so many 5x cells a side, with all their 10x and 20x patches; every feature names its row."""
    cells = {
        m: [np.argwhere(np.ones((side * m // 5,) * 2, bool)).astype(np.int32) for side in sides] for m in (5, 10, 20)
    }
    lengths = {m: tuple(len(one) for one in of) for m, of in cells.items()}
    features = {m: np.arange(sum(n), dtype=np.float32)[:, None] for m, n in lengths.items()}
    return Bag(features, {m: np.concatenate(of) for m, of in cells.items()} if located else {}, lengths)


def drawn(bag: Bag, patches: int, seed: int = 0, epoch: int = 0) -> Bag:
    return training_bags(Bags(p=bag), patches, seed)(epoch)["p"]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 400), st.integers(0, 99))
def test_every_scale_keeps_the_same_share_in_its_order(sides, patches, seed):
    bag = bag_of(*sides, located=False)
    share = min(1.0, patches / len(bag.features[20]))
    some = drawn(bag, patches, seed)
    for m, x in some.features.items():
        assert len(x) == max(1, round(share * len(bag.features[m])))
        assert (np.diff(x[:, 0]) > 0).all()
        assert sum(some.slide_lengths[m]) == len(x) and len(some.slide_lengths[m]) == len(sides)
    assert training_bags(Bags(p=bag), patches, seed)(0).tokens("p") == sum(map(len, some.features.values()))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 400), st.integers(0, 99))
def test_a_model_that_knows_places_gets_whole_cells(sides, patches, seed):
    bag, some = bag_of(*sides), drawn(bag_of(*sides), patches, seed)
    n = len(bag.features[20])
    assert min(patches, n) <= len(some.features[20]) < min(patches, n) + 16
    assert {m: 16 * len(x) for m, x in some.features.items()} == {
        5: 16 * len(some.features[5]), 10: 64 * len(some.features[5]), 20: 256 * len(some.features[5])
    }  # fmt: skip
    for m, cells in some.cells.items():
        np.testing.assert_array_equal(cells, bag.cells[m][some.features[m][:, 0].astype(int)])
        slide = np.repeat(np.arange(len(sides)), some.slide_lengths[m])
        of_all = np.repeat(np.arange(len(sides)), bag.slide_lengths[m])
        np.testing.assert_array_equal(slide, of_all[some.features[m][:, 0].astype(int)])


def test_a_scale_that_lacks_the_cells_drawn_keeps_a_patch():
    whole = bag_of(4)
    bag = Bag(
        whole.features | {5: whole.features[5][:1]},
        whole.cells | {5: whole.cells[5][:1]},
        whole.slide_lengths | {5: (1,)},
    )
    assert all(len(drawn(bag, 16, seed).features[5]) == 1 for seed in range(9))


def test_each_epoch_draws_others_and_the_same_again():
    bag = bag_of(5, located=False)
    first, again, other = (drawn(bag, 40, epoch=epoch).features[20] for epoch in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, drawn(bag, 40, seed=1).features[20])


def test_in_many_epochs_every_patch_has_its_turn():
    bag = bag_of(3, located=False)
    seen = np.concatenate([drawn(bag, 20, epoch=epoch).features[20][:, 0] for epoch in range(200)])
    counts = np.bincount(seen.astype(int), minlength=144)
    assert counts.min() > 10 and counts.max() < 50  # 27.8 expected


@pytest.mark.parametrize("patches", [0, 144, 10_000])
def test_a_bag_with_no_more_patches_is_given_as_it_is(patches):
    bag = bag_of(3)
    assert drawn(bag, patches) is bag


def test_slides_without_a_drawn_patch_keep_their_number_in_what_models_are_given():
    bags = Bags(p=bag_of(1, 1, 1, 1), q=bag_of(1))
    packed = pack(training_bags(bags, 16, 3)(0), ["p", "q"])
    assert len(set(packed.places.slide[20].tolist())) == 2 == len(set(packed.places.slide[5].tolist()))
