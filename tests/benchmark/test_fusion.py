"""Image and clinic together: a trained model joined with covariates, as a model of its own."""

import json
import shutil
from dataclasses import replace

import milsurv
import numpy as np
import pandas as pd
import pytest
from milsurv.benchmark.cross_validation.parts import clinic_of, validation_split
from milsurv.benchmark.inference.ensemble import load_ensemble
from milsurv.benchmark.planning.grid import grid
from milsurv.benchmark.planning.load import Loader
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.training.fusion import Clinic, Fusion, fuse
from milsurv.benchmark.verify.entry import verify
from milsurv.datasets.labels.clinical_table import ClinicalTable
from milsurv.errors import DataError, UsageError
from milsurv.leaderboards.publish import gather
from milsurv.leaderboards.render.explanations import reads
from milsurv.survival.followup import FollowUp, Prediction
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

READINGS = ("selected", "last", "best")
JOINED = {"covariates": "is_female,age"}


def options(cohort_folder, out, **more):
    given = {"features": cohort_folder / "features", "labels": cohort_folder / "labels.csv", "out": out, "folds": 2}
    settings = {"epochs": 3, "learning_rate": 0.01, "scale": 5}
    return {**given, "settings": settings, "keep_weights": ",".join(READINGS), "progress": False, **more}


def request(cohort_folder, out, **more) -> Request:
    settings = {"epochs": "3", "learning_rate": "0.01", "scale": "5"}
    paths = {"features_path": str(cohort_folder / "features"), "labels_path": cohort_folder / "labels.csv"}
    return Request("meanpool", "blca", out=out, folds=2, settings=settings, **paths, **more)


@pytest.fixture(scope="module")
def out(made_once, cohort_folder):
    """meanpool alone and joined with age and sex, for three ways in which slides count."""

    def make(folder):
        for slides in ("concat", "mean-risk", "slide"):
            for more in ({}, JOINED):
                milsurv.run("meanpool", "blca", **options(cohort_folder, folder, slides=slides, **more))

    return made_once("fusion", make)


def found(cohort_folder, out, slides="concat", **more):
    """What was run, read again."""
    return milsurv.run("meanpool", "blca", **options(cohort_folder, out, slides=slides, **more))


def folder_of(results):
    return results.folders[results["experiment"][0]]


def columns(patients, like):
    """Age and sex, scaled as `like`, the patients whom the clinic is learned from."""

    def numbers(of, name):
        return np.array([float(patient.covariates[name]) for patient in of])

    scaled = [
        (numbers(patients, n) - np.median(numbers(like, n))) / numbers(like, n).std() for n in ("age", "is_female")
    ]
    return np.stack(scaled, axis=1)


@pytest.mark.parametrize("slides", ["concat", "mean-risk", "slide"])
def test_risks_and_survival_are_those_of_two_nested_cox_models(cohort_folder, out, slides):
    image, joined = (found(cohort_folder, out, slides, **more) for more in ({}, JOINED))
    experiment, data = Loader().load(request(cohort_folder, out, slides=slides))
    assert list(image["experiment"]) == [experiment.id] * 2
    for split in data.folds.splits:
        train, val = (data.scored(part) for part in validation_split(experiment, data, split))
        test = data.scored(split.test)
        units = data.units.of(
            [patient for patient in data.labels.by_id if patient in {data.units.owner.get(p.id, p.id) for p in val}]
        )
        outcome = {
            name: Surv.from_arrays([p.event for p in of], [p.time for p in of])
            for name, of in (("t", train), ("v", val))
        }
        clinic = CoxPHSurvivalAnalysis(alpha=1.0).fit(columns(train, train), outcome["t"])
        for reading in READINGS:
            model = milsurv.load_model(folder_of(image), split.fold, reading)
            alone = model.prediction(model.scores(data.bags, units)).risk
            by_id = (
                pd.Series(alone, index=[u if slides == "slide" else data.units.owner[u] for u in units])
                .groupby(level=0)
                .mean()
            )
            on_val = np.stack([clinic.predict(columns(val, train)), by_id[[p.id for p in val]]], axis=1)
            centre, spread = on_val.mean(0), on_val.std(0)
            fusion = CoxPHSurvivalAnalysis(alpha=1.0).fit((on_val - centre) / spread, outcome["v"])

            def lines(results, fold=split.fold, reading=reading, test=test):
                table = results.predictions
                table = table[(table["fold"] == fold) & (table["reading"] == reading)].set_index("patient")
                return table.loc[[p.id for p in test]]

            both = np.stack([clinic.predict(columns(test, train)), lines(image)["risk"]], axis=1)
            wanted, mine = fusion.predict((both - centre) / spread), lines(joined)
            np.testing.assert_allclose(mine["risk"], wanted, rtol=1e-6, atol=1e-9)
            median = np.median(fusion.predict((on_val - centre) / spread))
            assert list(mine["risk_group"] == "high") == list(wanted > median)
            steps = fusion.predict_survival_function((both - centre) / spread)
            for bin in range(1, 5):
                edge = float(mine[f"edge_{bin}"].iloc[0])
                times = fusion.unique_times_
                expected = [1.0 if edge < times[0] else step(min(edge, times[-1])) for step in steps]
                np.testing.assert_allclose(mine[f"survival_{bin}"], expected, rtol=1e-6)
            if reading == "selected":
                row = joined[joined["fold"] == split.fold].iloc[0]
                assert (row["fusion_clinic"], row["fusion_image"]) == pytest.approx(tuple(fusion.coef_), rel=1e-6)


def test_image_and_clinic_are_better_together_where_both_know_something(tmp_path):
    """A planted cohort in which half of the score is age, and the other half is seen in the tissue."""
    more = {"patients": 300, "folds": 2, "dial": "confounder=0.5", "out": tmp_path, "progress": False}
    trained = {"settings": {"epochs": 6, "learning_rate": 0.01, "scale": 5}, **more}
    image = milsurv.run("meanpool", "planted-coarse", **trained)
    both = milsurv.run("meanpool", "planted-coarse", covariates="age", **trained)
    clinic = milsurv.run("clinical-cox", "planted-coarse", covariates="age", **more)
    parts = [table["c_index_selected"].mean() for table in (image, clinic)]
    assert both["c_index_selected"].mean() > max(parts) + 0.02
    assert (both[["fusion_clinic", "fusion_image"]] > 0.3).all(axis=None)


def test_the_fold_models_join_covariates_wherever_they_are_known(cohort_folder, out):
    """What external validation computes is what cross-validation wrote of the same patients."""
    joined = found(cohort_folder, out, **JOINED)
    ensemble = load_ensemble(folder_of(joined))
    _, data = Loader().load(request(cohort_folder, out, **JOINED))
    table = joined.predictions[joined.predictions["reading"] == "selected"].set_index("patient")
    for at, split in enumerate(data.folds.splits):
        ids, single = ensemble.score(data.bags, split.test, data.units, data.labels.by_id)
        mine = table.loc[list(ids)]
        np.testing.assert_allclose(single[at].risk, mine["risk"], rtol=1e-6)
        np.testing.assert_allclose(single[at].survival[:, 0], mine["survival_1"], rtol=1e-6)
        assert list(single[at].high) == list(mine["risk_group"] == "high")


def test_a_table_of_covariates_lets_image_and_clinic_predict(bench, cohort_folder, out, tmp_path):
    """On the slides of a test fold that gives the predictions of the fold; no outcome is read."""
    joined = found(cohort_folder, out, **JOINED)
    folder, table = folder_of(joined), tmp_path / "clinic.csv"
    labels = pd.read_csv(cohort_folder / "labels.csv").drop_duplicates("case_id")
    people = labels[["case_id"]].assign(
        Alter=labels["age"], Geschlecht=np.where(labels["is_female"] == 1, "weiblich", "m")
    )
    people.to_csv(table, index=False)
    words = ["predict", folder, "--features", cohort_folder / "features", "--clinical", table, "--out", tmp_path / "o"]
    status, _, err = bench(*words)
    assert status == 0, err
    mine = pd.read_csv(tmp_path / "o" / "predictions.csv").set_index("patient")
    wanted = joined.predictions[joined.predictions["reading"] == "selected"].set_index("patient")["risk"]
    np.testing.assert_allclose(mine.loc[wanted.index, "risk"], wanted, rtol=1e-5)
    again = milsurv.predict(folder, cohort_folder / "features", clinical=table)
    assert list(again["risk"]) == pytest.approx(list(mine["risk"]))

    people.drop(index=people.index[0]).to_csv(table, index=False)
    status, _, err = bench(*words)
    assert status == 1 and str(table) in err and people["case_id"].iloc[0] in err
    people.drop(columns="Alter").to_csv(table, index=False)
    status, _, err = bench(*words)
    assert status == 1 and "no column of age" in err and "--columns age=" in err
    people.rename(columns={"Alter": "years"}).to_csv(table, index=False)
    assert bench(*words, "--columns", "age=years", "--json")[0] == 0


@pytest.mark.parametrize("slides", ["mean-risk", "slide"])
def test_they_predict_however_slides_count(cohort_folder, out, slides):
    joined = found(cohort_folder, out, slides=slides, **JOINED)
    features, labels = cohort_folder / "features", cohort_folder / "labels.csv"
    mine = milsurv.predict(folder_of(joined), features, clinical=labels)["risk"]
    wanted = joined.predictions[joined.predictions["reading"] == "selected"].set_index("patient")["risk"]
    np.testing.assert_allclose(mine.loc[wanted.index], wanted, rtol=1e-5)


def test_what_a_patient_lacks_counts_as_typical_and_is_said(bench, cohort_folder, out, tmp_path):
    folder, table = folder_of(found(cohort_folder, out, **JOINED)), tmp_path / "clinic.csv"
    people = pd.read_csv(cohort_folder / "labels.csv").drop_duplicates("case_id")[["case_id", "age", "is_female"]]
    people.loc[people.index[0], "age"] = np.nan
    people.to_csv(table, index=False)
    status, _, err = bench(
        "predict", folder, "--features", cohort_folder / "features", "--clinical", table, "--out", tmp_path
    )
    assert status == 0 and "age is not known" in " ".join(err.split()) and people["case_id"].iloc[0] in err


def test_a_word_that_training_did_not_know_is_said(bench, cohort_folder, out, tmp_path):
    """Stage III written as 3 would count as no stage at all."""
    labels, features = pd.read_csv(cohort_folder / "labels.csv"), cohort_folder / "features"
    patients = sorted(labels["case_id"].unique())
    stages = {name: ("Stage I", "Stage III")[k % 2] for k, name in enumerate(patients)}
    labels["stage"] = labels["case_id"].map(stages)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    more = {"labels": tmp_path / "labels.csv", "covariates": "stage", "keep_weights": "selected"}
    folder = folder_of(milsurv.run("meanpool", "blca", **options(cohort_folder, tmp_path / "r", **more)))
    people, table = labels.drop_duplicates("case_id")[["case_id", "stage"]], tmp_path / "clinic.csv"
    said = []
    for wrong in ({}, {"Stage III": "3"}):
        people.replace(wrong).to_csv(table, index=False)
        status, _, err = bench("predict", folder, "--features", features, "--clinical", table, "--out", tmp_path / "o")
        assert status == 0
        said.append(" ".join(err.split()))
    assert "rarely or never" not in said[0]
    assert "a stage that training had rarely or never (3; it knows Stage I, Stage III)" in said[1]


@pytest.mark.parametrize(
    ("second", "word"),
    [("{who},70,1", "age of"), ("{low},50,1", "Spell it in one way"), (",50,1", "patient is blank")],
)
def test_a_clinical_table_that_contradicts_itself_is_refused(tmp_path, second, word):
    path = tmp_path / "clinic.csv"
    path.write_text(
        "patient,age,is_female\nTCGA-AA-0001,50,1\n" + second.format(who="TCGA-AA-0001", low="tcga-aa-0001")
    )
    with pytest.raises(DataError, match=word):
        ClinicalTable(path, ("age", "is_female"))


def test_slides_alone_never_pass_for_image_and_clinic(bench, cohort_folder, out, tmp_path):
    folder, model = folder_of(joined := found(cohort_folder, out, **JOINED)), "meanpool + age, is_female"
    features = cohort_folder / "features"
    for words in (["predict", folder, "--features", features], ["export", folder, "--to", tmp_path / "shared"]):
        status, _, err = bench(*words)
        assert status == 2 and model in err and "bench evaluate" in err and "--clinical" in err
    with pytest.raises(UsageError, match="joins slides with covariates"):
        milsurv.predict(folder, features)
    loaded = milsurv.load_model(folder, 0)
    with pytest.raises(UsageError, match="which a bag does not hold"):
        loaded.risk({5: np.zeros((3, 32))})
    slide = sorted(load_slides(cohort_folder))[0]
    words = ["--slide", slide, "--features", features, "--method", "occlusion", "--out", tmp_path / "maps"]
    status, _, err = bench("heatmap", folder, *words)
    assert status == 0 and "image part alone" in " ".join(err.split())
    words = ["--cohort", "blca", "--labels", cohort_folder / "labels.csv", "--features", features, "--folds", 2]
    status, _, err = bench(
        "run", "--model", "meanpool", *words, "--covariates", "age", "--register", "m", "--out", tmp_path
    )
    assert status == 2 and "--register" in err
    assert len(joined) == 2


def load_slides(cohort_folder):
    return set(pd.read_csv(cohort_folder / "labels.csv")["slide_id"].str.removesuffix(".svs"))


def test_a_board_shows_image_clinic_and_both_as_lines_that_can_be_compared(bench, cohort_folder, out, tmp_path):
    place = tmp_path / "results"
    for more in ({}, JOINED):
        folder = folder_of(found(cohort_folder, out, **more))
        shutil.copytree(folder, place / "experiments" / folder.name)
    words = ["--cohort", "blca", "--labels", cohort_folder / "labels.csv", "--folds", 2, "--tracking", "none"]
    assert bench("run", "--model", "clinical-cox", *words, "--out", place)[0] == 0
    (board,) = gather(place / "experiments").boards
    (ranking,) = board.rankings
    by_label = {line.label: line for line in ranking.lines}
    assert set(by_label) == {"meanpool", "meanpool + age, is_female", "clinical-cox"}
    assert reads(by_label["meanpool + age, is_female"]) == f"{reads(by_label['meanpool'])}, clinic"
    pairs = milsurv.compare(place, "blca", ["meanpool + age, is_female"])
    assert set(pairs["second"]) == {"meanpool", "clinical-cox"}
    assert "meanpool + age, is_female" in bench("leaderboard", place)[1]


def test_an_entry_of_a_joined_model_is_verified_and_cannot_deny_its_covariates(bench, cohort_folder, out, tmp_path):
    folder = folder_of(found(cohort_folder, out, **JOINED))
    shutil.copytree(folder, tmp_path / "r" / "experiments" / folder.name)
    entry = tmp_path / "entry"
    status, _, err = bench("leaderboard", "submit", tmp_path / "r", "--out", entry, "--title", "t", "--who", "w")
    assert status == 0, err
    assert not verify(entry, simulate=False).faults
    rows = [json.loads(line) | {"covariates": None} for line in (entry / "rows.jsonl").read_text().splitlines()]
    (entry / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert any("covariates is None" in fault for fault in verify(entry, simulate=False).faults)


def test_covariates_are_in_the_id_and_their_order_is_not(cohort_folder, out):
    def id_of(covariates=None):
        return Loader().load(request(cohort_folder, out, covariates=covariates))[0].id

    assert len({id_of(), id_of("age"), id_of("age,is_female")}) == 3
    assert id_of("is_female, age") == id_of("age,is_female")


def test_in_a_grid_models_are_joined_unless_the_covariates_are_those_of_the_baseline():
    first = Request("", "", covariates="age")
    assert [cell.covariates for cell in grid(first, "abmil,meanpool,random", "blca")] == ["age", "age", None]
    assert [cell.covariates for cell in grid(first, "abmil,clinical-cox", "blca")] == [None, "age"]


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ({}, ["--covariates", "grade"], "labels.csv says grade of no patient. Leave it out of --covariates, or name"),
        ({"is_female": "1"}, ["--covariates", "age,is_female"], "is_female is 1.0 for all 60 patients"),
        ({}, ["--covariates", "age", "--recipe", "reference"], "Add --set validation=0.2"),
        ({}, ["--covariates", "age", "--set", "refit=true"], "leave --refit or --covariates out"),
    ],
)
def test_what_cannot_be_joined_is_refused_before_anything_is_trained(
    bench, cohort_folder, tmp_path, change, words, message
):
    table = pd.read_csv(cohort_folder / "labels.csv", dtype=str).assign(**change)
    table.to_csv(tmp_path / "labels.csv", index=False)
    given = ["--labels", tmp_path / "labels.csv", "--features", cohort_folder / "features", "--out", tmp_path / "out"]
    status, _, err = bench("run", "--model", "meanpool", "--cohort", "blca", *given, *words, "--tracking", "none")
    assert status in (1, 2) and message in " ".join(err.split())
    assert not list((tmp_path / "out").glob("experiments/*/fold-*"))


def test_a_fold_says_what_it_lacks_to_be_joined(cohort_folder, out):
    experiment, data = Loader().load(request(cohort_folder, out, covariates="age"))
    split = data.folds.splits[1]
    _, val = validation_split(experiment, data, split)

    def changed(where, **change):
        patients = tuple(replace(p, **change) if p.id in where else p for p in data.labels.patients)
        return replace(data, labels=replace(data.labels, patients=patients))

    own = replace(split, train=tuple(p for p in split.train if p not in val), val=val)
    for useless in ({"event": False}, {"time": 20.0, "event": True}):  # censored, or all at once
        with pytest.raises(DataError, match=r"fold 1: nobody of the validation split .* died .*validation=0\.3"):
            clinic_of(experiment, changed(val, **useless), own)
    with pytest.raises(DataError, match="age is the same for all patients of the training set"):
        clinic_of(experiment, changed(own.train, covariates={"age": 50.0}), own)


def test_a_model_that_says_nothing_leaves_the_clinic():
    """Risks that differ in their rounding alone are not scaled up, and the order is that of age."""
    rng = np.random.default_rng(0)
    age, time = np.arange(40.0)[:, None], 90.0 - np.arange(40.0)
    noise = 0.7 + 1e-8 * rng.normal(size=40)
    known = [FollowUp(time[part], np.ones(20, bool)) for part in (slice(0, None, 2), slice(1, None, 2))]
    fusion = fuse(Clinic(age[::2], age[1::2], age, *known, {}, "labels"), noise[1::2])
    assert fusion.coefficients[1] == pytest.approx(0.0, abs=1e-6) and fusion.coefficients[0] > 0
    found = fusion.predict(age, Prediction(noise, edges=np.array([0.0, 60.0])))
    assert (np.diff(found.risk) > 0).all() and found.high is not None
    assert list(found.high) == list(age[:, 0] > 20), "the median of the validation split"
    assert found.survival is not None and (found.survival[:, 0] == 1).all()


def test_a_patient_unlike_all_others_has_a_survival_that_is_a_number():
    fusion = Fusion(columns={}, clinic=(1.0,), centres=(0.0, 0.0), spreads=(1e-3, 1.0), coefficients=(1.0, 0.0),
                    months=(10.0,), hazard=(0.1,), median=0.0)  # fmt: skip
    image = Prediction(np.zeros(2), np.ones((2, 2)), np.array([5.0, 20.0]))
    found = fusion.predict(np.array([[0.0], [50.0]]), image)
    assert found.survival is not None
    assert found.survival.tolist() == [[1.0, pytest.approx(np.exp(-0.1))], [1.0, 0.0]]
