"""Bags: the slides of a patient are one bag, and every fault of the features shows before training."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milsurv.datasets.bags import Bag, Bags
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.features.store import write_slide
from milsurv.datasets.patient import Patient
from milsurv.errors import DataError

DIM = 8
SIZES = {5: 1, 10: 4, 20: 16}


def matrix(slide: str, m: int, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng([m, *slide.encode()]).standard_normal((SIZES[m], dim), np.float32)


def write(folder: Path, slide: str, dim: int = DIM, scales: tuple[int, ...] = (5, 10, 20), empty: int = 0) -> None:
    features = {m: matrix(slide, m, dim)[: 0 if m == empty else None] for m in scales}
    coords = {m: np.full((len(f), 2), sum(slide.encode()) + m) for m, f in features.items()}
    write_slide(folder, slide, features, coords, backbone="mine", patch_px=256)


def patient(name: str, *slides: str) -> Patient:
    return Patient(name, 1.0, True, "", slides)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for slide in ("a1", "a2", "b1"):
        write(tmp_path, slide)
    return tmp_path


def test_the_slides_of_a_patient_are_one_bag_in_their_order(folder: Path) -> None:
    bags = Bags(open_features(folder), [patient("A", "a1", "a2"), patient("B", "b1")], (5, 20))
    assert bags.check() == ()
    bag = bags["A"]
    assert set(bag.features) == {5, 20}, "only the scales asked for are read"
    expected = np.concatenate([matrix("a1", 20), matrix("a2", 20)]).astype(np.float16)
    np.testing.assert_array_equal(bag.features[20], expected)
    coords = bag.coords[20]
    assert coords is not None
    corner = [sum(slide.encode()) + 20 for slide in ("a1", "a2")]
    np.testing.assert_array_equal(coords, np.repeat([[c, c] for c in corner], 16, axis=0))
    assert bag.slide_lengths == {5: (1, 1), 20: (16, 16)}
    assert bags.lengths("A") == {5: 2, 20: 32}
    assert bags.tokens("A") == 34
    assert not bag.features[20].flags.writeable


def test_tokens_and_the_check_need_no_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = open_features(folder)
    monkeypatch.setattr(type(reader), "read", None)
    bags = Bags(reader, [patient("A", "a1", "a2")], (5, 10, 20))
    assert [f.code for f in bags.check()] == ["features_without_label"]
    assert bags.tokens("A") == 42


def test_all_faults_are_collected_into_one_error(folder: Path) -> None:
    write(folder, "narrow", dim=4)
    write(folder, "no10", scales=(5, 20))
    write(folder, "blank", empty=5)
    (folder / "cut.h5").write_bytes((folder / "a1.h5").read_bytes()[:900])
    slides = ("a1", "a2", "b1", "narrow", "no10", "blank", "cut", "gone1", "gone2")
    bags = Bags(open_features(folder), [patient(s, s) for s in slides], (5, 10, 20))
    with pytest.raises(DataError) as refused:
        bags.check()
    message = str(refused.value)
    for part in (
        "2 slides have no feature file: gone1, gone2",
        "1 slides lack a magnification: no10 (10x)",
        "1 slides have no patches at a magnification: blank (5x)",
        "1 files cannot be used",
        "cut.h5 is truncated or damaged",
        "3 slides or scales are not 8 wide like the most: narrow (5x) is 4",
        "--missing drop",
    ):
        assert part in message


def test_missing_features_can_be_left_out_on_purpose_and_are_then_listed(folder: Path) -> None:
    write(folder, "no10", scales=(5, 20))
    patients = [patient("A", "a1", "gone1"), patient("B", "b1", "no10"), patient("C", "gone2")]
    bags = Bags(open_features(folder), patients, (5, 10, 20), missing="drop")
    found = {f.code: (f.count, f.examples) for f in bags.check()}
    assert found["slides_without_features"] == (2, ("gone1", "gone2"))
    assert found["slides_without_scale"] == (1, ("no10 (10x)",))
    assert found["patients_without_features"] == (1, ("C",))
    assert bags.absent == ("C",)
    assert bags["A"].slides == ("a1",)
    assert bags["B"].slides == ("b1",)
    with pytest.raises(DataError, match="no usable features of patient C"):
        bags["C"]


def test_damage_is_refused_even_where_missing_files_are_not(folder: Path) -> None:
    (folder / "cut.h5").write_bytes((folder / "a1.h5").read_bytes()[:900])
    with pytest.raises(DataError, match=r"cut\.h5 is truncated or damaged"):
        Bags(open_features(folder), [patient("A", "a1"), patient("C", "cut")], (20,), missing="drop").check()


def test_a_slide_that_matches_only_without_case_is_used_and_reported(folder: Path) -> None:
    bags = Bags(open_features(folder), [patient("A", "A1", "a2"), patient("B", "b1")], (20,))
    assert [(f.code, f.examples) for f in bags.check()] == [("slide_name_case", ("A1",))]
    assert bags["A"].slides == ("a1", "a2")


def test_a_missing_file_is_an_error_even_without_a_check(folder: Path) -> None:
    bags = Bags(open_features(folder), [patient("A", "a1", "gone")], (20,))
    with pytest.raises(DataError, match=r"gone\.h5 does not exist"):
        bags["A"]
    with pytest.raises(KeyError, match="Z is not one of the 1 patients"):
        bags["Z"]


def test_a_second_look_at_a_patient_is_served_from_memory_while_there_is_room(folder: Path) -> None:
    patients = [patient("A", "a1"), patient("B", "b1")]
    reader = open_features(folder)
    ample = Bags(reader, patients, (20,))
    assert ample["A"] is ample["A"]
    one = ample["A"].nbytes
    tight = Bags(reader, patients, (20,), cache_bytes=one)
    first, second = tight["A"], tight["B"]
    assert tight["A"] is first
    assert tight["B"] is not second
    nothing = Bags(reader, patients, (20,), cache_bytes=0)
    assert nothing["A"] is not nothing["A"]


def test_what_does_not_fit_into_memory_is_said(folder: Path) -> None:
    patients = [patient("A", "a1"), patient("B", "b1")]
    reader = open_features(folder)
    total = sum(Bags(reader, patients, (20,))[name].nbytes for name in "AB")
    total -= sum(c.nbytes for name in "AB" if (c := Bags(reader, patients, (20,))[name].coords[20]) is not None)
    assert Bags(reader, patients, (20,), cache_bytes=total).streamed() == ()
    (found,) = Bags(reader, patients, (20,), cache_bytes=total - 1).streamed()
    assert found.code == "features_streamed" and "read again in every epoch" in found.message


@given(st.lists(st.sampled_from("ABC"), max_size=30), st.floats(0, 1.2))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_first_bags_that_fit_are_kept_and_never_more_than_the_room(
    folder: Path, looks: list[str], share: float
) -> None:
    patients = [patient("A", "a1"), patient("B", "b1"), patient("C", "a1", "a2")]
    reader = open_features(folder)
    size = {p.id: Bags(reader, [p], (20,))[p.id].nbytes for p in patients}
    room = int(share * sum(size.values()))
    bags = Bags(reader, patients, (20,), cache_bytes=room)
    kept: dict[str, Bag] = {}
    for name in looks:
        bag = bags[name]
        assert (name in kept) == (bag is kept.get(name))
        if name not in kept and sum(size[k] for k in kept) + size[name] <= room:
            kept[name] = bag
    bags.forget()
    assert all(bags[name] is not bag for name, bag in kept.items())
