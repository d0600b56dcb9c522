"""Several slides per patient as a factor: units never cross patients, and predictions find their way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milsurv.datasets.folds.read import cut_validation, stratified_folds
from milsurv.datasets.labels.read import Labels, counts_of, fingerprint_of_patients
from milsurv.datasets.labels.several_slides import MODES, select_slides
from milsurv.datasets.patient import Patient
from milsurv.errors import DataError


def labels_of(slides: list[int]) -> Labels:
    patients = tuple(
        Patient(f"TCGA-AA-{i:04}", i + 1.0, i % 2 == 0, "AA",
                tuple(f"TCGA-AA-{i:04}-01Z-00-DX{k + 1}.x" for k in range(n)))
        for i, n in enumerate(slides)
    )  # fmt: skip
    return Labels("mine", patients, (), fingerprint_of_patients(patients), "labels.csv", False,
                  {p.id: p.time for p in patients}, counts_of(patients), {})  # fmt: skip


several = st.lists(st.integers(1, 4), min_size=10, max_size=30)


@given(several, st.sampled_from(list(MODES)))
def test_folds_of_patients_become_folds_of_units_that_share_no_patient(slides: list[int], mode: str) -> None:
    labels = labels_of(slides)
    units = select_slides(labels, mode)
    for split in stratified_folds(labels, 3).splits:
        train, val = cut_validation(split.train, labels, 0.3, 0)
        cut = units.split(type(split)(split.fold, train, val, split.test))
        owners = [{units.owner[u] for u in part} for part in (cut.train, cut.val, cut.test)]
        assert owners == [set(train), set(val), set(split.test)]
        assert set(cut.train) <= units.labels.by_id.keys()
    by_id = units.labels.by_id
    for unit, patient in units.owner.items():
        assert (by_id[unit].time, by_id[unit].event) == (labels.by_id[patient].time, labels.by_id[patient].event)
        assert set(by_id[unit].slides) <= set(labels.by_id[patient].slides)
        assert units.labels.oracle is not None and units.labels.oracle[unit] == labels.by_id[patient].time


@given(several)
def test_each_mode_holds_the_slides_that_it_says(slides: list[int]) -> None:
    labels = labels_of(slides)
    every = {s for p in labels.patients for s in p.slides}
    held = {mode: [s for p in select_slides(labels, mode).labels.patients for s in p.slides] for mode in MODES}
    assert set(held["concat"]) == set(held["mean-risk"]) == set(held["slide"]) == every
    assert held["first-dx"] == [f"{p.id}-01Z-00-DX1.x" for p in labels.patients]
    assert select_slides(labels, "concat").labels is labels
    assert [select_slides(labels, mode).level for mode in MODES] == ["patient", "patient", "patient", "slide"]


@given(several, st.integers(0, 99))
def test_the_mean_over_slides_is_the_prediction_of_the_patient(slides: list[int], seed: int) -> None:
    labels, rng = labels_of(slides), np.random.default_rng(seed)
    units = select_slides(labels, "mean-risk")
    ids = list(rng.permutation(units.of(labels.by_id)))
    risk, survival = rng.normal(size=len(ids)), rng.random((len(ids), 4))
    patients, mean = units.aggregate(ids, risk)
    again, curves = units.aggregate(ids, survival)
    assert patients == again and sorted(patients) == sorted(labels.by_id) and curves.shape == (len(patients), 4)
    for patient, value, curve in zip(patients, mean, curves, strict=True):
        own = [i for i, unit in enumerate(ids) if units.owner[unit] == patient]
        assert value == pytest.approx(risk[own].mean())
        assert curve == pytest.approx(survival[own].mean(axis=0))


@pytest.mark.parametrize("mode", ["concat", "first-dx", "slide"])
def test_other_modes_leave_predictions_as_they_are(mode: str) -> None:
    units = select_slides(labels_of([1, 2, 3]), mode)
    ids = tuple(units.owner)
    risk = np.arange(float(len(ids)))
    assert units.aggregate(ids, risk) == (ids, risk)
    with pytest.raises(ValueError, match="predictions"):
        units.aggregate(ids, risk[:-1])


def test_the_first_diagnostic_slide_is_the_one_with_the_lowest_number() -> None:
    slides = ("TCGA-AA-0000-01A-01-TSA.a", "TCGA-AA-0000-01Z-00-DX2.b", "TCGA-AA-0000-01Z-00-DX1.z")
    frozen = ("TCGA-AA-0001-01A-01-BS1.a",)
    patients = tuple(Patient(s[0][:12], 1.0, True, "AA", s) for s in (slides, frozen))
    labels = Labels("mine", patients, (), "", "labels.csv", False, None, counts_of(patients), {})
    units = select_slides(labels, "first-dx")
    assert [p.slides for p in units.labels.patients] == [("TCGA-AA-0000-01Z-00-DX1.z",), frozen]
    assert {f.code: f.count for f in units.findings} == {"slides_not_first": 2, "no_diagnostic_slide": 1}


def test_unknown_modes_and_labels_without_slides_are_refused() -> None:
    with pytest.raises(DataError, match=r"'first'\. Did you mean first-dx\? Known: concat, first-dx, mean-risk, slide"):
        select_slides(labels_of([1]), "first")
    with pytest.raises(DataError, match="names no slides"):
        select_slides(labels_of([0, 0]), "concat")
