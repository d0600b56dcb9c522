"""Cohorts and backbones are data; names that are almost right say what is meant."""

from pathlib import Path

import pytest
from checkout import SHARED
from hypothesis import given
from hypothesis import strategies as st
from milsurv.datasets import backbones, cohorts
from milsurv.datasets.folds.read import read_splits
from milsurv.datasets.labels.read import Counts, read_labels
from milsurv.datasets.layout import find_features, find_labels, find_splits
from milsurv.errors import DataError, UnknownName

DATA = SHARED / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the public label tables are not beside this checkout")


def table_of(cohort: str) -> Path:
    """The public label table that the counts of `cohort` were counted in."""
    folder = DATA / ("porpoise" if cohort in {"brca", "gbmlgg"} else "crossfusion")
    return find_labels(folder, cohort)


@real
@pytest.mark.parametrize("name", cohorts.COHORTS)
def test_the_counts_of_a_cohort_are_those_of_its_public_table(name: str) -> None:
    cohort = cohorts.get(name)
    labels = read_labels(table_of(name), cohort)
    published = (
        cohort.patients,
        cohort.slides,
        cohort.events,
        cohort.multi_slide_patients,
        cohort.max_slides,
    )
    assert labels.table_counts == Counts(*published)
    months = sorted(p.time for p in labels.patients)
    assert months[len(months) // 2] == pytest.approx(cohort.median_months, rel=0.06)
    women = [p.covariates["is_female"] for p in labels.patients if "is_female" in p.covariates]
    if cohort.female is None:
        assert not women
    else:
        assert sum(women) / len(women) == pytest.approx(cohort.female, abs=0.006)


@real
@pytest.mark.parametrize("name", cohorts.COHORTS)
def test_the_official_folds_are_recognised_and_test_nobody_twice(name: str) -> None:
    labels = read_labels(table_of(name), name)
    folds = read_splits(DATA / "crossfusion" / "splits" / f"tcga_{name}", labels)
    assert (folds.name, len(folds.splits)) == ("official", 5)
    tested = [i for split in folds.splits for i in split.test]
    assert len(tested) == len(set(tested))
    never = next((f.count for f in folds.findings if f.code == "never_tested"), 0)
    assert len(tested) == len(labels.patients) - never


@pytest.mark.parametrize("spelling", ["brca", "BRCA", "tcga_brca", "TCGA-BRCA", " Brca "])
def test_a_cohort_is_found_however_its_name_is_written(spelling: str) -> None:
    assert cohorts.get(spelling) is cohorts.COHORTS["brca"]


def test_an_unknown_cohort_names_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean gbmlgg.*blca.*ucec"):
        cohorts.get("gbmlg")


def test_an_unknown_backbone_names_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean resnet50.*uni2-h"):
        backbones.get("resnet5")


@pytest.mark.parametrize(
    ("called", "dim", "name"),
    [
        ("uni", 1024, "uni"),
        ("uni", 1536, "uni2-h"),
        ("uni_v2", 1536, "uni2-h"),
        ("resnet50", 1024, "resnet50-trunc"),
        ("hug_quilt", 768, "quiltnet"),
        ("my-own-encoder", 77, "my-own-encoder"),
    ],
)
def test_the_width_in_the_file_decides_what_a_name_means(called: str, dim: int, name: str) -> None:
    assert backbones.named(called, dim, "here") == name


def test_a_width_that_no_backbone_of_that_name_has_is_refused_with_the_candidates() -> None:
    with pytest.raises(DataError, match=r"512 wide, but uni is 1024 wide.*Backbones of width 512: conch"):
        backbones.named("uni", 512, "here")


@given(st.sampled_from(list(backbones.BACKBONES.values())))
def test_every_alias_leads_back_to_its_backbone(backbone: backbones.Backbone) -> None:
    for alias in (backbone.name, *backbone.aliases):
        assert backbones.named(alias, backbone.dim, "here") == backbone.name


def test_a_data_folder_is_searched_by_its_convention_and_by_the_public_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Looked for brca/labels\.csv, .*tcga_brca_all_clean\.csv\.zip"):
        find_labels(tmp_path, "brca")
    public = tmp_path / "tcga_brca_all_clean.csv.zip"
    public.touch()
    (tmp_path / "splits" / "tcga_brca").mkdir(parents=True)
    assert find_labels(tmp_path, "brca") == public
    assert find_splits(tmp_path, "brca") is None, "a folder without splits_*.csv holds no folds"
    (tmp_path / "splits" / "tcga_brca" / "splits_0.csv").touch()
    assert find_splits(tmp_path, "brca") == tmp_path / "splits" / "tcga_brca"
    (tmp_path / "brca" / "features").mkdir(parents=True)
    (tmp_path / "brca" / "labels.csv").touch()
    assert find_labels(tmp_path, "brca") == tmp_path / "brca" / "labels.csv", "the convention comes first"
    assert find_features(tmp_path, "brca") == tmp_path / "brca" / "features"


@pytest.mark.parametrize(
    ("labels", "splits"),
    [
        ("tcga_blca_all_clean.csv.zip", "splits/tcga_blca"),
        ("dataset_csv/tcga_blca_all_clean.csv.zip", "splits/5foldcv/tcga_blca"),
        ("datasets_csv/metadata/tcga_blca.csv", "splits/5foldcv/tcga_blca"),
    ],
)
def test_a_checkout_of_a_public_repository_is_a_data_folder(tmp_path: Path, labels: str, splits: str) -> None:
    for path in (tmp_path / labels, tmp_path / splits / "splits_0.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert (find_labels(tmp_path, "blca"), find_splits(tmp_path, "blca")) == (tmp_path / labels, tmp_path / splits)
