"""Predictions of slides by a finished experiment: those of its folds where it was tested, refusals where it cannot."""

import csv
import html
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from milsurv import load_model, predict
from milsurv.benchmark.inference.ensemble import OutOfFold, load_ensemble
from milsurv.benchmark.inference.heatmap.of_patients import asked
from milsurv.benchmark.inference.predict import open_source
from milsurv.benchmark.inference.predict import predict as predicted
from milsurv.benchmark.inference.report import write_reports
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.features.store import write_slide
from milsurv.errors import DataError, UsageError


@pytest.fixture(scope="module")
def trained(made_once, cohort_folder) -> Path:
    """The folder of CrossFusion, two folds."""

    def train(folder: Path) -> None:
        from milsurv import run

        run("crossfusion", "blca", features=cohort_folder / "features", labels=cohort_folder / "labels.csv", out=folder,
            folds=2, settings={"epochs": 2, "embed_dim": 32, "num_heads": 2}, progress=False)  # fmt: skip

    return next((made_once("crossfusion-two-folds", train) / "experiments").iterdir())


def copy_slides(source: Path, out: Path, count: int, name=lambda slide: slide, **changes) -> list[str]:
    """Some slides of a feature folder under other names; `changes` are of the head, or `dim`, `scales`."""
    reader = open_features(source)
    dim, scales = (changes.pop(key, None) for key in ("dim", "scales"))
    head = {"backbone": "tiny", "patch_px": 256, "mpp": 0.5, **changes}
    slides = sorted(reader.slides)[:count]
    for slide in slides:
        features, coords = {}, {}
        for m in scales or reader.magnifications:
            x, coords[m] = reader.read(slide, m)
            features[m] = np.resize(np.array(x, np.float32), (len(x), dim or x.shape[1]))
        write_slide(out, name(slide), features, coords, **head)
    return slides


def test_the_test_part_of_each_fold_gets_the_predictions_of_that_fold(trained, cohort_folder, bench, tmp_path):
    status, out, err = bench("predict", trained, "--features", cohort_folder / "features", "--out", tmp_path, "--json")
    assert status == 0 and "training cohort" in err
    lines = [line for line in csv.DictReader((trained / "predictions.csv").open()) if line["reading"] == "selected"]
    found = {one["patient"]: one for one in json.loads(out)["patients"]}
    assert len(found) == len(lines) == 60
    for line in lines:
        one = found[line["patient"]]
        assert [fold["fold"] for fold in one["folds"]] == [int(line["fold"])]
        assert one["risk"]["value"] == pytest.approx(float(line["risk"]), abs=1e-5)
        assert one["risk_group"] == line["risk_group"]
        edges = [float(line[key]) for key in line if key.startswith("edge_")]
        alive = [float(line[key]) for key in line if key.startswith("survival_")]
        assert one["curve"]["months"] == pytest.approx(edges)
        assert one["curve"]["survival"] == pytest.approx(alive, abs=1e-5)
    table = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert [row["patient"] for row in table] == list(found)


def test_a_new_slide_is_predicted_by_all_models_with_their_spread(trained, cohort_folder, tmp_path):
    (slide,) = copy_slides(cohort_folder / "features", tmp_path, 1, lambda _: "new-slide", synthetic=True)
    table = predict(trained, tmp_path)
    (row,) = table.to_dict("records")
    bag = {m: open_features(cohort_folder / "features").read(slide, m)[0] for m in (5, 10, 20)}
    models = [load_model(trained, fold) for fold in (0, 1)]
    risks = [model.risk(bag) for model in models]
    assert row["risk"] == pytest.approx(np.mean(risks), abs=1e-5)
    assert row["risk_sd"] == pytest.approx(np.std(risks, ddof=1), abs=1e-5)
    assert [row["risk_fold_0"], row["risk_fold_1"]] == pytest.approx(risks, abs=1e-5)
    alive = [float(model.survival(bag, [36])[0]) for model in models]
    assert row["survival_36"] == pytest.approx(np.mean(alive), abs=1e-5)
    assert (row["models"], row["seen_in_training"]) == (2, 0) and table.index[0] == "new-slide"
    assert 0 <= row["percentile"] <= 100


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 16}, "width: 16 numbers a patch here, 32 in training"),
        ({"scales": (20,)}, "magnification: 20x here, 5x, 10x, 20x in training"),
        ({"backbone": "grand"}, "backbone: grand here, tiny in training"),
    ],
)
def test_a_slide_of_other_width_scales_or_encoder_is_refused(trained, cohort_folder, tmp_path, changes, words):
    copy_slides(cohort_folder / "features", tmp_path, 2, lambda slide: f"new-{slide}", **changes)
    with pytest.raises(DataError, match=words):
        predict(trained, tmp_path)


def test_a_slide_with_nan_is_refused_or_left_out(trained, bench, tmp_path):
    rng = np.random.default_rng(0)
    for m, side in ((20, 256), (10, 512), (5, 1024)):
        folder = tmp_path / "f" / f"{m}x_256px_0px_overlap" / "features_tiny"
        folder.mkdir(parents=True)
        for slide, first in (("SYNT-a", 0.0), ("SYNT-b", np.nan)):
            features = rng.standard_normal((4, 32)).astype(np.float32)
            features[0, 0] = first
            with h5py.File(folder / f"{slide}.h5", "w") as file:
                file["features"] = features
                file["coords"] = np.array([[x * side, 0] for x in range(4)])
                file["coords"].attrs.update({"patch_size": 256, "patch_size_level0": side, "target_magnification": m})
    with pytest.raises(DataError, match=r"SYNT-b.*NaN"):
        predict(trained, tmp_path / "f")
    words = ("predict", trained, "--features", tmp_path / "f", "--missing", "drop", "--out", tmp_path / "p")
    status, out, err = bench(*words, "--json")
    assert status == 1 and "left out" in err
    assert [one["patient"] for one in json.loads(out)["patients"]] == ["SYNT-a"]
    assert list(json.loads(out)["left_out"]) == ["SYNT-b"]


def test_features_in_two_places_are_one(trained, cohort_folder, bench, tmp_path):
    names = sorted(path.stem for path in (cohort_folder / "features").rglob("*.h5"))[:4]
    whole = predict(trained, cohort_folder / "features", slides=names)
    for part in (names[:2], names[2:]):
        for name in part:
            (source,) = (cohort_folder / "features").rglob(f"{name}.h5")
            place = tmp_path / part[0] / source.relative_to(cohort_folder / "features")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
    apart = predict(trained, [tmp_path / names[0], tmp_path / names[2]])
    assert apart["risk"].tolist() == whole["risk"].tolist()
    words = [word for part in (names[0], names[2]) for word in ("--features", tmp_path / part)]
    status, out, err = bench("predict", trained, *words, "--out", tmp_path / "out", "--json")
    assert status == 0, err
    assert len(json.loads(out)["patients"]) == len(whole)


def test_a_report_says_what_it_is_and_shows_names_as_text(trained, cohort_folder, tmp_path):
    odd = "<img src=x>&co"
    copy_slides(cohort_folder / "features", tmp_path / "f", 1, lambda _: odd, synthetic=True)
    ensemble = load_ensemble(trained)
    source, findings, left_out = open_source(ensemble, tmp_path / "f")
    (path,) = write_reports(predicted(ensemble, source, findings, left_out), tmp_path / "reports")
    page = path.read_text()
    assert path.parent == tmp_path / "reports"
    assert odd not in page and html.escape(odd) in page
    assert "not a medical device" in page and "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_a_page_has_a_map_of_every_slide_and_scale_on_request(trained, cohort_folder, bench, tmp_path):
    copy_slides(cohort_folder / "features", tmp_path / "f", 2, lambda slide: f"SYNT-new-{slide}", synthetic=True)
    words = ("predict", trained, "--features", tmp_path / "f", "--out", tmp_path / "p")
    assert bench(*words, "--report", "--heatmaps")[0] == 0
    pages = [path.read_text() for path in (tmp_path / "p" / "reports").iterdir()]
    assert len(pages) > 0 and sum(page.count('<img src="data:image/jpeg;base64,') for page in pages) == 2 * 3
    assert "What moves the score" in pages[0]
    status, _, said = bench(*words, "--heatmaps")
    assert status == 2 and "add it" in said


def test_the_map_of_a_patient_of_the_training_cohort_is_of_models_that_had_not_seen_them(trained, cohort_folder):
    ensemble = load_ensemble(trained)
    slide = sorted(open_features(cohort_folder / "features").slides)[0]
    source, findings, left_out = open_source(ensemble, cohort_folder / "features", slides=[slide])
    found = predicted(ensemble, source, findings, left_out)
    (one,) = found.patients
    assert one.seen and len(one.models) == 1
    (kept,) = asked(found, one).rows
    assert kept.fold == one.models[0]


def test_percentiles_are_of_the_fold_and_ties_count_one_half():
    known = OutOfFold(risks={0: np.array([1.0, 2.0, 2.0, 4.0])})
    assert known.percentile(0, np.array([0.0, 2.0, 5.0])).tolist() == [0, 50, 100]
    assert np.isnan(known.percentile(1, np.array([0.0]))).all()


def test_without_predictions_there_is_no_percentile_and_what_is_not_there_says_so(trained, cohort_folder, tmp_path):
    copied = shutil.copytree(trained, tmp_path / trained.name)
    (copied / "predictions.csv").unlink()
    table = predict(copied, cohort_folder / "features")
    assert table["percentile"].isna().all() and (table["models"] == 2).all()
    with pytest.raises(UsageError, match="no features of nowhere"):
        predict(copied, cohort_folder / "features", slides=["nowhere"])


def test_a_model_of_simulated_patients_predicts_no_measured_ones(trained, cohort_folder, tmp_path):
    copy_slides(cohort_folder / "features", tmp_path, 1, lambda _: "hospital-7", synthetic=False)
    with pytest.raises(DataError, match="simulated and measured data never mix"):
        predict(trained, tmp_path)
