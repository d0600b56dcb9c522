"""Checkpoints of the public reference: read as data, checked name by name, and able to score slides."""

import csv
import json
import pickle
from pathlib import Path

import pytest
import torch
from checkout import SHARED
from milsurv.benchmark.external.checkpoint import import_reference, read_state_dict, score_slides
from milsurv.errors import DataError, UsageError

ENTRIES = SHARED / "spec" / "reference-state-dicts.json"
needs_names = pytest.mark.skipif(not ENTRIES.exists(), reason="the reference's names are not beside this checkout")
MODELS = ["crossfusion", "crossfusion-concat", "crossfusion-single", "abmil", "transmil", "dsmil"]


def reference_state(model: str, dim: int = 24) -> dict[str, torch.Tensor]:
    """Random weights under the reference's names; patch features `dim` wide."""
    shapes = json.loads(ENTRIES.read_text())[model]
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn([dim if size == 24 else size for size in shape], generator=generator) * 0.05
        for name, shape in shapes.items()
    }


@needs_names
@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_is_kept_in_our_form_and_loads_again(model, tmp_path):
    torch.save(reference_state(model), tmp_path / "best.pt")
    imported = import_reference(tmp_path / "best.pt", model, {}, tmp_path / "out")
    assert not imported.module.training
    again = torch.load(imported.path, weights_only=True)
    assert imported.module.load_state_dict(again).missing_keys == []


@needs_names
@pytest.mark.parametrize("wrapper", ["model", "state_dict", "model_state_dict"])
def test_a_training_checkpoint_is_unwrapped(wrapper, tmp_path):
    torch.save({wrapper: reference_state("abmil"), "epoch": 3}, tmp_path / "best.pt")
    assert set(read_state_dict(tmp_path / "best.pt")) == set(reference_state("abmil"))


@needs_names
def test_slides_are_scored_from_a_feature_folder(cohort_folder, tmp_path):
    torch.save(reference_state("abmil", dim=32), tmp_path / "best.pt")
    imported = import_reference(tmp_path / "best.pt", "abmil", {}, tmp_path)
    rows = list(csv.DictReader(score_slides(imported, cohort_folder / "features", None, tmp_path).open()))
    assert len(rows) >= 60
    for row in rows:
        survival = [float(row[f"survival_{j}"]) for j in range(1, 5)]
        assert float(row["risk"]) == pytest.approx(-sum(survival), rel=1e-5)
        assert survival == sorted(survival, reverse=True)


@needs_names
@pytest.mark.parametrize("case", ["deepgraphsurv", "mustmil", "clam-sb", "scmil-mdn"])
def test_checkpoints_of_other_public_codes_are_kept_and_score_slides_too(cohort_folder, tmp_path, case):
    shapes = json.loads(ENTRIES.with_name("zoo-state-dicts.json").read_text())[case]
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn([{24: 32, 72: 96}.get(size, size) for size in shape], generator=generator) * 0.1
        for name, shape in shapes.items()
    }
    torch.save(state, tmp_path / "best.pt")
    imported = import_reference(tmp_path / "best.pt", case, {}, tmp_path)
    rows = list(csv.DictReader(score_slides(imported, cohort_folder / "features", None, tmp_path).open()))
    assert len({row["risk"] for row in rows}) > 30


@needs_names
def test_features_of_another_width_are_refused(cohort_folder, tmp_path):
    torch.save(reference_state("abmil"), tmp_path / "best.pt")
    imported = import_reference(tmp_path / "best.pt", "abmil", {}, tmp_path)
    with pytest.raises(DataError, match="cannot score slide"):
        score_slides(imported, cohort_folder / "features", None, tmp_path)


@needs_names
def test_a_checkpoint_of_another_model_names_what_does_not_fit(tmp_path):
    torch.save(reference_state("abmil"), tmp_path / "best.pt")
    with pytest.raises(DataError, match="_fc1"):
        import_reference(tmp_path / "best.pt", "transmil", {}, tmp_path)


class Evil:
    """Would run a command when unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


@needs_names
def test_a_slide_without_patches_gets_no_risk(tmp_path):
    state = reference_state("abmil", dim=2048)
    torch.save(state, tmp_path / "best.pt")
    imported = import_reference(tmp_path / "best.pt", "abmil", {}, tmp_path)
    folder = tmp_path / "features" / "resnet50" / "x20" / "pt_files"
    folder.mkdir(parents=True)
    torch.save(torch.zeros(3, 2048), folder / "whole.pt")
    torch.save(torch.zeros(0, 2048), folder / "empty.pt")
    with pytest.raises(DataError, match="empty"):
        score_slides(imported, tmp_path / "features", None, tmp_path)


@needs_names
def test_only_hyperparameters_may_be_set(tmp_path):
    torch.save(reference_state("abmil"), tmp_path / "best.pt")
    with pytest.raises(UsageError, match="unknown hyperparameter 'epochs'"):
        import_reference(tmp_path / "best.pt", "abmil", {"epochs": "3"}, tmp_path)


def test_a_file_that_must_run_code_is_refused_and_runs_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Evil()}, "evil.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(DataError, match="refused"):
            read_state_dict(Path(name))
    assert not Path("owned").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_a_damaged_file_is_named(content, tmp_path):
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"best\.pt"):
        read_state_dict(tmp_path / "best.pt")


def test_a_file_without_weights_is_refused(tmp_path):
    torch.save([1, 2, 3], tmp_path / "list.pt")
    with pytest.raises(DataError, match="no state dict"):
        read_state_dict(tmp_path / "list.pt")


def test_a_model_that_the_reference_has_not_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="unknown reference model"):
        import_reference(tmp_path / "x.pt", "meanpool", {}, tmp_path)
