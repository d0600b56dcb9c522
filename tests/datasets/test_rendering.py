"""Rendered slides: openslide opens them, they show what the truth says, and nothing else hangs on the hazard."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.datasets import cohorts
from milsurv.datasets.folds.read import read_splits
from milsurv.datasets.labels.read import read_labels
from milsurv.datasets.layout import find_labels, find_splits
from milsurv.datasets.simulated.rendering import architecture, nuclei, pyramid
from milsurv.datasets.simulated.rendering.cells import tumour_cells
from milsurv.datasets.simulated.rendering.cohort import CONTENTS, render
from milsurv.datasets.simulated.rendering.factors import HAZARDS, draw_factors
from milsurv.datasets.simulated.rendering.fields import smooth
from milsurv.datasets.simulated.rendering.plan import BLANK, plan_cohort
from milsurv.datasets.simulated.rendering.slide import MPP, Content, draw
from milsurv.datasets.simulated.rendering.stain import EOSIN, GLASS, HAEMATOXYLIN, Stain
from milsurv.datasets.truth import read_truth
from milsurv.errors import DataError
from milsurv.survival.concordance import c_index
from scipy import ndimage

DEMO = cohorts.get("demo")
AREA = 0.12
STAIN = Stain(np.array([HAEMATOXYLIN, EOSIN], np.float32), np.array(GLASS, np.float32))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients with tiny slides."""
    return render("demo", tmp_path_factory.mktemp("rendered") / "demo", patients=10, area=AREA, workers=1)


def contents(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / CONTENTS).open()))


def pixels(path: Path) -> np.ndarray:
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))


def coloured(image: np.ndarray) -> float:
    """The share of pixels that are no glass."""
    return float((image.max(axis=2).astype(int) - image.min(axis=2) > 20).mean())


def test_openslide_opens_every_slide_and_knows_its_resolution(small: Path) -> None:
    files = sorted((small / "slides").glob("*.tif"))
    assert {path.stem for path in files} == {row["slide_id"] for row in contents(small)} | {BLANK}
    for path in files:
        with openslide.OpenSlide(path) as slide:
            assert slide.properties["openslide.vendor"] == "generic-tiff"
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(MPP)
            assert "drawn, not observed" in slide.properties["openslide.comment"]


def test_every_level_of_a_file_is_half_the_one_before_and_shows_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = np.stack([128 + 40 * smooth(rng, (2048, 2304), 40) for _ in range(3)], 2).clip(0, 255).astype(np.uint8)
    pyramid.write(tmp_path / "a.tif", image, 0.25, "a slide")
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert slide.level_dimensions == ((2304, 2048), (1152, 1024), (576, 512))
        assert slide.level_downsamples == (1, 2, 4)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.25)
        for level, wanted in enumerate((image, image[::2, ::2], image[::4, ::4])):
            read = np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB"))
            assert np.abs(read.astype(int) - wanted).mean() < 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_the_blank_slide_has_no_tissue_and_belongs_to_nobody(small: Path) -> None:
    assert coloured(pixels(small / "slides" / f"{BLANK}.tif")) < 0.0005  # dust
    assert BLANK not in (small / "labels.csv").read_text()
    assert all(coloured(pixels(small / "slides" / f"{row['slide_id']}.tif")) > 0.2 for row in contents(small))


def test_one_slide_is_marked_by_pen_in_a_colour_that_no_stain_has(small: Path) -> None:
    def inked(row: dict[str, str]) -> float:
        red, green, _ = np.moveaxis(pixels(small / "slides" / f"{row['slide_id']}.tif").astype(int), 2, 0)
        return float((green - red > 40).mean())

    marked = [row for row in contents(small) if row["pen"] == "1"]
    assert len(marked) == 1
    assert inked(marked[0]) > 0.02
    assert max(inked(row) for row in contents(small) if row["pen"] == "0") < 0.001


def test_labels_folds_and_truth_agree_and_are_found_by_the_readers(small: Path) -> None:
    labels, truth = read_labels(find_labels(small.parent, "demo"), DEMO), read_truth(small)
    assert truth is not None
    assert labels.synthetic
    assert labels.oracle == truth.risk
    event, time, risk = (
        np.array([getattr(p, name) if name else truth.risk[p.id] for p in labels.patients])
        for name in ("event", "time", "")
    )
    assert c_index(time, event, risk) == pytest.approx(truth.oracle_c_index)
    splits_path = find_splits(small.parent, "demo")
    assert splits_path is not None
    folds = read_splits(splits_path, labels)
    assert sorted(i for split in folds.splits for i in split.test) == [p.id for p in labels.patients]
    assert labels.counts.multi_slide_patients >= 1
    for row in contents(small):
        wanted = 3.0 / np.sqrt(2) * (float(row["fine"]) + float(row["coarse"]))
        assert truth.risk[row["case_id"]] == pytest.approx(wanted, abs=1e-3)


def test_slides_are_the_same_from_two_processes_and_after_an_interruption(small: Path, tmp_path: Path) -> None:
    again = render("demo", tmp_path / "demo", patients=10, area=AREA, workers=2)
    names = sorted(path.relative_to(small) for path in small.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((small / name).read_bytes() == (again / name).read_bytes() for name in names)
    lost, kept = sorted((again / "slides").iterdir())[:2]
    before, written = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    seen: list[tuple[int, int]] = []
    render("demo", again, patients=10, area=AREA, workers=1, progress=lambda *counts: seen.append(counts))
    assert lost.read_bytes() == before
    assert kept.stat().st_mtime_ns == written
    assert seen == [(len(contents(small)) + 1,) * 2]


def test_another_seed_gives_another_cohort_and_is_not_mixed_into_this_one(small: Path) -> None:
    plans = [plan_cohort(DEMO, 10, seed, 3.0, AREA) for seed in (0, 1)]
    assert plans[0].slides != plans[1].slides
    with pytest.raises(DataError, match=r"seed 0.*not.*seed 1.*another folder"):
        render("demo", small, patients=10, seed=1, area=AREA, workers=1)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match="empty folder"):
        render("demo", tmp_path, patients=10, area=AREA, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_cohort_of_real_slides_is_not_rendered(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"brca cannot be rendered.*demo"):
        render("brca", tmp_path / "brca")


@settings(max_examples=25, deadline=None)
@given(n=st.integers(10, 300), seed=st.integers(0, 10**6))
def test_factors_are_standard_and_hardly_correlated_at_any_size(n: int, seed: int) -> None:
    for factor in (pair := draw_factors(np.random.default_rng(seed), n)):
        assert factor.mean() == pytest.approx(0, abs=1e-9)
        assert factor.std() == pytest.approx(1)
    assert abs(np.corrcoef(*pair)[0, 1]) < 0.1


@pytest.mark.parametrize("cohort", HAZARDS)
def test_the_hazard_rests_on_the_factors_that_the_cohort_names(cohort: str) -> None:
    plan = plan_cohort(replace(DEMO, name=cohort), 200, 3, 2.0, AREA)
    risk, fine, coarse = (np.array([getattr(p, name) for p in plan.people]) for name in ("risk", "fine", "coarse"))
    share = np.array([np.cov(risk, factor)[0, 1] for factor in (fine, coarse)])
    assert share == pytest.approx(2.0 * np.array(HAZARDS[cohort]) / (np.hypot(*HAZARDS[cohort]) or 1), abs=0.05)
    assert plan.oracle_c_index == 0.5 if cohort == "planted-null" else plan.oracle_c_index > 0.75


@pytest.mark.parametrize("solid", [0.1, 0.5, 0.9])
def test_solid_tumour_takes_the_place_of_glands(solid: float) -> None:
    plan = architecture.draw(np.random.default_rng(0), (1024, 1152), 6e5, solid)
    sheet, ring = plan.sheet.sum(), (plan.ring + plan.lumen).sum()
    assert (solid < 0.3) == (ring > 2 * sheet)
    assert (solid > 0.7) == (sheet > 2 * ring)
    assert plan.tissue.sum() == pytest.approx(6e5, rel=0.1)
    for field in (plan.tissue, plan.sheet, plan.ring, plan.lumen):
        assert (field.min(), field.max()) >= (0, 0.9)
        assert field.max() <= 1


def test_atypical_nuclei_are_larger_and_fewer_so_that_as_much_of_the_tumour_is_nucleus() -> None:
    plan = architecture.draw(np.random.default_rng(5), (512, 512), 2e5, 0.6)
    covered, number = [], []
    for atypia in (0.05, 0.95):
        groups = tumour_cells(np.random.default_rng(6), plan, atypia)
        number.append(sum(len(cells.at) for cells in groups))
        assert len(groups[1].at) / number[-1] == pytest.approx(atypia, abs=0.03)
        covered.append(sum(nuclei.KINDS[cells.kind].radius ** 2 * len(cells.at) for cells in groups))
    assert covered[0] == pytest.approx(covered[1], rel=0.1)
    assert number[0] > 1.6 * number[1]


def nuclear_size(image: np.ndarray) -> float:
    """Measured at 20x: the share of nuclear pixels that lie more than 3.5 um deep in a nucleus."""
    density = -np.log(np.maximum(image, 1) / np.array(GLASS))
    haematoxylin = density @ np.linalg.pinv(np.array([HAEMATOXYLIN, EOSIN]))[:, 0]
    depth = ndimage.distance_transform_edt(ndimage.binary_closing(haematoxylin > 0.6))
    return float((depth > 3.5 / MPP).sum() / (depth > 0).sum())


def lumen_share(image: np.ndarray) -> float:
    """Measured at 5x: how much of the tissue are round holes in it."""
    small = image[::4, ::4].astype(int)
    tissue = ndimage.binary_opening(small.max(axis=2) - small.min(axis=2) > 25, iterations=2)
    holes = ndimage.binary_opening(ndimage.binary_fill_holes(tissue) & ~tissue, iterations=4)
    return float(holes.sum() / tissue.sum())


def test_the_fine_factor_is_seen_in_nuclei_at_20x_and_the_coarse_one_in_lumens_at_5x() -> None:
    measured = np.empty((2, 2, 2, 2))  # slide, atypia, solid, measure
    for seed, fine, coarse in np.ndindex(2, 2, 2):
        content = Content((0.1, 0.9)[fine], (0.1, 0.9)[coarse], 0.3)
        image = draw(np.random.default_rng(seed), content, STAIN, (1280, 1408))
        measured[seed, fine, coarse] = nuclear_size(image), lumen_share(image)
    by_fine = measured[:, 1] - measured[:, 0]  # slide, solid, measure
    by_coarse = measured[:, :, 1] - measured[:, :, 0]  # slide, atypia, measure
    assert (by_fine[..., 0] > 0).all()
    assert (by_coarse[..., 1] < 0).all()
    assert by_fine[..., 0].mean() > 3 * abs(by_coarse[..., 0].mean())
    assert -by_coarse[..., 1].mean() > 5 * abs(by_fine[..., 1].mean())
