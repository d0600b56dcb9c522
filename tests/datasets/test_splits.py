"""Folds: no patient on both sides, events in every part, and everything left out listed."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from checkout import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.datasets.folds.read import Folds, Split, cut_validation, read_splits, stratified_folds
from milsurv.datasets.labels.read import Counts, Labels, read_labels
from milsurv.datasets.layout import find_labels
from milsurv.datasets.patient import Patient
from milsurv.errors import DataError

DATA = SHARED / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the public folds are not beside this checkout")


def labels_of(times: list[float], events: list[bool]) -> Labels:
    patients = tuple(
        Patient(f"p{i:03}", t, e, "", (f"p{i:03}-slide",)) for i, (t, e) in enumerate(zip(times, events, strict=True))
    )
    n = len(patients)
    return Labels("mine", patients, (), "", "labels.csv", False, None, Counts(n, n, sum(events), 0, 1), {})


TEN = labels_of([float(i + 1) for i in range(10)], [i % 2 == 0 for i in range(10)])


def write(folder: Path, *folds: tuple[list[str], list[str]], header: tuple[str, ...] = ("", "train", "val")) -> Path:
    folder.mkdir(exist_ok=True)
    for k, columns in enumerate(folds):
        longest = max(map(len, columns))
        with (folder / f"splits_{k}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for i in range(longest):
                writer.writerow([i, *(column[i] if i < len(column) else "" for column in columns)])
    return folder


def ids(*numbers: int) -> list[str]:
    return [f"p{i:03}" for i in numbers]


def codes(folds: Folds) -> dict[str, int]:
    return {f.code: f.count for f in folds.findings}


def test_files_in_the_public_format_become_train_and_test(tmp_path: Path) -> None:
    folds = read_splits(write(tmp_path, (ids(*range(2, 10)), ids(0, 1)), (ids(*range(2)), ids(*range(2, 10)))), TEN)
    assert folds.splits[0] == Split(0, tuple(ids(*range(2, 10))), (), tuple(ids(0, 1)))
    assert [s.fold for s in folds.splits] == [0, 1]
    assert codes(folds) == {}


def test_everything_that_folds_leave_out_is_listed(tmp_path: Path) -> None:
    train = [*ids(2, 3, 4), "unknown", "p002"]
    folds = read_splits(write(tmp_path, (train, ids(0, 1)), (ids(4), ids(0, 6))), TEN)
    assert codes(folds) == {
        "fold_ids_repeated": 1,  # p002
        "fold_ids_unlabelled": 1,  # unknown
        "patients_in_no_fold": 4,  # p005, p007, p008, p009
        "never_tested": 3,  # p002, p003, p004
        "tested_twice": 1,  # p000
        "missing_from_fold": 3,  # the last fold lacks p001, p002, p003
    }


def test_slides_and_barcodes_stand_for_their_patients(tmp_path: Path) -> None:
    by_slide = [f"{i}-slide" for i in ids(*range(2, 10))]
    folds = read_splits(write(tmp_path, (by_slide, ids(0, 1))), TEN)
    assert folds.splits[0].train == tuple(ids(*range(2, 10)))


def test_a_test_column_is_the_test_set_and_val_joins_train(tmp_path: Path) -> None:
    header = ("", "train", "val", "test")
    folds = read_splits(write(tmp_path, (ids(2, 3), ids(4, 5), ids(0, 1)), header=header), TEN)  # type: ignore[arg-type]
    assert folds.splits[0] == Split(0, tuple(ids(2, 3, 4, 5)), (), tuple(ids(0, 1)))
    assert codes(folds)["val_joined_to_train"] == 2


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (ids(0, 1, 2), ids(2, 3, 4), r"1 patients are in train and in test: p002"),
        (["p000-slide", *ids(1)], ids(0, 2), r"patients are in train and in test: p000"),
        (ids(0, 1), ids(3, 5), r"column val has 2 patients but no event"),
        (ids(1, 3), ids(0, 2), r"column train has 2 patients but no event"),
        (ids(0, 1), ["x", "y"], r"no patient in column val has a label .*first ids: x, y"),
    ],
)
def test_folds_that_would_deceive_are_refused(tmp_path: Path, train: list[str], val: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        read_splits(write(tmp_path, (train, val)), TEN)
    assert "splits_0.csv" in str(refused.value)


def test_folders_without_folds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no splits_"):
        read_splits(tmp_path, TEN)
    with pytest.raises(DataError, match="is not a folder"):
        read_splits(tmp_path / "none", TEN)
    with pytest.raises(DataError, match=r"must have the columns train and val; found \w"):
        read_splits(write(tmp_path, (ids(0), ids(1)), header=("x", "learn", "check")), TEN)


def test_a_split_cannot_be_made_with_a_patient_on_two_sides() -> None:
    with pytest.raises(DataError, match="1 patients are in train and in val: a"):
        Split(3, ("a", "b"), ("a",), ("c",))
    with pytest.raises(DataError, match="fold 3: patients twice in test: c"):
        Split(3, ("a", "b"), (), ("c", "c"))


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_patient_twice_in_a_part_is_refused_by_name(name):
    parts = {"train": ("a", "b"), "val": ("c", "d"), "test": ("e", "f")}
    Split(3, **parts)
    with pytest.raises(DataError, match=f"fold 3: patients twice in {name}: {parts[name][0]}"):
        Split(3, **parts | {name: parts[name] + parts[name][:1]})


@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("train", "val"), ("val", "test")])
def test_a_patient_in_two_parts_is_refused_by_name(one, other):
    parts = {"train": ("a", "b"), "val": ("c", "d"), "test": ("e", "f")}
    with pytest.raises(DataError, match=f"fold 3: 1 patients are in {one} and in {other}: {parts[one][0]}"):
        Split(3, **parts | {other: parts[other] + parts[one][:1]})


cohorts = st.lists(st.tuples(st.floats(0.1, 200), st.booleans()), min_size=20, max_size=120).filter(
    lambda rows: sum(e for _, e in rows) >= 5
)


@given(cohorts, st.integers(2, 5), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_dealt_folds_test_everybody_once_with_even_events_and_sizes(
    rows: list[tuple[float, bool]], k: int, seed: int
) -> None:
    labels = labels_of([t for t, _ in rows], [e for _, e in rows])
    folds = stratified_folds(labels, k, seed)
    everybody = Counter(p.id for p in labels.patients)
    assert Counter(i for s in folds.splits for i in s.test) == everybody
    events = [sum(labels.by_id[i].event for i in s.test) for s in folds.splits]
    sizes = [len(s.test) for s in folds.splits]
    assert max(events) - min(events) <= 1
    assert max(sizes) - min(sizes) <= 1
    for split in folds.splits:
        assert Counter(split.train + split.test) == everybody
    assert stratified_folds(labels, k, seed) == folds


def test_dealt_folds_spread_early_and_late_deaths_over_all_folds() -> None:
    labels = labels_of([float(i + 1) for i in range(100)], [True] * 100)
    for split in stratified_folds(labels, 5, 1).splits:
        assert all(sum(10 * d < labels.by_id[i].time <= 10 * d + 10 for i in split.test) == 2 for d in range(10))


def test_another_seed_deals_other_folds_and_too_few_events_are_refused() -> None:
    labels = labels_of([float(i + 1) for i in range(60)], [i % 3 == 0 for i in range(60)])
    assert stratified_folds(labels, 5, 0).fingerprint != stratified_folds(labels, 5, 1).fingerprint
    with pytest.raises(DataError, match=r"5 events are too few for 6 folds"):
        stratified_folds(TEN, 6)


@given(cohorts, st.floats(0.05, 0.6), st.integers(0, 2**31), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_an_inner_part_is_cut_with_events_on_both_sides_whatever_the_order(
    rows: list[tuple[float, bool]], fraction: float, seed: int, shuffle: object
) -> None:
    labels = labels_of([t for t, _ in rows], [e for _, e in rows])
    everybody = [p.id for p in labels.patients]
    train, val = cut_validation(everybody, labels, fraction, seed)
    assert sorted(train + val) == everybody
    events = sum(labels.by_id[i].event for i in everybody)
    cut = sum(labels.by_id[i].event for i in val)
    assert 1 <= cut < events
    assert abs(cut - fraction * events) <= 1
    shuffle.shuffle(everybody)  # type: ignore[attr-defined]
    assert cut_validation(everybody, labels, fraction, seed) == (train, val)


def test_an_inner_part_needs_two_events_and_labelled_patients() -> None:
    with pytest.raises(DataError, match="has 1 events"):
        cut_validation(ids(0, 1, 3), TEN, 0.2, 0)
    with pytest.raises(DataError, match="no label for unknown"):
        cut_validation([*ids(0, 2), "unknown"], TEN, 0.2, 0)


def test_the_fingerprint_of_folds_depends_on_who_is_where_and_not_on_the_order(tmp_path: Path) -> None:
    one = read_splits(write(tmp_path / "a", (ids(*range(2, 10)), ids(0, 1))), TEN)
    two = read_splits(write(tmp_path / "b", (ids(*reversed(range(2, 10))), ids(1, 0))), TEN)
    other = read_splits(write(tmp_path / "c", (ids(*range(1, 10)), ids(0))), TEN)
    assert one.fingerprint == two.fingerprint != other.fingerprint


def real_folds(cohort: str, source: str = "crossfusion") -> Folds:
    labels = read_labels(find_labels(DATA / source, cohort), cohort)
    return read_splits(DATA / "crossfusion" / "splits" / f"tcga_{cohort}", labels)


@real
def test_luad_lists_the_nine_cases_of_its_folds_that_have_no_label() -> None:
    folds = real_folds("luad")
    (unlabelled,) = [f for f in folds.findings if f.code == "fold_ids_unlabelled"]
    assert unlabelled.count == 9
    assert all(i.startswith("TCGA-05-") for i in unlabelled.examples)
    assert sum(len(s.test) for s in folds.splits) == 444
    assert sum(len(s.test) for s in real_folds("luad", "mcat").splits) == 453


@real
def test_coad_lists_zero_times_and_the_four_patients_that_are_never_tested() -> None:
    found = codes(real_folds("coad"))
    assert (found["fold_ids_excluded"], found["never_tested"]) == (23, 4)


@real
def test_ucec_has_fifteen_events_in_every_test_set() -> None:
    labels = read_labels(find_labels(DATA / "crossfusion", "ucec"), "ucec").by_id
    assert [sum(labels[i].event for i in s.test) for s in real_folds("ucec").splits] == [15] * 5
