"""Experiments on the real label tables and official folds, with features written under the real slide names."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import SHARED
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.run import Quiet, run
from milsurv.datasets.labels.read import read_labels

DATA = SHARED / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the real label tables are not beside this checkout")

TABLES = {
    "blca": "crossfusion/tcga_blca_all_clean.csv.zip",
    "brca": "porpoise/tcga_brca_all_clean.csv.zip",
    "coad": "crossfusion/tcga_coad_all_clean.csv",
    "coadread": "crossfusion/tcga_coadread_all_clean.csv",
    "gbmlgg": "porpoise/tcga_gbmlgg_all_clean.csv.zip",
    "luad": "crossfusion/tcga_luad_all_clean.csv.zip",
    "ucec": "crossfusion/tcga_ucec_all_clean.csv.zip",
}
# patients, slides, events that remain for analysis; COAD without its 23 slides of 0 months
COUNTS = {
    "blca": (373, 437, 169),
    "brca": (956, 1022, 130),
    "coad": (393, 401, 87),
    "coadread": (339, 344, 80),
    "gbmlgg": (569, 1011, 187),
    "luad": (444, 507, 157),
    "ucec": (480, 539, 75),
}


def write_reference_features(root: Path, slides: list[str]) -> Path:
    """`<root>/resnet50/x{5,10,20}/pt_files/<slide>.pt`, as the reference keeps them, one small tensor per scale."""
    for m, n in ((5, 1), (10, 2), (20, 4)):
        folder = root / "resnet50" / f"x{m}" / "pt_files"
        folder.mkdir(parents=True)
        for i, slide in enumerate(slides):
            values = np.random.default_rng(i).standard_normal((n, 2048), dtype=np.float32)
            torch.save(torch.from_numpy(values), folder / f"{slide}.pt")
    return root


def ask(cohort: str, features: Path, **changes) -> Request:
    return Request(
        changes.pop("model", "meanpool"),
        cohort,
        features_path=str(features),
        labels_path=DATA / TABLES[cohort],
        splits_path=DATA / "crossfusion" / "splits" / f"tcga_{cohort}",
        settings={"epochs": "1", "hidden": "16"},
        **changes,
    )


@pytest.mark.parametrize("cohort", [pytest.param(name, marks=[pytest.mark.slow] * (name != "blca")) for name in TABLES])
def test_a_real_cohort_completes_all_official_folds_with_the_published_counts(cohort, tmp_path):
    labels = read_labels(DATA / TABLES[cohort], cohort)
    slides = [slide for patient in labels.patients for slide in patient.slides]
    features = write_reference_features(tmp_path / "features", slides)
    result = run(ask(cohort, features, out=tmp_path / "out"), Quiet(), "none")
    patients, n_slides, events = COUNTS[cohort]
    assert result.complete and len(result.rows) == 5
    assert len(slides) == n_slides
    assert {(row.patients, row.events) for row in result.rows} == {(patients, events)}
    assert result.rows[0].folds_name == "official" and result.rows[0].synthetic is False
    if cohort == "blca":
        assert [row.n_test for row in result.rows] == [75, 75, 75, 74, 74]
        assert [row.events_test for row in result.rows] == [34, 34, 34, 34, 33]
    for row in result.rows:
        assert 0 < row.score("c_index_selected") < 1


@pytest.mark.parametrize(
    ("cohort", "code", "count"),
    [("luad", "fold_ids_unlabelled", 9), ("coad", "time_not_positive", 23), ("coad", "never_tested", 4)],
)
def test_findings_of_the_public_tables_are_reported(cohort, code, count, tmp_path):
    labels = read_labels(DATA / TABLES[cohort], cohort)
    slides = [slide for patient in labels.patients for slide in patient.slides]
    _, data = load(ask(cohort, write_reference_features(tmp_path, slides)))
    assert {finding.code: finding.count for finding in data.findings}[code] == count


def test_a_slide_without_features_is_named_before_training(tmp_path):
    from milsurv.errors import DataError

    labels = read_labels(DATA / TABLES["blca"], "blca")
    slides = [slide for patient in labels.patients for slide in patient.slides]
    features = write_reference_features(tmp_path, slides[:-1])
    with pytest.raises(DataError, match=slides[-1]):
        load(ask("blca", features))


def test_who_was_left_out_is_kept_beside_the_results(tmp_path):
    import json

    labels = read_labels(DATA / TABLES["coad"], "coad")
    slides = [slide for patient in labels.patients for slide in patient.slides]
    features = write_reference_features(tmp_path / "x", slides)
    result = run(ask("coad", features, out=tmp_path / "out"), Quiet(), "none")
    folder = tmp_path / "out" / "experiments" / result.experiment.id
    remarks = json.loads((folder / "remarks.json").read_text())
    assert remarks["left_out"] == dict(labels.excluded)
    assert {finding["code"] for finding in remarks["findings"]} >= {"time_not_positive", "never_tested"}
