"""Reading: pixels are the slide's own where they can be, averages where they must be, and never from too coarse a
level.
"""

from pathlib import Path

import numpy as np
import openslide
import pytest
from checkout import SHARED
from milsurv.datasets.slides.files import content_of, find_slides
from milsurv.datasets.slides.grid import choose_tiles, plan_grid
from milsurv.datasets.slides.reading import read_tiles, regions
from milsurv.datasets.slides.slide import opened, series
from milsurv.datasets.slides.tissue import find_tissue, thumbnail
from milsurv.errors import DataError
from slide_writers import tissue_image, write_tiff

WSI = SHARED / "data" / "wsi"
CMU = WSI / "CMU-1-Small-Region.svs"
real = pytest.mark.skipif(not WSI.is_dir(), reason="needs the slides in ../shared/data/wsi")


def everywhere(corners, side):
    return np.ones(len(corners))


def tiles_of(path: Path, patch_px: int = 64, user_mpp: float | None = None) -> tuple:
    with opened(path, user_mpp) as slide:
        grid, _ = plan_grid(slide.size, slide.resolution.mpp, (20, 10, 5), patch_px)
        tiles = choose_tiles(grid, everywhere, 0.5)
        read = {(t.magnification, t.row): np.asarray(t.pixels) for t in read_tiles(slide, grid, tiles)}
        levels = {r.level for block in regions(slide, grid, tiles) for r in block.values()}
    return grid, tiles, read, levels


@pytest.mark.parametrize("factors", [(1,), (1, 2), (1, 4), (1, 2, 4, 8)])
def test_every_scale_shows_the_pixels_of_its_place_whatever_levels_there_are(tmp_path, factors):
    image = tissue_image(600, 300, [(0, 0, 500, 300)])
    grid, tiles, read, levels = tiles_of(write_tiff(tmp_path / "a.tiff", image, 0.5, factors))
    assert {m: len(at) for m, at in tiles.at.items()} == {20: 32, 10: 8, 5: 2}
    assert levels == {i for i, factor in enumerate(factors) if factor <= 4}
    for (m, row), pixels in read.items():
        (x, y), side, k = grid.corners(m, tiles.at[m])[row], grid.side_of(m), 20 // m
        exact = image[y : y + side, x : x + side].reshape(64, k, 64, k, 3).mean((1, 3))
        assert np.abs(pixels - exact).max() <= (0 if m == 20 else 1)


def test_a_factor_that_is_not_whole_is_resampled_without_aliasing(tmp_path):
    y, x = np.mgrid[:512, :512]
    stripes = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, 2)  # finer than any tile pixel at 0.23
    grid, _, read, _ = tiles_of(write_tiff(tmp_path / "a.tiff", stripes, 0.23, (1,)), patch_px=32)
    assert grid.side_of(20) == 70
    assert {pixels.shape for pixels in read.values()} == {(32, 32, 3)}
    middle = np.concatenate([pixels[4:-4, 4:-4].ravel() for pixels in read.values()])
    assert np.abs(middle - 127.5).max() < 20


def test_the_thumbnail_is_the_mean_of_what_it_covers(tmp_path):
    image = tissue_image(640, 320, [(100, 50, 400, 250)])
    with opened(write_tiff(tmp_path / "a.tiff", image, 0.5, (1,))) as slide:
        exact = image.reshape(20, 16, 40, 16, 3).mean((1, 3))
        assert np.abs(thumbnail(slide, 16) - exact).max() <= 1


def test_the_thumbnail_does_not_show_its_blocks(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.tiff", tissue_image(640, 320, [(100, 50, 400, 250)]), 0.5, (1,))
    with opened(path) as slide:
        whole = thumbnail(slide, 16)
        monkeypatch.setattr("milsurv.datasets.slides.tissue.BLOCK", 100)
        assert np.array_equal(thumbnail(slide, 16), whole)


@real
def test_the_real_slide_has_the_known_counts():
    with opened(CMU) as slide:
        assert slide.resolution.mpp == 0.499
        tissue = find_tissue(slide)
        grid, remarks = plan_grid(slide.size, slide.resolution.mpp, (20, 10, 5), 256)
        tiles = choose_tiles(grid, tissue.share, 0.5)
    assert not remarks
    assert tiles.full == {20: 88, 10: 20, 5: 4}
    assert 31 <= tiles.tissue[20] <= 35 and 5 <= tiles.tissue[10] <= 7 and tiles.tissue[5] == 1


@real
def test_tiles_of_the_real_slide_at_20x_are_openslides_own_pixels():
    with opened(CMU) as slide, openslide.OpenSlide(CMU) as own:
        grid, _ = plan_grid(slide.size, slide.resolution.mpp, (20, 10, 5), 256)
        tiles = choose_tiles(grid, everywhere, 0.5)
        corners, seen = grid.corners(20, tiles.at[20]), 0
        for tile in read_tiles(slide, grid, tiles):
            if tile.magnification == 20 and tile.row % 5 == 0:
                x, y = (int(v) for v in corners[tile.row])
                assert np.array_equal(
                    np.asarray(tile.pixels), np.asarray(own.read_region((x, y), 0, (256, 256)))[..., :3]
                )
                seen += 1
        assert seen == 13


@real
def test_broken_and_foreign_files_say_why():
    with pytest.raises(DataError, match="cannot be opened"), opened(WSI / "openslide-python" / "unopenable.tiff"):
        pass
    with (
        opened(WSI / "openslide-python" / "unreadable.svs") as slide,
        pytest.raises(DataError, match="cannot be read at"),
    ):
        slide.region(0, 0, 0, 16, 16)
    with pytest.raises(DataError, match="no slide of a format"), opened(Path(__file__)):
        pass
    with pytest.raises(DataError, match="give --mpp"), opened(WSI / "openslide-python" / "boxes.tiff"):
        pass


@real
def test_files_of_one_dicom_series_are_one_slide():
    found = find_slides([WSI / "openslide-python"], series)
    assert {p.name: w.name for p, w in found.parts.items()} == {"boxes_1.dcm": "boxes_0.dcm"}
    assert "boxes_0" in [slide.slide for slide in found.slides]


def nothing(path: Path) -> None:
    return None


def test_names_are_data_and_stay_inside(tmp_path):
    for name in (
        "a b.svs",
        "Ünï-слайд.TIF",
        "._a b.svs",
        "notes.txt",
        "..sneaky.svs",
        "x\ny.svs",
        "c:d.svs",
        "deep/E.SVS",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find_slides([tmp_path], nothing)
    assert [slide.slide for slide in found.slides] == ["E", "a b", "Ünï-слайд"]
    assert {path.name for path in found.refused} == {"..sneaky.svs", "x\ny.svs", "c:d.svs"}


def test_two_slides_of_one_name_are_both_refused_and_named(tmp_path):
    for name in ("one/a.svs", "two/A.tiff", "one/b.svs"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find_slides([tmp_path], nothing)
    assert [slide.slide for slide in found.slides] == ["b"]
    assert all("has the same name as" in why for why in found.refused.values()) and len(found.refused) == 2


def test_linked_folders_are_followed_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.svs").write_bytes(b"x")
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "slides")
    assert [slide.slide for slide in find_slides([tmp_path / "slides"], nothing).slides] == ["a"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no slides"):
        find_slides([tmp_path / "empty"], nothing)
    with pytest.raises(DataError, match="does not exist"):
        find_slides([tmp_path / "nowhere"], nothing)


def test_content_is_known_again_after_a_move_and_not_after_a_change(tmp_path):
    (tmp_path / "a.svs").write_bytes(bytes(range(256)) * 4000)
    before = content_of(tmp_path / "a.svs")
    (tmp_path / "a.svs").rename(tmp_path / "b.svs")
    assert content_of(tmp_path / "b.svs") == before
    with (tmp_path / "b.svs").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    assert content_of(tmp_path / "b.svs") != before
