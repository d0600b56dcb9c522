"""Models to share: exported, pushed and pulled, and brought back with equal predictions; nobody's patients in them."""

import json
import shutil
from pathlib import Path

import pytest
from hub_server import hub
from milsurv import predict
from milsurv.benchmark.inference.sharing import import_model
from milsurv.errors import CannotWrite, DataError


@pytest.fixture(scope="module")
def trained(made_once, cohort_folder) -> Path:
    """The folder of ABMIL, two folds."""

    def train(folder: Path) -> None:
        from milsurv import run

        run("abmil", "blca", features=cohort_folder / "features", labels=cohort_folder / "labels.csv", out=folder,
            folds=2, settings={"epochs": 2}, progress=False)  # fmt: skip

    return next((made_once("abmil-two-folds", train) / "experiments").iterdir())


@pytest.fixture
def exported(trained, bench, tmp_path) -> Path:
    status, _, _ = bench("export", trained, "--to", tmp_path / "model", "--licence", "cc-by-4.0")
    assert status == 0
    return tmp_path / "model"


def test_what_comes_back_predicts_the_same(trained, exported, cohort_folder, bench, tmp_path):
    status, out, _ = bench("import-model", exported, "--out", tmp_path / "elsewhere", "--json")
    assert status == 0
    folder = Path(json.loads(out)["folder"])
    assert folder.name == trained.name
    patientless = shutil.copytree(trained, tmp_path / "without" / trained.name)
    (patientless / "predictions.csv").unlink()  # so that nobody counts as seen, on both sides
    columns = ["risk", "risk_sd", "survival_36", "risk_fold_0", "risk_fold_1"]
    features = cohort_folder / "features"
    ours, theirs = predict(folder, features), predict(patientless, features)
    assert ours[columns].equals(theirs[columns])
    assert ours["percentile"].between(0, 100).all()


def test_an_export_names_no_patient_and_nothing_of_the_machine(exported, cohort_folder, trained):
    patients = {line.split(",")[0] for line in (trained / "predictions.csv").read_text().splitlines()[1:]}
    for path in exported.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(patient.encode() in content for patient in patients)
            assert str(cohort_folder).encode() not in content
    card = (exported / "README.md").read_text()
    assert "not a medical device" in card and 'license: "cc-by-4.0"' in card and "Mean C-index" in card
    assert {path.suffix for path in exported.rglob("*") if path.is_file()} == {".md", ".json", ".safetensors"}


def test_damaged_or_foreign_models_are_refused_and_nothing_is_written(exported, tmp_path):
    weights = exported / "fold-1" / "weights-selected.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="SHA-256"):
        import_model(exported, tmp_path / "out")
    weights.write_bytes(whole)
    config = json.loads((exported / "config.json").read_text())
    for change in ({"experiment": "../../x"}, {"format": 99}, {"rows": []}, {"rows": [{"fold": 0}]}):
        (exported / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(DataError):
            import_model(exported, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (exported / "config.json").write_text(json.dumps(config))
    import_model(exported, tmp_path / "out")
    with pytest.raises(CannotWrite, match="already"):
        import_model(exported, tmp_path / "out")


def test_a_folder_with_other_files_is_not_filled(trained, bench, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    status, _, err = bench("export", trained, "--to", tmp_path)
    assert status == 1 and "other files" in err


def test_a_model_goes_to_a_hub_and_comes_back(trained, bench, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with hub() as (address, repositories):
        words = ("--to", tmp_path / "model", "--push", "me/abmil-blca", "--hub", address)
        status, _, err = bench("export", trained, *words)
        assert status == 0, err
        files = {path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*.*")}
        assert files <= repositories["me/abmil-blca"].keys()
        status, _, err = bench("import-model", "me/abmil-blca", "--hub", address, "--out", tmp_path / "out")
        assert status == 0, err
        assert (tmp_path / "out" / "experiments" / trained.name / "fold-1" / "result.json").is_file()
        status, _, err = bench("import-model", "me/nothing", "--hub", address, "--out", tmp_path / "out")
        assert status == 2 and "me/nothing" in err
