"""Weights that are kept: the model of a fold comes back and gives what was written of it; damage is found."""

import csv
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from milsurv import load_model
from milsurv.benchmark import experiment as protocol
from milsurv.benchmark.cross_validation.cross_validate import cross_validate
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.results.folder import ResultFolder
from milsurv.benchmark.results.keeping import readings_of, seconds_of
from milsurv.benchmark.results.manifest import fault_of
from milsurv.benchmark.results.weights import read_weights
from milsurv.benchmark.training.losses import LOSSES
from milsurv.errors import DataError, Remark, RowError, UsageError
from milsurv.models import registry
from safetensors.torch import load_file, save_file


class Silent:
    """Watches nothing."""

    done = 0

    def epoch(self, *_):
        pass

    fold = epoch


def request(cohort_folder: Path, model: str = "abmil", loss: str = "nll", **changes) -> Request:
    changes.setdefault("settings", {"epochs": "2", "loss": loss})
    places = {"features_path": str(cohort_folder / "features"), "labels_path": cohort_folder / "labels.csv"}
    return Request(model, "blca", folds=2, **places, **changes)


def run(asked: Request, out: Path):
    """Compute fold 0 alone: (its folder, its row, the data)."""
    experiment, data = load(asked)
    (row,) = cross_validate(experiment, data, out, asked.command, Silent(), only=[0], keeping=asked.keeping)
    return ResultFolder(out, experiment).path, row, data


def predictions(folder: Path, reading: str = "selected") -> list[dict[str, str]]:
    with (folder / "fold-0" / "predictions.csv").open() as file:
        return [line for line in csv.DictReader(file) if line["reading"] == reading]


def check_equal(folder: Path, data, reading: str = "selected") -> None:
    """The loaded model says of single bags what predictions.csv says of the fold."""
    model = load_model(folder, 0, reading)
    for line in predictions(folder, reading)[:12]:
        found = model.predict(data.bags[line["patient"]])
        assert found.risk[0] == pytest.approx(float(line["risk"]), rel=1e-5, abs=1e-6)
        edges = [float(line[key]) for key in line if key.startswith("edge_")]
        alive = [float(line[key]) for key in line if key.startswith("survival_")]
        assert model.survival(data.bags[line["patient"]], edges) == pytest.approx(alive, abs=1e-6)
        assert model.high_risk(data.bags[line["patient"]]) == (line["risk_group"] == "high")


@pytest.fixture(scope="module")
def kept(cohort_folder, tmp_path_factory):
    """A fold of ABMIL with all of its weights: (folder of the experiment, row, data)."""
    out = tmp_path_factory.mktemp("kept")
    return run(request(cohort_folder, keep_weights="selected,last,best"), out)


@pytest.fixture
def copied(kept, tmp_path) -> Path:
    """A copy of that experiment, to be damaged."""
    return shutil.copytree(kept[0], tmp_path / "copied")


@pytest.mark.parametrize("reading", ["selected", "last", "best"])
def test_every_reading_that_is_kept_comes_back(kept, reading):
    folder, row, data = kept
    check_equal(folder, data, reading)
    about = load_model(folder, 0, reading).about
    assert (about.experiment, about.reading) == (row.experiment, reading)
    assert about.epoch == row.epoch_by_reading[reading] and about.magnifications == (20,)


@pytest.mark.parametrize("name", ["mhim", "panther", "slide-cox", "protosurv", "crossfusion", "torchmil:ABMIL"])
def test_models_with_buffers_places_or_foreign_code_come_back(cohort_folder, tmp_path, name):
    registry.adopt([name])
    small = {"epochs": "1", "loss": "cox" if ":" in name else "nll"}
    small |= {"embed_dim": "32", "num_heads": "2"} if name == "crossfusion" else {}
    small |= {"prototypes": "4", "patches": "50"} if name == "panther" else {}
    folder, _, data = run(request(cohort_folder, name, settings=small), tmp_path)
    check_equal(folder, data)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_gives_its_curves_without_the_training_set(cohort_folder, tmp_path, loss):
    head = LOSSES[loss].head
    model, settings = ("meanpool", {}) if head == "linear" else ("scmil", {"head": head, "hidden": "16"})
    settings |= {"epochs": "1", "loss": loss}
    folder, _, data = run(request(cohort_folder, model, settings=settings), tmp_path)
    check_equal(folder, data)


def test_a_model_with_buffers_is_kept_with_them(cohort_folder, tmp_path):
    settings = {"epochs": "1", "prototypes": "4", "patches": "50", "standardise": "true"}
    folder, _, _ = run(request(cohort_folder, "panther", settings=settings), tmp_path)
    state = load_file(folder / "fold-0" / "weights-selected.safetensors")
    assert state["prototypes"].shape == (4, 32) and not torch.equal(state["std"], torch.ones_like(state["std"]))


def test_the_row_knows_the_file_by_its_hash_and_the_file_depends_on_the_training_alone(kept, cohort_folder, tmp_path):
    folder, row, _ = kept
    file = folder / "fold-0" / "weights-selected.safetensors"
    assert row.weights_fingerprint == hashlib.sha256(file.read_bytes()).hexdigest()
    again, _, _ = run(request(cohort_folder), tmp_path)
    assert (again / "fold-0" / file.name).read_bytes() == file.read_bytes()


def test_what_is_kept_changes_neither_the_experiment_nor_its_command(cohort_folder):
    plain = request(cohort_folder)
    other = request(cohort_folder, keep_weights="none", checkpoint_every="never", retrain=True)
    assert load(plain)[0].id == load(other)[0].id and plain.command == other.command


def test_features_alone_are_enough_for_a_model_that_needs_no_places(kept):
    folder, _, data = kept
    model, patient = load_model(folder, 0), predictions(folder)[0]["patient"]
    bag = data.bags[patient]
    assert model.risk(bag.features) == model.risk(bag)
    assert list(model.survival(bag.features, [0, 1e9])) == [1.0, model.predict(bag).survival_at(np.array([1e9]))[0, 0]]


@pytest.mark.parametrize(
    ("features", "why"),
    [({10: np.zeros((3, 32))}, "no patches at 20x"), ({20: np.zeros((3, 7))}, r"expected \(n, 32\)")],
)
def test_a_bag_of_another_kind_is_refused(kept, features, why):
    with pytest.raises(DataError, match=why):
        load_model(kept[0], 0).risk(features)


def test_a_model_that_needs_places_says_so(cohort_folder, tmp_path):
    folder, _, data = run(request(cohort_folder, "patchgcn", settings={"epochs": "1"}), tmp_path)
    bag = data.bags[predictions(folder)[0]["patient"]]
    with pytest.raises(DataError, match="needs to know where patches lie"):
        load_model(folder, 0).risk(bag.features)


def test_damaged_weights_are_refused_and_the_fold_is_computed_again(kept, copied, cohort_folder, tmp_path):
    file = copied / "fold-0" / "weights-selected.safetensors"
    shutil.copy(copied / "fold-0" / "weights-last.safetensors", file)
    with pytest.raises(DataError, match="is damaged"):
        load_model(copied, 0)
    (tmp_path / "experiments").mkdir()
    copied.rename(tmp_path / "experiments" / kept[0].name)
    with pytest.warns(Remark, match=r"weights-selected.safetensors is not as it was written .* is computed again"):
        folder, row, _ = run(request(cohort_folder), tmp_path)
    assert row.weights_fingerprint == kept[1].weights_fingerprint and load_model(folder, 0)


def rewritten(file: Path, **changes) -> str:
    """Change what a weights file says of itself, and its hash in the row."""
    about, state = read_weights(file)
    described = {**vars(about), **changes}
    save_file(state, file, {"milsurv": json.dumps(described)})
    result = file.parent / "result.json"
    row = json.loads(result.read_text()) | {"weights_fingerprint": hashlib.sha256(file.read_bytes()).hexdigest()}
    result.write_text(json.dumps(row))
    return str(file)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "abmli"}, "Did you mean abmil"),
        ({"model": "somewhere:Else"}, "add model='somewhere:Else'"),
        ({"loss": "gone"}, "the loss gone, which is not installed here"),
        ({"format": 99}, "in a form that version .* does not read"),
        ({"hyperparameters": {"no_such": 1}}, "does not fit the abmil of version"),
        ({"dim": 64}, "does not fit the abmil of version"),
        ({"dim": "wide"}, "its description cannot be read"),
    ],
)
def test_what_cannot_be_built_any_more_is_explained(copied, changes, why):
    rewritten(copied / "fold-0" / "weights-selected.safetensors", **changes)
    with pytest.raises((DataError, UsageError), match=why):
        load_model(copied, 0)


def test_weights_of_another_protocol_are_refused(copied):
    rewritten(copied / "fold-0" / "weights-selected.safetensors", protocol=protocol.PROTOCOL + 1)
    with pytest.raises(DataError, match=f"version {protocol.PROTOCOL + 1} of the protocol"):
        load_model(copied, 0)


def test_other_people_s_code_runs_only_where_it_is_named(cohort_folder, tmp_path, monkeypatch):
    registry.adopt(["torchmil:ABMIL"])
    asked = request(cohort_folder, "torchmil:ABMIL", settings={"epochs": "1", "loss": "cox"})
    folder, _, _ = run(asked, tmp_path)
    monkeypatch.delitem(registry.MODELS, "torchmil:ABMIL")
    with pytest.raises(UsageError, match="add model='torchmil:ABMIL'"):
        load_model(folder, 0)
    with pytest.raises(UsageError, match="not of abmil"):
        load_model(folder, 0, model="abmil")
    assert load_model(folder, 0, model="torchmil:ABMIL").about.loss == "cox"


def test_a_fold_that_is_not_there_or_failed_is_a_row_error(copied):
    with pytest.raises(RowError, match="holds no result"):
        load_model(copied, 7)
    result = copied / "fold-0" / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"status": "failed"}))
    with pytest.raises(RowError, match="this fold is failed"):
        load_model(copied, 0)


def test_a_fold_without_weights_stays_as_it_is_until_it_is_asked_for(cohort_folder, tmp_path, kept):
    folder, row, _ = run(request(cohort_folder, keep_weights="none"), tmp_path)
    assert row.weights_fingerprint is None and not list(folder.rglob("*.safetensors"))
    with pytest.raises(DataError, match=r"weights of this fold were not kept.* --retrain to its command: bench run"):
        load_model(folder, 0)
    written = (folder / "fold-0" / "result.json").stat().st_mtime_ns
    with pytest.warns(Remark, match=r"no weights \(selected\) are kept of fold 0.* Add --retrain"):
        run(request(cohort_folder), tmp_path)
    assert (folder / "fold-0" / "result.json").stat().st_mtime_ns == written
    _, again, _ = run(request(cohort_folder, retrain=True), tmp_path)
    assert again.weights_fingerprint == kept[1].weights_fingerprint and again.scores == row.scores


def test_weights_may_be_deleted_to_save_space(copied, kept, cohort_folder, tmp_path):
    (tmp_path / "experiments").mkdir()
    moved = copied.rename(tmp_path / "experiments" / kept[0].name)
    for file in moved.rglob("*.safetensors"):
        file.unlink()
    written = (moved / "fold-0" / "result.json").stat().st_mtime_ns
    run(request(cohort_folder, keep_weights="none"), tmp_path)
    assert (moved / "fold-0" / "result.json").stat().st_mtime_ns == written


def damaged(path: Path, how: str) -> None:
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    path.write_bytes(
        {
            "emptied": b"",
            "cut": whole[:-10],
            "cut at a line": whole[:last],
            "zeros": bytes(len(whole)),
            "one bit": whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:],
        }[how]
    )


@pytest.mark.parametrize("name", ["predictions.csv", "curves.csv", "weights-selected.safetensors"])
@pytest.mark.parametrize("how", ["emptied", "cut", "cut at a line", "zeros", "one bit"])
def test_no_damage_to_a_file_of_a_fold_goes_unseen(copied, kept, name, how):
    rows = 3 * kept[1].n_test
    assert fault_of(copied / "fold-0", rows) is None
    damaged(copied / "fold-0" / name, how)
    assert f"{name} is not as it was written" in str(fault_of(copied / "fold-0", rows))


@pytest.mark.parametrize("name", ["predictions.csv", "curves.csv", "files.json"])
def test_a_fold_with_a_damaged_file_is_computed_again_with_a_word(kept, copied, cohort_folder, tmp_path, name):
    whole = (copied / "fold-0" / name).read_bytes()
    damaged(copied / "fold-0" / name, "cut")
    (tmp_path / "experiments").mkdir()
    moved = copied.rename(tmp_path / "experiments" / kept[0].name)
    with pytest.warns(Remark, match=rf"fold-0: {name} is .*; this fold is computed again"):
        run(request(cohort_folder, keep_weights="selected,last,best"), tmp_path)
    assert (moved / "fold-0" / name).read_bytes() == whole


@pytest.mark.parametrize("how", [None, "cut at a line", "emptied", "zeros"])
def test_older_results_without_a_list_of_files_are_read_and_their_rows_counted(kept, copied, how):
    (copied / "fold-0" / "files.json").unlink()
    if how:
        damaged(copied / "fold-0" / "predictions.csv", how)
    fault = fault_of(copied / "fold-0", 3 * kept[1].n_test)
    assert fault is None if how is None else "predictions.csv has" in str(fault)


def test_a_model_whose_state_is_no_tensor_is_refused_before_it_is_trained(cohort_folder, tmp_path, monkeypatch):
    class Counting(torch.nn.Linear):
        def get_extra_state(self):
            return {"counted": 3}

    spec = dataclasses.replace(registry.MODELS["meanpool"], build=lambda dim, n_out, **_: Counting(dim, n_out))
    monkeypatch.setitem(registry.MODELS, "meanpool", spec)
    _, row, _ = run(request(cohort_folder, "meanpool"), tmp_path)
    assert row.status == "failed" and "add --keep-weights none" in str(row.error)


def test_options_are_read_and_refused():
    assert readings_of("none") == () and readings_of("best,selected") == ("selected", "best")
    for wrong in ("", "lats", "selected,none"):
        with pytest.raises(UsageError):
            readings_of(wrong)
    assert [seconds_of(text) for text in ("90s", "10min", "2h", "0s", "never")] == [90, 600, 7200, 0, None]
    for wrong in ("5", "-1s", "soon", "infh", "nans"):
        with pytest.raises(UsageError, match="expected a time such as"):
            seconds_of(wrong)
