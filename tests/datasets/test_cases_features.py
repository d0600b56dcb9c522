"""Ordinary feature folders, and what is asked about them, as users have them: each is read as it is, or says why not.

Tests over the collected cases, and for each kind inputs of our own.
"""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from checkout import SHARED
from feature_writers import trident_file
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.labels.read import read_labels
from milsurv.datasets.slide_names import match_names

CASES = SHARED / "cases"
collected = pytest.mark.skipif(not CASES.is_dir(), reason="the collected cases are not beside this checkout")
IDS = [f"HOSP-{i + 1:04}" for i in range(24)]


def write_labels(path: Path, slides: dict[str, str]) -> Path:
    rows = [f"{p},{s},{3 + i},{int(i % 3 > 0)}" for i, (p, s) in enumerate(slides.items())]
    path.write_text("\n".join(["case_id,slide_id,survival_months,censorship", *rows]) + "\n", "utf-8")
    return path


def write_features(folder: Path, names: list[str], m: int = 20, encoder: str = "mine", dim: int = 8) -> Path:
    rng = np.random.default_rng(m)
    for name in names:
        where = np.array([(x * 512 * 20 // m, 0) for x in range(4)])
        trident_file(folder / f"{name}.h5", rng.normal(size=(4, dim)).astype(np.float32), where, m, encoder)
    return folder


@pytest.fixture
def tries(bench, tmp_path: Path):
    """`tries(labels, features, ...)`: a dry run of meanpool, with what it says: (status, patients or message)."""

    def call(labels: Path, *features: Path, model: str = "meanpool", more: tuple = ()) -> tuple[int, int | str]:
        places = [word for place in features for word in ("--features", place)]
        words = ("run", "--model", model, "--cohort", "hosp", "--labels", labels, *places, "--dry-run", "--json", *more)
        status, out, err = bench(*words)
        if status:
            return status, " ".join(err.split())
        (planned,) = json.loads(out)["would_run"]
        return status, planned["patients"]

    return call


# 01: any cohort name


@collected
def test_01_a_cohort_of_ones_own_needs_no_registered_name(bench, tries, tmp_path):
    case = CASES / "01-own-cohort-refused"
    labels, feats = case / "labels.csv", case / "feats"
    assert tries(labels, feats) == (0, 30)
    for words in (
        ["data", "check", "--cohort", "hosp", "--labels", labels, "--features", feats],
        ["data", "folds", "--cohort", "hosp", "--labels", labels, "--out", tmp_path / "folds"],
        ["features", "inspect", feats, "--cohort", "hosp", "--labels", labels],
    ):
        status, out, err = bench(*words)
        assert status == 0, (words, out, err)


@pytest.mark.parametrize("name", ["klinik_sued.2024", "blca-ours"])
def test_01_any_word_is_a_name(bench, tmp_path, name):
    labels = write_labels(tmp_path / "l.csv", {i: i for i in IDS})
    write_features(tmp_path / "f", IDS)
    words = ["--cohort", name, "--labels", labels, "--features", tmp_path / "f", "--dry-run"]
    status, _, err = bench("run", "--model", "meanpool", *words)
    assert status == 0, err


# 03: a number that is not finite does not lose the fold


@collected
@pytest.mark.slow
def test_03_a_metric_that_is_not_finite_is_null_and_the_fold_counts(bench, tmp_path):
    case = CASES / "03-infinite-metric-loses-fold"
    words = ["--cohort", "hosp", "--labels", case / "labels.csv", "--features", case / "feats", "--out", tmp_path]
    status, _, err = bench("run", "--model", "meanpool", *words, "--tracking", "none", "--epochs", 1, "--folds", 2)
    assert status == 0, err
    for file in tmp_path.glob("experiments/*/fold-*/result.json"):
        row = json.loads(file.read_text(), parse_constant=pytest.fail)  # NaN, Infinity
        assert row["status"] == "finished"
    page = (tmp_path / "leaderboard" / "leaderboard.md").read_text("utf-8")
    assert "not run" not in page.replace("was not run on these patients and folds", "")  # the clinical baseline


@pytest.mark.parametrize("seed", [0, 1])
def test_03_calibration_of_few_patients_is_finite_or_has_a_reason(seed):
    from milsurv.survival.calibration import calibration_index
    from milsurv.survival.followup import NotComputable

    for draw in range(60 * seed, 60 * seed + 60):
        rng = np.random.default_rng(draw)
        time, event = rng.exponential(40, 12) + 1, np.zeros(12, bool)
        event[rng.choice(12, 3, replace=False)] = True
        survival = np.clip(0.6 + 0.02 * rng.normal(size=12), 0, 1)
        try:
            assert 0 <= calibration_index(survival, time, event, 36.0) <= 1
        except NotComputable as reason:
            assert str(reason)


# 09, 10: names of slides


@collected
@pytest.mark.parametrize("ending", ["ndpi", "tif", "mrxs", "h5", "svs"])
def test_09_endings_of_files_are_no_part_of_a_name(tries, ending):
    case = CASES / "09-slide-suffixes"
    assert tries(case / f"labels_{ending}.csv", case / ("feats_svs" if ending == "svs" else "feats")) == (0, 30)


@pytest.mark.parametrize(
    ("label", "file"),
    [("{}.OME.TIFF", "{}.ome.tiff"), ("scans/{}.czi", "{}"), ("{}.svs.h5", "{}"), ("{}.PT", "{}.ndpi")],
)
def test_09_other_endings_and_folders_match_too(tries, tmp_path, label, file):
    labels = write_labels(tmp_path / "l.csv", {i: label.format(i) for i in IDS})
    assert tries(labels, write_features(tmp_path / "f", [file.format(i) for i in IDS])) == (0, 24)


@collected
@pytest.mark.parametrize(("labels", "feats"), [("short", "uuid"), ("uuid", "short"), ("float", "int")])
def test_10_a_barcode_with_and_without_its_uuid_is_one_slide(tries, labels, feats):
    case = CASES / "10-ids-uuid-float"
    found = read_labels(case / f"labels_{labels}.csv", "hosp")
    reader = open_features(case / f"feats_{feats}")
    matched = match_names((slide for p in found.patients for slide in p.slides), reader.slides)
    assert len(matched.names) == len(found.patients) and matched.findings()
    assert tries(case / f"labels_{labels}.csv", case / f"feats_{feats}") == (0, len(found.patients))


def test_10_a_barcode_that_two_files_share_is_not_matched_and_names_are_shown_side_by_side(tries, tmp_path):
    barcode = "TCGA-2F-A9K{}-01Z-00-DX1"
    labels = write_labels(tmp_path / "l.csv", {f"P{i}": barcode.format(i) for i in range(24)})
    uuid = "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEE"
    files = [f"{barcode.format(i)}.{uuid}{k}" for i in range(24) for k in (1, 2)]
    status, said = tries(labels, write_features(tmp_path / "f", files))
    assert status == 1 and "'TCGA-2F-A9K0-01Z-00-DX1' (24 such names), and the nearest file is" in said
    unicode = {f"P{i}": f"Pra\u0308parat {i}" for i in range(24)}  # composed in the files
    labels = write_labels(tmp_path / "u.csv", unicode)
    assert tries(labels, write_features(tmp_path / "u", [f"Pr\u00e4parat {i}" for i in range(24)])) == (0, 24)


# 11: one cohort in several folders


@collected
@pytest.mark.parametrize("folder", ["packs", "jobs", "bypatient", "scales"])
def test_11_folders_of_one_encoder_are_one_cohort(tries, folder):
    case = CASES / "11-features-in-several-folders"
    assert tries(case / "labels.csv", case / folder) == (0, 30)
    assert tries(case / "labels.csv", case / folder, more=("--backbone", "myenc")) == (0, 30)
    parts = sorted(p for p in (case / folder).iterdir())
    assert tries(case / "labels.csv", *parts) == (0, 30), "--features several times"
    if folder == "scales":
        assert tries(case / "labels.csv", *parts, model="crossfusion") == (0, 30)


@pytest.mark.parametrize("depth", ["site/scanner", "2023/export"])
def test_11_folders_may_lie_deeper_and_be_given_one_by_one(tries, bench, tmp_path, depth):
    labels = write_labels(tmp_path / "l.csv", {i: i for i in IDS})
    homes = [write_features(tmp_path / "all" / f"part{k}" / depth, IDS[k::3]) for k in range(3)]
    assert tries(labels, tmp_path / "all") == (0, 24)
    assert tries(labels, *homes) == (0, 24)
    words = [word for home in homes for word in ("--features", home)]
    status, out, _ = bench("data", "check", "--cohort", "hosp", "--labels", labels, *words, "--json")
    assert status == 0 and json.loads(out)["patients"] == 24


# 18: what check accepts, run accepts


@collected
def test_18_the_check_refuses_what_a_run_would_refuse(bench, tries, tmp_path):
    case = CASES / "18-check-passes-what-run-refuses"
    check = ("data", "check", "--cohort", "hosp", "--labels")
    assert bench(*check, case / "ok.csv", "--features", case / "nan")[0] == 1
    assert bench(*check, case / "ok.csv", "--features", case / "nan", "--quick")[0] == 0
    assert bench("features", "inspect", case / "nan", "--numbers")[0] == 1
    status, patients = tries(case / "ok.csv", case / "nan", more=("--missing", "drop"))
    assert status == 0 and isinstance(patients, int) and 0 < patients < 30
    status, said = tries(case / "labels.csv", case / "feats")
    checked = bench(*check, case / "labels.csv", "--features", case / "feats")[0]
    assert (status == 0) == (checked == 0), said


@pytest.mark.parametrize("damage", ["infinite", "no slide"])
def test_18_other_damage_is_refused_by_both(bench, tries, tmp_path, damage):
    labels = write_labels(tmp_path / "l.csv", {i: i for i in IDS})
    folder = write_features(tmp_path / "f", IDS if damage == "infinite" else [f"other{i}" for i in range(9)])
    if damage == "infinite":
        with h5py.File(folder / f"{IDS[4]}.h5", "r+") as file:
            file["features"][1, 1] = np.inf
        assert tries(labels, folder, more=("--missing", "drop")) == (0, 23)
    else:
        assert tries(labels, folder)[0] == 1
    assert bench("data", "check", "--cohort", "hosp", "--labels", labels, "--features", folder)[0] == 1


# 19: other scales


@collected
@pytest.mark.parametrize("m", [40, 10])
def test_19_the_scale_that_is_there_is_named_and_can_be_read(tries, m):
    case = CASES / "19-40x-and-other-scales"
    status, said = tries(case / "labels.csv", case / f"feats{m}", model="abmil")
    assert status == 1 and f"There is {m}x: a single-scale model reads it with --scale {m}" in said
    assert "Extract" not in said and "drop" not in said
    assert tries(case / "labels.csv", case / f"feats{m}", model="abmil", more=("--scale", m)) == (0, 30)


@pytest.mark.parametrize("scales", [(5,), (5, 10)])
def test_19_a_model_of_several_scales_says_which_are_there(tries, tmp_path, scales):
    labels = write_labels(tmp_path / "l.csv", {i: i for i in IDS})
    for m in scales:
        write_features(tmp_path / "f" / f"{m}x_256px_0px_overlap" / "features_mine", IDS, m)
    status, said = tries(labels, tmp_path / "f", model="crossfusion")
    there = " and ".join(f"{m}x" for m in scales)
    assert status == 1 and (f"There is {there}" in said or "20x" in said), said
    assert tries(labels, tmp_path / "f", model="abmil", more=("--scale", scales[0])) == (0, 24)


# 20: forms of files


@collected
@pytest.mark.parametrize("form", ["npy", "owkin", "h5ad", "hdf5", "emb", "ptflat", "ptdict"])
def test_20_files_of_other_forms_are_read(tries, form):
    case = CASES / "20-feature-files"
    assert tries(case / "labels.csv", case / form, more=("--magnification", 20)) == (0, 30)


@pytest.mark.parametrize("form", ["pt of a patient", "txt"])
def test_20_forms_of_our_own(tries, tmp_path, form):
    labels = write_labels(tmp_path / "l.csv", {i: f"{i}_HE" for i in IDS})
    for i in IDS:
        home = tmp_path / "f" / i
        home.mkdir(parents=True)
        if form == "txt":
            (home / f"{i}_HE.txt").write_text("1 2 3\n")
        else:
            torch.save({"feature": torch.ones(3, 9), "positions": torch.ones(3, 2)}, home / f"{i}_HE.pt")
    status, found = tries(labels, tmp_path / "f", more=("--magnification", 20))
    if form == "txt":
        assert status == 1 and "There are 24 .txt" in str(found) and "write_slide" in str(found)
    else:
        assert (status, found) == (0, 24)


# 21: options of labels


@collected
def test_21_every_command_that_reads_labels_takes_their_options(bench, tmp_path):
    case = CASES / "21-options-missing"
    named = ("--columns", "patient=id,time=months,event=dead")
    zero = ("--cohort", "hosp", "--labels", case / "zero.csv", "--unusable-times", "drop")
    for words in (
        ["data", "folds", *zero, "--out", tmp_path / "f"],
        ["data", "check", *zero],
        ["import-predictions", case / "pred.csv", "--model", "X", "--cohort", "hosp", "--labels", case / "own.csv",
         *named, "--out", tmp_path / "o"],
        ["features", "inspect", case / "feats", "--cohort", "hosp", "--labels", case / "own.csv", *named],
    ):  # fmt: skip
        status, out, err = bench(*words)
        assert "No such option" not in out + err and status in (0, 1), (words, err)
        if words[0] != "features":
            assert status == 0, (words, out, err)


# 23, 24: contradictions


def refused(bench, tries, labels: Path, folder: Path, code: str, said: str) -> None:
    """Whether inspect, check and run all refuse a folder."""
    status, out, _ = bench("features", "inspect", folder, "--json")
    found = {f["code"] for one in json.loads(out)["sets"] for f in one["findings"] if f["severity"] == "error"}
    assert status == 1 and code in found, found
    assert bench("data", "check", "--cohort", "hosp", "--labels", labels, "--features", folder)[0] == 1
    status, message = tries(labels, folder)
    assert status == 1 and said in str(message), message


@collected
@pytest.mark.parametrize("folder", ["flat", "trident"])
def test_23_two_encoders_of_one_width_are_told_apart(bench, tries, folder):
    case = CASES / "23-encoders-mixed-same-width"
    refused(bench, tries, case / "labels.csv", case / folder, "encoder_mismatch", "of another encoder than")


@pytest.mark.parametrize("form", ["npz", "folder"])
def test_23_encoders_that_files_or_folders_name_must_agree(bench, tries, tmp_path, form):
    labels = write_labels(tmp_path / "l.csv", {i: i for i in IDS})
    if form == "npz":
        for k, i in enumerate(IDS):
            np.savez(tmp_path / f"{i}.npz", features=np.ones((3, 9), np.float32), encoder="ab"[k > 20], mag=20)
        refused(bench, tries, labels, tmp_path, "encoder_mismatch", "3 slides are of another encoder than a")
        return
    home = write_features(tmp_path / "20x_256px_0px_overlap" / "features_conch_v15", IDS, 20, "phikon", 768)
    refused(bench, tries, labels, home, "encoder_mismatch", "of another encoder than the folder's name says")


@collected
def test_24_magnifications_in_one_folder_are_told_apart(bench, tries):
    case = CASES / "24-magnifications-mixed-in-a-flat-folder"
    refused(bench, tries, case / "labels.csv", case / "flat", "magnification_mismatch", "slides are of another magni")


@pytest.mark.parametrize("what", ["magnification", "patch size"])
def test_24_a_scale_is_of_one_magnification_and_one_patch_size(bench, tries, tmp_path, what):
    labels = write_labels(tmp_path / "l.csv", {i: i for i in IDS})
    folder = write_features(tmp_path / "f", IDS)
    for i in IDS[:2]:
        with h5py.File(folder / f"{i}.h5", "r+") as file:
            attrs = file["coords"].attrs
            if what == "magnification":
                attrs["target_magnification"], attrs["patch_size_level0"] = 5, 2048
            else:
                attrs["patch_size"], attrs["patch_size_level0"] = 512, 1024
    code, said = {
        "magnification": ("magnification_mismatch", "2 slides are of another magnification"),
        "patch size": ("patch_size_mismatch", "2 slides have patches of another side at 20x than 256 pixels"),
    }[what]
    refused(bench, tries, labels, folder, code, said)


# slide vectors


def test_one_vector_a_slide_is_ranked_by_the_models_made_for_it(bench, tries, tmp_path):
    labels = write_labels(tmp_path / "l.csv", {i: i for i in IDS})
    vectors = np.random.default_rng(0).normal(size=(24, 12)).astype(np.float32)
    np.savez(tmp_path / "titan.npz", filenames=IDS, embeddings=vectors)
    for model in ("slide-cox", "slide-mlp"):
        assert tries(labels, tmp_path / "titan.npz", model=model) == (0, 24)
    status, said = tries(labels, tmp_path / "titan.npz", model="crossfusion")
    assert status == 1 and "vectors of whole slides: slide-cox and slide-mlp read them" in str(said)
    words = ["--cohort", "hosp", "--labels", labels, "--features", tmp_path / "titan.npz", "--out", tmp_path / "o"]
    status, out, err = bench("run", "--model", "slide-cox", *words, "--folds", 2, "--epochs", 1, "--tracking", "none",
                             "--json")  # fmt: skip
    assert status == 0, err
    assert json.loads(out)["mean"] is not None
