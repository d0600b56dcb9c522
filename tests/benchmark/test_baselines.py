"""Baselines know no patch, learn from the training set alone, and stand on the board as every model does."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkout import SHARED
from milsurv.benchmark.baselines.covariates import fit_columns
from milsurv.benchmark.baselines.fit import check_baseline, fit_baseline
from milsurv.benchmark.baselines.registry import BASELINES, DEFAULT_COVARIATES
from milsurv.benchmark.cohort_data import CohortData
from milsurv.benchmark.cross_validation.cross_validate import cross_validate
from milsurv.benchmark.experiment import Experiment
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.results.finished import Finished
from milsurv.benchmark.run import Quiet
from milsurv.datasets.folds.read import read_splits, stratified_folds
from milsurv.datasets.labels.read import read_labels
from milsurv.datasets.labels.several_slides import Units
from milsurv.datasets.patient import Patient
from milsurv.errors import DataError, UsageError
from milsurv.leaderboards.publish import gather
from milsurv.leaderboards.result_row import parse_row
from milsurv.survival.cox import CannotFit, fit_cox
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

DATA = SHARED / "data"
TABLES = {
    "blca": "crossfusion/tcga_blca_all_clean.csv.zip",
    "brca": "porpoise/tcga_brca_all_clean.csv.zip",
    "luad": "crossfusion/tcga_luad_all_clean.csv.zip",
}


def labels_of(n=120, seed=0, effect=1.0):
    """Labels in which age carries the hazard."""
    import milsurv.datasets.labels.read as room

    rng = np.random.default_rng(seed)
    age, sex = rng.normal(60, 10, n), rng.integers(0, 2, n)
    death = rng.exponential(30 * np.exp(-effect * (age - 60) / 10)) + 0.1
    censored = rng.exponential(40, n) + 0.1
    patients = tuple(
        Patient(
            f"P{i:03d}",
            float(min(death[i], censored[i])),
            bool(death[i] <= censored[i]),
            "ABCD"[i % 4],
            (f"S{i}",),
            {"age": float(age[i]), "is_female": float(sex[i]), "site": "ABCD"[i % 4]},
        )
        for i in range(n)
    )
    counts = room.counts_of(patients)
    return room.Labels("blca", patients, (), "labels", "a table", False, None, counts, {})


@pytest.fixture(scope="module")
def labels():
    return labels_of()


@pytest.fixture(scope="module")
def folds(labels):
    return stratified_folds(labels, 3)


def patches(labels):
    return {patient.id: 10 + index for index, patient in enumerate(labels.patients)}


def described(name, labels, folds, covariates=DEFAULT_COVARIATES, penalty=None, seed=0, patches=None):
    """An experiment and its data, as `load` makes them of files."""
    units = Units("concat", labels, {patient.id: patient.id for patient in labels.patients}, ())
    data = CohortData(labels, folds, units, patches=patches)
    check_baseline(name, data, covariates)
    baseline, hyper = BASELINES[name], {}
    if baseline.penalty is not None:
        hyper["penalty"] = baseline.penalty if penalty is None else penalty
    if name == "clinical-cox":
        hyper["covariates"] = ",".join(covariates)
    experiment = Experiment(
        model=name,
        hyperparameters=hyper,
        cohort=labels.cohort,
        cohort_version="1",
        recipe=None,
        folds_name=folds.name,
        n_folds=len(folds.splits),
        seed=seed if baseline.seeded else 0,
        device="cpu",
        labels_fingerprint=labels.fingerprint,
        folds_fingerprint=folds.fingerprint,
        synthetic=labels.synthetic,
    )
    return experiment, data


def fitted(name, labels, folds, out, **options) -> Finished:
    experiment, data = described(name, labels, folds, **options)
    with Quiet().computing("", 0) as watcher:
        return Finished(experiment, cross_validate(experiment, data, out, "", watcher))


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_gives_sound_rows_of_every_fold(name, labels, folds, tmp_path):
    made = fitted(name, labels, folds, tmp_path, patches=patches(labels))
    for row in made.rows:
        assert parse_row(row.to_json()) == row and row.family == "control"
        assert row.score("c_index_selected") == row.score("c_index_last")
        assert row.score("c_index_best") is None
        assert "no epochs" in row.reasons["c_index_best"]
        assert 0 < row.score("ibs_selected") < 0.5
        assert row.n_train + row.n_test == 120
    found = gather(tmp_path)
    assert not found.problems
    assert found.boards[0].rankings[0].lines[0].model == name


def test_age_is_found_where_it_carries_the_hazard_and_chance_finds_nothing(labels, folds, tmp_path):
    assert fitted("clinical-cox", labels, folds, tmp_path).mean("c_index_selected") > 0.65
    means = []
    for seed in range(40):
        experiment, data = described("random", labels, folds, seed=seed)
        outcomes = (
            fit_baseline("random", data.scored(split.train), data.scored(split.test), fold=split.fold,
                         hyperparameters={}, seed=experiment.seed)
            for split in folds.splits
        )  # fmt: skip
        means.append(np.mean([outcome.scores["selected"]["c_index"] for outcome in outcomes]))
    assert abs(np.mean(means) - 0.5) < 0.02
    assert len(set(means)) == 40


@pytest.mark.parametrize("name", ["clinical-cox", "site-only", "bag-size"])
def test_what_happens_to_the_test_set_cannot_reach_a_baseline(name, labels, folds):
    split = folds.splits[0]
    changed = replace(
        labels,
        patients=tuple(
            replace(p, time=p.time * 3 + 1, event=not p.event) if p.id in split.test else p for p in labels.patients
        ),
    )
    predicted = []
    for given in (labels, changed):
        experiment, data = described(name, given, folds, patches=patches(labels))
        outcome = fit_baseline(
            name,
            data.scored(split.train),
            data.scored(split.test),
            fold=split.fold,
            hyperparameters=experiment.hyperparameters,
            patches=data.patches,
        )
        predicted.append([(line["risk"], line["survival_2"]) for line in outcome.predictions])
    assert predicted[0] == predicted[1]


def test_columns_are_learnt_on_training_patients():
    train = [Patient(str(i), 1.0, True, "", (), {"age": a, "site": s}) for i, (a, s) in enumerate(zip(
        [50.0, 60.0, 70.0, None, 60.0, 60.0], ["A", "A", "A", "B", "B", "C"], strict=True))]  # fmt: skip
    columns = fit_columns(train, ("site", "age"), rare=2)
    assert columns.names == ("age", "site=A", "site=B", "site=other")
    made = columns.of(train)
    assert made.shape == (6, 4)
    assert made[:, 0].mean() == pytest.approx(0)
    assert made[3, 0] == 0  # the missing age is the median
    new = Patient("new", 1.0, True, "", (), {"age": 1000.0, "site": "Z"})
    assert columns.of([new])[0, 1:].tolist() == [0, 0, 1]  # a site that training never saw is one of the others
    assert (columns.of([*train, new])[:6] == made).all()


def test_a_covariate_that_is_the_same_for_all_gives_no_column():
    train = [Patient(str(i), 1.0, True, "", (), {"age": 60.0, "site": "A"}) for i in range(6)]
    assert fit_columns(train, ("age", "site")).names == ()


def test_the_cox_model_is_scikit_survivals():
    rng = np.random.default_rng(0)
    x, time, event = rng.normal(size=(80, 3)), rng.exponential(10, 80), rng.random(80) < 0.6
    found = fit_cox(x, time, event, alpha=2.0)
    theirs = CoxPHSurvivalAnalysis(alpha=2.0).fit(x, Surv.from_arrays(event, time))
    assert found.risk(x) == pytest.approx(theirs.predict(x))
    months = np.array([0.0, 3.0, 8.0])
    steps = theirs.predict_survival_function(x[:5])
    expected = [[1.0 if m < f.x[0] else f(m) for m in months] for f in steps]
    assert found.survival(x[:5], months) == pytest.approx(np.array(expected))


def test_columns_that_determine_each_other_are_an_error_without_a_penalty():
    x = np.ones((20, 2))
    with pytest.raises(CannotFit, match="raise the ridge penalty"):
        fit_cox(x, np.arange(1.0, 21.0), np.ones(20, dtype=bool), alpha=0.0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clinical-cox", {"covariates": ("oncotree_code",)}, "says oncotree_code of no patient"),
        ("bag-size", {"patches": {"P000": 3}}, "119 patients of a table have no patches"),
    ],
)
def test_what_a_baseline_cannot_do_is_an_error_that_says_so(name, options, message, labels, folds):
    with pytest.raises(DataError, match=message):
        described(name, labels, folds, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clinical-cox", {"covariates": "aeg"}, r"unknown covariate 'aeg'. Did you mean age\? Known: age, is_female"),
        ("clinical-cox", {"covariates": "age,age"}, "name at least one, each once"),
        ("clinical-cox", {"covariates": ","}, "name at least one, each once"),
        ("bag-size", {"labels_path": Path(__file__)}, "--features"),
    ],
)
def test_what_a_baseline_is_not_given_is_an_error_that_says_so(name, options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        load(Request(name, "blca", data=tmp_path / "nothing", **options))


def test_a_fold_in_which_there_is_nothing_to_fit_fails_and_says_why(labels, folds, tmp_path):
    same = replace(labels, patients=tuple(replace(p, covariates={"age": 60.0}) for p in labels.patients))
    made = fitted("clinical-cox", same, folds, tmp_path, covariates=("age",))
    assert not made.complete
    assert all("age is the same for all training patients of fold" in row.error for row in made.rows)


def test_equal_requests_have_equal_ids_and_other_settings_other_ones(labels, folds):
    def name(**options):
        return described("clinical-cox", labels, folds, **options)[0].id

    ids = {name(), name(penalty=2.0), name(covariates=("age",))}
    assert len(ids) == 3
    assert name() in ids
    assert name(seed=3) == name()  # nothing in it is drawn at random


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not here")
@pytest.mark.parametrize("cohort", TABLES)
def test_clinical_anchors_are_reached(cohort, tmp_path):
    with (DATA / "published" / "clinical-cox-anchors.csv").open(newline="") as file:
        anchors = {row["model"]: float(row["mean"]) for row in csv.DictReader(file) if row["cohort"] == cohort}
    labels = read_labels(DATA / TABLES[cohort], cohort)
    folds = read_splits(DATA / "crossfusion" / "splits" / f"tcga_{cohort}", labels)
    for model, name, covariates, reach in (
        ("age", "clinical-cox", ("age",), 0.005),
        ("age+female", "clinical-cox", ("age", "is_female"), 0.005),
        ("site (one-hot tissue source site)", "site-only", (), 0.02),
    ):
        made = fitted(name, labels, folds, tmp_path / model.split()[0], covariates=covariates)
        mean = made.mean("c_index_selected")
        assert abs(mean - anchors[model]) < reach
