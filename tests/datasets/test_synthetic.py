"""The simulated cohort: the size of the real cohort, a hazard that can be found, and no doubt that it was simulated."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.datasets import cohorts
from milsurv.datasets.bags import Bags
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.folds.read import stratified_folds
from milsurv.datasets.labels.read import Labels, read_labels
from milsurv.datasets.layout import find_features, find_labels
from milsurv.datasets.simulated.cohort import simulate_cohort
from milsurv.datasets.simulated.patients import follow, size_of, slides_per_patient
from milsurv.datasets.simulated.tissue import SIDE, draw_tissue
from milsurv.datasets.truth import read_truth
from milsurv.errors import DataError
from milsurv.survival.concordance import c_index
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_censored


def draw(folder: Path, cohort: str = "blca", dim: int = 32, **options: object) -> tuple[Path, Labels, Bags]:
    cohort_folder = simulate_cohort(cohort, "drawn", folder, dim=dim, **options)  # type: ignore[arg-type]
    labels = read_labels(cohort_folder / "labels.csv", cohort)
    return cohort_folder, labels, Bags(open_features(cohort_folder), labels.patients, (5, 10, 20))


@pytest.fixture(scope="module")
def strong(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Labels, Bags]:
    return draw(tmp_path_factory.mktemp("simulated") / "blca")


@pytest.fixture(scope="module")
def none(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Labels, Bags]:
    return draw(tmp_path_factory.mktemp("simulated") / "none", strength="none")


def pooled_cox(labels: Labels, bags: Bags, magnification: int) -> float:
    """C-index over five folds of a Cox model on eight principal components of the mean patch: as crude as can be."""
    means = np.stack([bags[p.id].features[magnification].astype(np.float32).mean(axis=0) for p in labels.patients])
    row = {p.id: i for i, p in enumerate(labels.patients)}
    event = np.array([p.event for p in labels.patients])
    time = np.array([p.time for p in labels.patients])
    outcome = np.array(list(zip(event, time, strict=True)), dtype=[("event", bool), ("time", float)])
    scores = []
    for split in stratified_folds(labels).splits:
        train, test = ([row[i] for i in part] for part in (split.train, split.test))
        centre = means[train].mean(axis=0)
        axes = np.linalg.svd(means[train] - centre, full_matrices=False)[2][:8]
        x = (means - centre) @ axes.T
        x /= x[train].std(axis=0)
        risk = CoxPHSurvivalAnalysis(alpha=1).fit(x[train], outcome[train]).predict(x[test])
        scores.append(c_index(time[test], event[test], risk))
    return float(np.mean(scores))


def test_a_simulated_cohort_has_the_patients_slides_events_and_follow_up_of_its_cohort(
    strong: tuple[Path, Labels, Bags],
) -> None:
    _, labels, bags = strong
    blca = cohorts.get("blca")
    counts = labels.counts
    assert (counts.patients, counts.slides, counts.events) == (blca.patients, blca.slides, blca.events)
    assert (counts.multi_slide_patients, counts.max_slides) == (blca.multi_slide_patients, blca.max_slides)
    assert np.median([p.time for p in labels.patients]) == pytest.approx(blca.median_months, rel=0.01)
    assert len({p.site for p in labels.patients}) > 5
    assert bags.check() == ()


def test_a_simulated_cohort_is_marked_in_its_table_its_features_and_its_names(
    strong: tuple[Path, Labels, Bags],
) -> None:
    cohort_folder, labels, bags = strong
    assert labels.synthetic
    assert bags.reader.synthetic
    assert all(p.id.startswith("SYNT-") and all(s.startswith("SYNT-") for s in p.slides) for p in labels.patients)
    truth = read_truth(cohort_folder)
    assert truth is not None
    assert labels.oracle == truth.risk
    assert "risk" not in (cohort_folder / "labels.csv").read_text()


def test_the_mark_survives_a_table_that_was_copied_away_from_its_truth(
    strong: tuple[Path, Labels, Bags], tmp_path: Path
) -> None:
    (tmp_path / "copy.csv").write_bytes((strong[0] / "labels.csv").read_bytes())
    copy = read_labels(tmp_path / "copy.csv", "blca")
    assert copy.synthetic
    assert copy.oracle is None
    assert "oracle_missing" in {f.code for f in copy.findings}


def test_the_oracle_is_the_concordance_of_the_true_risk_with_what_was_written(
    strong: tuple[Path, Labels, Bags],
) -> None:
    cohort_folder, labels, _ = strong
    assert labels.oracle is not None
    event, time = [p.event for p in labels.patients], [p.time for p in labels.patients]
    risk = [labels.oracle[p.id] for p in labels.patients]
    expected = concordance_index_censored(event, time, risk)[0]
    truth = read_truth(cohort_folder)
    assert truth is not None
    assert truth.oracle_c_index == pytest.approx(expected, abs=1e-9)
    assert 0.80 < truth.oracle_c_index < 0.90


@pytest.mark.parametrize(("magnification", "within"), [(20, 0.02), (10, 0.03), (5, 0.06)])
def test_a_crude_linear_model_comes_close_to_the_oracle_at_every_scale(
    strong: tuple[Path, Labels, Bags], magnification: int, within: float
) -> None:
    cohort_folder, labels, bags = strong
    truth = read_truth(cohort_folder)
    assert truth is not None
    assert pooled_cox(labels, bags, magnification) > truth.oracle_c_index - within


def test_without_a_hazard_the_same_model_finds_nothing(none: tuple[Path, Labels, Bags]) -> None:
    cohort_folder, labels, bags = none
    truth = read_truth(cohort_folder)
    assert truth is not None
    assert truth.oracle_c_index == 0.5
    assert abs(pooled_cox(labels, bags, 20) - 0.5) < 0.06


def test_scales_nest_exactly_and_rows_follow_the_coordinates(strong: tuple[Path, Labels, Bags]) -> None:
    _, labels, bags = strong
    one_slide = [p for p in labels.patients if len(p.slides) == 1][:20]
    for patient in one_slide:
        coords = {m: c for m, c in bags[patient.id].coords.items() if c is not None}
        for child, parent in ((10, 5), (20, 10)):
            origin = coords[5].min(axis=0)
            corner = (coords[child] - origin) // SIDE[parent] * SIDE[parent] + origin
            inside, count = np.unique(corner, axis=0, return_counts=True)
            assert (count == 4).all()
            assert {tuple(c) for c in inside} == {tuple(c) for c in coords[parent]}
        for c in coords.values():
            assert (np.lexsort((c[:, 0], c[:, 1])) == np.arange(len(c))).all()


def test_a_simulated_cohort_is_used_again_and_another_replaces_it(tmp_path: Path) -> None:
    options = {"patients": 30, "dim": 8}
    cohort_folder, labels, _ = draw(tmp_path / "simulated", **options)  # type: ignore[arg-type]
    before = (cohort_folder / "labels.csv").stat().st_mtime_ns
    draw(tmp_path / "simulated", **options)  # type: ignore[arg-type]
    assert (cohort_folder / "labels.csv").stat().st_mtime_ns == before
    _, other, _ = draw(tmp_path / "simulated", seed=1, **options)  # type: ignore[arg-type]
    assert other.fingerprint != labels.fingerprint
    next((cohort_folder / "features" / "drawn").glob("*.h5")).unlink()
    assert draw(tmp_path / "simulated", seed=1, **options)[2].check() == ()  # type: ignore[arg-type]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["simulated"], "nothing unfinished is left behind"


def test_the_same_seed_draws_the_same_bytes_and_backbones_share_their_patients(tmp_path: Path) -> None:
    one, two = (draw(tmp_path / name, patients=20, dim=8) for name in ("one", "two"))
    slides = [s for p in one[1].patients for s in p.slides]
    assert one[2].reader.fingerprint(slides) == two[2].reader.fingerprint(slides)
    simulate_cohort("blca", "resnet50", tmp_path / "three", patients=20)
    assert read_labels(tmp_path / "three" / "labels.csv", "blca").fingerprint == one[1].fingerprint


def test_a_folder_with_other_things_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="holds other files"):
        draw(tmp_path, patients=20)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_simulated_cohort_is_found_like_any_cohort_in_a_data_folder(tmp_path: Path) -> None:
    draw(tmp_path / "blca", patients=20, dim=8)
    assert read_labels(find_labels(tmp_path, "blca"), "blca").synthetic
    features_path = find_features(tmp_path, "blca")
    assert features_path is not None
    assert open_features(features_path, "drawn").synthetic


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}', '{"format": "milsurv-synthetic-twin"}'])
def test_a_damaged_truth_is_a_data_error(tmp_path: Path, text: str) -> None:
    draw(tmp_path / "simulated", patients=20, dim=8)
    (tmp_path / "simulated" / "truth.json").write_text(text)
    with pytest.raises(DataError, match=r"truth\.json"):
        read_labels(tmp_path / "simulated" / "labels.csv", "blca")


def test_progress_counts_the_slides(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    _, labels, _ = draw(
        tmp_path / "simulated", patients=20, dim=8, progress=lambda done, total: seen.append((done, total))
    )
    total = labels.counts.slides
    assert seen == [(i + 1, total) for i in range(total)]


def test_unknown_strengths_widths_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown strength 'huge'\. Known: none"):
        simulate_cohort("blca", "uni", tmp_path / "t", strength="huge")
    with pytest.raises(DataError, match="uni is 1024 wide, not 7"):
        simulate_cohort("blca", "uni", tmp_path / "t", dim=7)
    with pytest.raises(DataError, match="would lead out"):
        simulate_cohort("blca", "../x", tmp_path / "t", dim=7)


@given(st.integers(10, 300), st.integers(0, 2**31), st.floats(0, 4), st.data())
@settings(max_examples=50, deadline=None)
def test_exactly_the_wanted_number_of_patients_die(n: int, seed: int, hazard: float, data: st.DataObject) -> None:
    events = data.draw(st.integers(1, n))
    rng = np.random.default_rng(seed)
    time, event = follow(rng, hazard * rng.standard_normal(n), events, 20.0)
    assert event.sum() == events
    assert (time > 0).all()


@given(st.sampled_from(list(cohorts.COHORTS.values())), st.integers(10, 1200), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_simulated_cohorts_of_any_size_keep_their_counts(cohort: cohorts.Cohort, patients: int, seed: int) -> None:
    size = size_of(cohort, patients)
    slides = slides_per_patient(np.random.default_rng(seed), size)
    assert (len(slides), slides.sum(), (slides > 1).sum()) == (size.patients, size.slides, size.multi)
    assert slides.max() == size.most <= cohort.max_slides


@given(st.integers(0, 2**31), st.floats(-2, 2), st.floats(1, 12))
@settings(max_examples=40, deadline=None)
def test_tissue_is_connected_and_holds_what_it_says(seed: int, tendency: float, cells: float) -> None:
    tissue = draw_tissue(np.random.default_rng(seed), tendency, cells)
    assert [len(tissue.coords[m]) / len(tissue.coords[5]) for m in (5, 10, 20)] == [1, 4, 16]
    assert (tissue.latent[:, 5].astype(bool) == tissue.aggressive).all()
    todo = {tuple(c) for c in (tissue.coords[5] - tissue.coords[5].min(axis=0)) // SIDE[5]}
    edge = [todo.pop()]
    while edge:
        x, y = edge.pop()
        near = todo & {(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)}
        todo -= near
        edge += near
    assert not todo


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 6), st.integers(0, 4)), min_size=2, max_size=30).filter(
        lambda rows: len({t for e, t, _ in rows if e}) and max(t for _, t, _ in rows) > min(t for e, t, _ in rows if e)
    )
)
@settings(max_examples=100)
def test_the_concordance_is_that_of_scikit_survival(rows: list[tuple[bool, int, int]]) -> None:
    event, time, risk = (np.array(column) for column in zip(*rows, strict=True))
    expected = concordance_index_censored(event.astype(bool), time.astype(float), risk.astype(float))[0]
    assert c_index(time, event.astype(bool), risk.astype(float)) == pytest.approx(expected)


def test_the_truth_says_how_it_was_drawn(strong: tuple[Path, Labels, Bags]) -> None:
    content = json.loads((strong[0] / "truth.json").read_text())
    assert content["parameters"]["strength"] == 1.5
    assert content["parameters"]["cohort"] == "blca"
    assert "Drawn, not observed" in content["note"]
