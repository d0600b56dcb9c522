"""Planted cohorts: the hazard lives where the name says, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.planning.resolve import resolve, strength_of
from milsurv.benchmark.run import Quiet, run
from milsurv.datasets.bags import Bags
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.labels.read import read_labels
from milsurv.datasets.simulated import planted
from milsurv.datasets.simulated.cohort import planted_patches, simulate_cohort
from milsurv.datasets.truth import read_truth
from milsurv.errors import DataError, UnknownName, UsageError
from milsurv.survival.concordance import c_index

SITES = [f"S{k}" for k in range(12)]


def drawn(kind: str, patients: int = 400, seed: int = 0) -> tuple[list[list[planted.Section]], np.ndarray]:
    rng = np.random.default_rng(seed)
    return planted.plant(
        rng, kind, [SITES[i % 12] for i in range(patients)], [1 + (i % 7 == 0) for i in range(patients)], 2.5
    )


def contents(sections: list[planted.Section]) -> tuple[tuple, tuple]:
    """What 5x and 20x tell of a patient, apart from noise: shares by kind of tissue."""
    tissue = np.concatenate([s.tissue for s in sections])
    region = np.concatenate([s.region for s in sections])
    fine = np.concatenate([s.fine.reshape(-1, 16).sum(axis=1) for s in sections])
    return (
        tuple(float(region[tissue == k].mean()) for k in range(2)),
        tuple(float(fine[tissue == k].mean()) for k in range(2)),
    )


@pytest.mark.parametrize("kind", planted.KINDS)
def test_both_kinds_of_tissue_fill_half_of_every_slide_and_scales_nest(kind):
    for sections in drawn(kind, 40)[0]:
        for section in sections:
            assert (section.tissue == 0).sum() == (section.tissue == 1).sum()
            for coarse, fine, side in ((5, 10, 1024), (10, 20, 512)):
                parents = np.repeat(section.coords[coarse], 4, axis=0)
                offset = section.coords[fine] - parents
                assert ((offset == 0) | (offset == side)).all()


def test_co_location_leaves_every_single_scale_as_it_is():
    patients, score = drawn("cross", 4000)
    shown = [contents(sections) for sections in patients]
    for scale in (0, 1):
        for content in {t[scale] for t in shown}:
            share = score[[t[scale] == content for t in shown]].mean()
            assert abs(share - 0.5) < 0.05, "what one scale shows must not tell the hazard"
    both = {t: set() for t in shown}
    for t, value in zip(shown, score, strict=True):
        both[t].add(value)
    assert all(len(values) == 1 for values in both.values()), "two scales together tell it exactly"


def test_total_amounts_are_the_same_for_every_patient_where_the_hazard_is_not_in_them():
    for kind in ("cross", "site", "null"):
        for sections in drawn(kind, 60)[0]:
            region, fine = contents(sections)
            assert sum(region) == 1
            assert sum(fine) == planted.FEW + planted.MANY


def test_each_score_follows_from_its_own_scale_and_from_no_other():
    for kind, own in (("coarse", 0), ("fine", 1)):
        patients, score = drawn(kind)
        shown = np.array([[sum(part) for part in contents(sections)] for sections in patients])
        assert np.corrcoef(shown[:, own], score)[0, 1] > 0.999
        assert shown[:, 1 - own].std() < 1e-9


def test_only_5x_shows_the_region_and_only_20x_the_fine_pattern():
    section = drawn("cross", 1)[0][0][0]
    shown = {m: planted.latent(np.random.default_rng(0), section, m) for m in (5, 10, 20)}
    region, fine = slice(planted.REGION, planted.FINE), slice(planted.FINE, planted.FINE + planted.TISSUES)
    assert {m for m in shown if shown[m][:, region].any()} == {5}
    assert {m for m in shown if shown[m][:, fine].any()} == {20}


def test_the_site_is_written_in_the_stain_and_the_hazard_in_the_site_alone():
    patients, score = drawn("site")
    for k, site in enumerate(SITES):
        assert len(set(score[k::12])) == 1, site
    stain = np.array([np.mean([s.stain for s in sections], axis=0) for sections in patients])
    means = np.array([stain[k::12].mean(axis=0) for k in range(12)])
    nearest = np.array([np.argmin(((means - row) ** 2).sum(axis=1)) for row in stain])
    assert (nearest == np.arange(len(stain)) % 12).mean() > 0.95


@given(kind=st.sampled_from(planted.KINDS), seed=st.integers(0, 2**31), cells=st.floats(0, 12))
@settings(max_examples=25, deadline=None)
def test_any_draw_gives_finite_features_with_a_row_for_every_coordinate(kind, seed, cells):
    rng = np.random.default_rng(seed)
    sections, score = planted.plant(rng, kind, SITES, [1] * 12, cells)
    features, coords = planted.show(rng, sections[0][0], planted.weights_of(seed, 8))
    assert np.isfinite(score).all()
    for m in (5, 10, 20):
        assert np.isfinite(features[m]).all()
        assert features[m].shape == (len(coords[m]), 8)
        assert len(np.unique(coords[m], axis=0)) == len(coords[m])


def test_a_planted_cohort_is_drawn_whole_with_its_oracle(tmp_path):
    folder = simulate_cohort("planted-fine", "drawn", tmp_path / "fine", dim=16, patients=60, cells=2.5)
    labels = read_labels(folder / "labels.csv", "planted-fine")
    truth = read_truth(folder)
    assert truth is not None
    assert labels.synthetic
    assert (labels.counts.patients, labels.counts.events) == (60, 36)
    risk = np.array([truth.risk[p.id] for p in labels.patients])
    time, event = np.array([p.time for p in labels.patients]), np.array([p.event for p in labels.patients])
    assert truth.oracle_c_index == pytest.approx(c_index(time, event, risk))
    assert Bags(open_features(folder), labels.patients, (5, 10, 20)).check() == ()


def test_another_draw_is_another_cohort_and_the_same_draw_the_same(tmp_path):
    texts = [
        (
            simulate_cohort("planted-null", "drawn", tmp_path / str(k), seed=s, dim=8, patients=30) / "labels.csv"
        ).read_bytes()
        for k, s in enumerate((0, 0, 1))
    ]
    assert texts[0] == texts[1] != texts[2]


def test_without_a_planted_hazard_all_risks_are_equal(tmp_path):
    truth = read_truth(simulate_cohort("planted-null", "drawn", tmp_path / "null", dim=8, patients=30))
    assert truth is not None
    assert set(truth.risk.values()) == {0.0}
    assert truth.oracle_c_index == 0.5


def test_a_planted_cohort_needs_no_features_to_be_named(tmp_path):
    request = Request("site-only", "planted-site", patients=80, folds=2, out=tmp_path)
    result = run(request, Quiet(), "none")
    assert request.simulated
    assert result.experiment.synthetic
    assert 0.55 < (result.summary()["mean"]["selected"] or 0) <= 1


def test_draws_and_sizes_shape_drawn_cohorts_only():
    with pytest.raises(UsageError, match="--cohort-seed"):
        resolve(Request("abmil", "brca", cohort_seed=3))


@pytest.mark.parametrize("name", ["planted-cross", "Planted-Cross", "PLANTED-CROSS"])
def test_however_it_is_spelled_a_planted_cohort_has_its_own_hazard(name):
    assert strength_of(Request("abmil", name)) == "stronger"


def test_a_misspelled_planted_cohort_is_guessed():
    with pytest.raises((UnknownName, UsageError), match="Did you mean planted-fine"):
        load(Request("abmil", "planted-fin"))


def test_the_patches_that_hold_the_pattern_are_known_in_the_order_of_the_features(tmp_path, cohort_folder):
    folder = simulate_cohort("planted-fine", "planted", tmp_path / "p", patients=40, cells=2.5, dim=64)
    found, truth, reader = planted_patches(folder), read_truth(folder), open_features(folder / "features")
    assert found.keys() == reader.slides and truth is not None
    for slide, patterns in found.items():
        assert {m: len(x) for m, x in patterns.items()} == {m: reader.counts(slide)[m] for m in (5, 20)}
    share = {slide[:12]: patterns[20].mean() for slide, patterns in found.items()}
    ranks = np.argsort(np.argsort([[share[i], truth.risk[i]] for i in sorted(share)], axis=0, kind="stable"), axis=0)
    assert np.corrcoef(ranks.T)[0, 1] > 0.99
    features = np.concatenate([reader.read(slide, 20)[0].astype(float) for slide in sorted(found)])
    holds = np.concatenate([found[slide][20] for slide in sorted(found)])
    fitted = (
        np.c_[features, np.ones(len(features))] @ np.linalg.lstsq(np.c_[features, np.ones(len(features))], holds)[0]
    )
    assert fitted[holds].mean() - fitted[~holds].mean() > 0.5
    with pytest.raises(DataError, match="planted"):
        planted_patches(cohort_folder)
