"""Folds that preserve sites, folds that repeat, and folds that are kept: each with what it promises."""

import itertools
import json
import time
from collections import Counter
from pathlib import Path

import pytest
from checkout import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.datasets.folds.read import Folds, read_splits, stratified_folds
from milsurv.datasets.folds.site_preserving import shared_sites, site_preserving_folds
from milsurv.datasets.folds.write import save_folds
from milsurv.datasets.labels.read import Counts, Labels, fingerprint_of_patients, read_labels
from milsurv.datasets.layout import find_labels
from milsurv.datasets.patient import Patient
from milsurv.errors import DataError

DATA = SHARED / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the public label tables are not beside this checkout")

KINDS = {"stratified": stratified_folds, "site-preserving": site_preserving_folds}


def labels_of(rows: list[tuple[str, bool]], times: list[float] | None = None) -> Labels:
    """Patients of (site, died)."""
    patients = tuple(
        Patient(f"p{i:04}", times[i] if times else float(i + 1), died, site, (f"s{i:04}",))
        for i, (site, died) in enumerate(rows)
    )
    n = len(patients)
    counts = Counts(n, n, sum(p.event for p in patients), 0, 1)
    return Labels("mine", patients, (), fingerprint_of_patients(patients), "labels.csv", False, None, counts, {})


def loads(folds: Folds, labels: Labels) -> list[tuple[int, int]]:
    """(events, patients) of every test set."""
    return [(sum(labels.by_id[i].event for i in s.test), len(s.test)) for s in folds.splits]


rows = st.lists(st.tuples(st.sampled_from("ABCDEFGHIJKL"), st.booleans()), min_size=20, max_size=150)


@given(rows, st.integers(2, 5), st.integers(0, 1000), st.integers(1, 2))
@settings(max_examples=12, deadline=None)
def test_no_site_lies_in_two_test_parts_and_everybody_is_tested_once_a_repeat(
    patients: list[tuple[str, bool]], k: int, seed: int, repeats: int
) -> None:
    labels = labels_of(patients)
    able = len({site for site, died in patients if died})
    if able < k:
        with pytest.raises(DataError, match="too few for"):
            site_preserving_folds(labels, k, seed, repeats)
        return
    folds = site_preserving_folds(labels, k, seed, repeats)
    assert len(folds.splits) == k * repeats and [s.fold for s in folds.splits] == list(range(k * repeats))
    for repeat in range(repeats):
        splits = [s for s in folds.splits if folds.repeat_of(s.fold) == repeat]
        homes = Counter(site for s in splits for site in {labels.by_id[i].site for i in s.test})
        assert set(homes.values()) == {1}
        assert Counter(i for s in splits for i in s.test) == Counter(list(labels.by_id))
    for split in folds.splits:
        assert shared_sites(split, labels) == 0
        assert any(labels.by_id[i].event for i in split.test)
        assert sorted(split.train + split.test) == sorted(labels.by_id)
    assert site_preserving_folds(labels, k, seed, repeats) == folds


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 15)), min_size=5, max_size=8), st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_few_sites_are_divided_as_well_as_any_search_over_all_divisions(
    sites: list[tuple[int, int]], seed: int
) -> None:
    patients = [(f"{n:02}", i < died) for n, (died, censored) in enumerate(sites) for i in range(died + censored)]
    labels = labels_of(patients)

    def cost(parts: list[tuple[int, int]]) -> float:
        events, people = sum(e for e, _ in parts) / 3, sum(n for _, n in parts) / 3
        return sum((e / events - 1) ** 2 + (n / people - 1) ** 2 for e, n in parts)

    def parts(seats: tuple[int, ...]) -> list[tuple[int, int]]:
        inside = [[s for s, seat in zip(sites, seats, strict=True) if seat == f] for f in range(3)]
        return [(sum(d for d, _ in own), sum(d + c for d, c in own)) for own in inside]

    possible = [parts(seats) for seats in itertools.product(range(3), repeat=len(sites))]
    best = min(cost(p) for p in possible if all(e for e, _ in p))
    assert cost(loads(site_preserving_folds(labels, 3, seed), labels)) == pytest.approx(best, abs=1e-9)


def test_a_thousand_patients_of_two_hundred_sites_are_divided_evenly_in_seconds() -> None:
    patients = [(f"{i * i % 199:03}", i % 6 == 0) for i in range(1000)]
    labels = labels_of(patients)
    start = time.perf_counter()
    folds = site_preserving_folds(labels)
    assert time.perf_counter() - start < 10
    events, sizes = zip(*loads(folds, labels), strict=True)
    assert max(events) - min(events) <= 1 and max(sizes) - min(sizes) <= 1


def test_quality_is_reported_beside_the_stratified_division() -> None:
    labels = labels_of([(f"{i % 12:02}", i % 3 == 0) for i in range(120)])
    (found,) = site_preserving_folds(labels, 4).findings
    assert found.code == "site_balance"
    assert found.message == (
        "site-preserving folds: 10 to 10 events and 30 to 30 patients a fold, 0 to 0 % of test patients from a site of "
        "train; stratified folds: 10 to 10 events and 30 to 30 patients a fold, 100 to 100 % of test patients from a "
        "site of train"
    )


def test_sites_that_cannot_be_known_or_divided_are_refused_or_listed() -> None:
    with pytest.raises(DataError, match="no patient has a tissue source site"):
        site_preserving_folds(labels_of([("", True)] * 30))
    with pytest.raises(DataError, match="only 2 sites have events, too few for 5 folds: use at most 2"):
        site_preserving_folds(labels_of([("A", True), ("B", True), ("C", False)] * 10))
    folds = site_preserving_folds(labels_of([("ABCDEF"[i % 6] if i % 10 else "", i % 2 == 0) for i in range(60)]), 3)
    assert {f.code: f.count for f in folds.findings}["site_unknown"] == 6


@real
@pytest.mark.parametrize(("name", "events"), [("blca", 2), ("coadread", 0), ("gbmlgg", 7), ("luad", 3), ("ucec", 0)])
def test_real_cohorts_are_divided_evenly_between_sites(name: str, events: int) -> None:
    folder = DATA / ("porpoise" if name in {"brca", "gbmlgg"} else "crossfusion")
    labels = read_labels(find_labels(folder, name), name)
    found = [e for e, _ in loads(site_preserving_folds(labels), labels)]
    assert max(found) - min(found) <= events


@pytest.mark.parametrize("kind", KINDS)
def test_repeats_divide_anew_and_the_first_is_that_without_repeats(kind: str) -> None:
    labels = labels_of([(f"{i % 24:02}", i % 3 == 0) for i in range(120)])
    once, thrice = KINDS[kind](labels, 4, 7), KINDS[kind](labels, 4, 7, 3)
    assert thrice.splits[:4] == once.splits
    assert (thrice.k, thrice.repeats, thrice.name) == (4, 3, f"{kind}-4x3-seed7")
    assert len({s.test for s in thrice.splits}) == 12
    assert [thrice.repeat_of(f) for f in (0, 3, 4, 11)] == [0, 0, 1, 2]
    with pytest.raises(ValueError, match="repeats is at least 1"):
        KINDS[kind](labels, 4, 7, 0)


def test_few_sites_leave_no_room_for_repeats_and_that_is_said() -> None:
    labels = labels_of([("AB"[i % 2], i % 3 == 0) for i in range(60)])
    assert "repeats_alike" in {f.code for f in site_preserving_folds(labels, 2, 0, 2).findings}


@pytest.fixture
def labels() -> Labels:
    return labels_of([(f"{i % 24:02}", i % 3 == 0) for i in range(120)])


@pytest.mark.parametrize("kind", KINDS)
def test_saved_folds_are_read_back_as_they_were(tmp_path: Path, labels: Labels, kind: str) -> None:
    folds = KINDS[kind](labels, 4, 1, 2)
    save_folds(folds, labels, tmp_path / "folds")
    back = read_splits(tmp_path / "folds", labels)
    assert (back.splits, back.name, back.fingerprint) == (folds.splits, folds.name, folds.fingerprint)
    assert (back.kind, back.repeats, back.seed, back.findings) == (kind, 2, 1, ())
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "folds").iterdir()}
    save_folds(folds, labels, tmp_path / "folds")
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "folds").iterdir()}
    assert not [p for p in tmp_path.iterdir() if p.name != "folds"]


def test_labels_that_changed_since_are_noticed(tmp_path: Path, labels: Labels) -> None:
    folds = stratified_folds(labels)
    save_folds(folds, labels, tmp_path / "folds")
    moved = labels_of([(p.site, p.event) for p in labels.patients], [p.time + 0.5 for p in labels.patients])
    (found,) = read_splits(tmp_path / "folds", moved).findings
    assert (found.code, found.severity) == (
        "labels_changed",
        "warning",
    ) and "120 patients and 40 events" in found.message
    more = labels_of([*((p.site, p.event) for p in labels.patients), ("00", False)])
    codes = {f.code for f in read_splits(tmp_path / "folds", more).findings}
    assert codes == {"labels_changed", "patients_in_no_fold"}
    slides = tuple(Patient(p.id, p.time, p.event, p.site, (*p.slides, f"{p.id}-x")) for p in labels.patients)
    other = Labels("mine", slides, (), fingerprint_of_patients(slides), "", False, None, labels.table_counts, {})
    (found,) = read_splits(tmp_path / "folds", other).findings
    assert (found.code, found.severity) == ("slides_changed", "info")


def test_folds_that_were_edited_lose_their_name(tmp_path: Path, labels: Labels) -> None:
    save_folds(stratified_folds(labels), labels, tmp_path / "mine")
    path = tmp_path / "mine" / "splits_2.csv"
    path.write_text(path.read_text().replace("p0007", "", 1))
    folds = read_splits(tmp_path / "mine", labels)
    assert folds.name == "mine" and "folds_edited" in {f.code for f in folds.findings}


def test_saving_replaces_our_folds_and_nothing_else(tmp_path: Path, labels: Labels) -> None:
    save_folds(stratified_folds(labels, 5), labels, tmp_path / "folds")
    save_folds(stratified_folds(labels, 3), labels, tmp_path / "folds")
    assert sorted(p.name for p in (tmp_path / "folds").iterdir()) == [
        "folds.json", "splits_0.csv", "splits_1.csv", "splits_2.csv"]  # fmt: skip
    (tmp_path / "folds" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="holds other files than folds of milsurv"):
        save_folds(stratified_folds(labels, 4), labels, tmp_path / "folds")
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "splits_0.csv").write_text(",train,val\n0,a,b\n")
    with pytest.raises(DataError, match="holds other files than folds of milsurv"):
        save_folds(stratified_folds(labels, 4), labels, tmp_path / "public")


@pytest.mark.parametrize("change", [{"version": 9}, {"k": 0}, {"repeats": "2"}, {"surprise": 1}, {"format": "x"}])
def test_a_note_that_cannot_be_read_is_refused_and_named(tmp_path: Path, labels: Labels, change: dict) -> None:
    save_folds(stratified_folds(labels), labels, tmp_path / "folds")
    path = tmp_path / "folds" / "folds.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"folds\.json .*delete it, the folds stay readable"):
        read_splits(tmp_path / "folds", labels)
