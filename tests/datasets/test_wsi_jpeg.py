"""JPEG slides are decoded without openslide: to its pixels everywhere, and with its word on what is damaged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from checkout import SHARED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milsurv.datasets.slides.slide import Slide, opened
from milsurv.errors import DataError
from slide_writers import tissue_image, write_jpeg_tiff, write_tiff

WIDTH, HEIGHT = 500, 300  # the last tiles are not full
KINDS = [("ycbcr", False), ("ycbcr", True), ("rgb", False), ("rgb", True)]
CMU = SHARED / "data" / "wsi" / "CMU-1-Small-Region.svs"


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}{'-tables' if kind[1] else ''}")
def path(request, tmp_path_factory) -> Path:
    image = tissue_image(WIDTH, HEIGHT, [(20, 10, 480, 290)])
    return write_jpeg_tiff(tmp_path_factory.mktemp("jpeg") / "a.tiff", image, *request.param)


def by_openslide(slide: Slide) -> Slide:
    return replace(slide, _jpeg_levels={})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    level=st.integers(0, 1), left=st.integers(-150, WIDTH + 20), top=st.integers(-150, HEIGHT + 20),
    width=st.integers(1, 300), height=st.integers(1, 300),
)  # fmt: skip
def test_pixels_of_any_region_are_openslides(path, level, left, top, width, height):
    with opened(path) as slide:
        assert sorted(slide._jpeg_levels) == [0, 1]
        region = (left, top, level, width, height)  # of level 1 also at half pixels
        assert np.array_equal(slide.region(*region), by_openslide(slide).region(*region))


def test_openslide_is_not_asked_for_tiles_in_jpeg(path, monkeypatch):
    monkeypatch.setattr(openslide.OpenSlide, "read_region", None)
    with opened(path) as slide:
        assert slide.region(100, 60, 0, 200, 200).size == slide.region(100, 60, 1, 200, 200).size == (200, 200)


@pytest.mark.skipif(not CMU.exists(), reason="needs the slides in ../shared/data/wsi")
def test_pixels_of_a_scanners_own_file_are_openslides():
    with opened(CMU) as slide:
        assert sorted(slide._jpeg_levels) == [0]
        for corner in ((0, 0), (700, 1111), (1800, 2600)):
            assert np.array_equal(slide.region(*corner, 0, 500, 500), by_openslide(slide).region(*corner, 0, 500, 500))


def streams(path: Path) -> list[tuple[int, int]]:
    """Offset and length of the tiles of the finest level."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        return list(zip(page.dataoffsets, page.databytecounts, strict=True))


@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_a_tile_that_ends_early_is_an_error_and_never_made_up(path, tmp_path, share):
    content = bytearray(path.read_bytes())
    start, length = streams(path)[0]
    at = start + int(share * length)
    content[at : at + 150] = b"\xff\xd9" * 75
    (tmp_path / "a.tiff").write_bytes(content)
    with opened(tmp_path / "a.tiff") as slide:
        assert slide.region(256, 0, 0, 64, 64).size == (64, 64), "another tile is whole"
        with pytest.raises(DataError, match="cannot be read at"):
            slide.region(0, 0, 0, 64, 64)


def test_what_is_not_plain_is_left_to_openslide(tmp_path):
    image = tissue_image(WIDTH, HEIGHT, [(20, 10, 480, 290)])
    with opened(write_tiff(tmp_path / "deflate.tiff", image)) as slide:
        assert not slide._jpeg_levels
    sparse = write_jpeg_tiff(tmp_path / "sparse.tiff", image)
    with tifffile.TiffFile(sparse, mode="r+") as tiff:
        counts = tiff.pages.first.tags["TileByteCounts"]
        counts.overwrite([0, *counts.value[1:]])  # a tile that the scanner left out
    with opened(sparse) as slide:
        assert sorted(slide._jpeg_levels) == [1]
