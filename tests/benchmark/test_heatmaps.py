"""Heatmaps of a slide: values stand where the patches lie, names are text, the viewer asks nothing of a network."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.benchmark.inference.ensemble import load_ensemble
from milsurv.benchmark.inference.heatmap.colours import colours
from milsurv.benchmark.inference.heatmap.maps import SlideMap, regions_of, slide_maps
from milsurv.benchmark.inference.heatmap.overlay import geojson, heat, sheet, svg
from milsurv.benchmark.inference.heatmap.page import viewer
from milsurv.benchmark.inference.heatmap.picture import SlidePicture, picture_of
from milsurv.benchmark.inference.heatmap.writing import slide_file, write_heatmaps
from milsurv.benchmark.inference.predict import open_source
from milsurv.errors import DataError, UsageError
from milsurv.models.attribution.attention import TITLES
from page_browser import chromium
from PIL import Image
from slide_writers import write_tiff


@pytest.fixture(scope="module")
def trained(made_once, cohort_folder) -> Path:
    """The folder of CrossFusion, two folds."""

    def train(folder: Path) -> None:
        from milsurv import run

        run("crossfusion", "blca", features=cohort_folder / "features", labels=cohort_folder / "labels.csv", out=folder,
            folds=2, settings={"epochs": 2, "embed_dim": 32, "num_heads": 2}, progress=False)  # fmt: skip

    return next((made_once("crossfusion-two-folds", train) / "experiments").iterdir())


@pytest.fixture(scope="module")
def slide(cohort_folder) -> str:
    return sorted(path.stem for path in (cohort_folder / "features").rglob("*.h5"))[0]


def a_map(values: list[float], method: str = "occlusion", model: str = "m", side: int = 256) -> SlideMap:
    corners = np.array([[side * (i % 3), side * (i // 3)] for i in range(len(values))])
    return SlideMap(model, method, method, 20, corners, float(side), np.array(values))


def test_a_command_draws_every_method_at_every_scale_that_is_read(trained, cohort_folder, slide, bench, tmp_path):
    words = ("heatmap", trained, "--slide", slide, "--features", cohort_folder / "features", "--out", tmp_path)
    status, out, _ = bench(*words, "--json")
    assert status == 0
    found = json.loads(out)
    shown = {one["map"] for one in found["maps"]}
    methods = ("occlusion", "gradient times input", "integrated gradients")
    attention = {f"{title} {m}x" for title, m in zip(TITLES.values(), (5, 20, 10, 10), strict=True)}
    assert shown == attention | {f"{method} {m}x" for method in methods for m in (5, 10, 20)}
    files = [Path(name) for name in found["files"]]
    assert {path.suffix for path in files} == {".png", ".svg", ".geojson", ".csv", ".html"}
    assert all(path.is_file() and tmp_path in path.parents for path in files)
    rows = list(csv.DictReader((files[-1].parent / "values.csv").open()))
    assert len(rows) == sum(one["patches"] for one in found["maps"])


def test_occlusion_of_the_ensemble_is_the_mean_over_its_models(trained, cohort_folder, slide):
    def values(folds):
        ensemble = load_ensemble(trained, folds)
        source, _, _ = open_source(ensemble, cohort_folder / "features", slides=[slide], places=True)
        return {one.key: one.values for one in slide_maps(ensemble, source, ("occlusion", "gradient"))}

    both, first, second = values([0, 1]), values([0]), values([1])
    for key in both:
        assert both[key] == pytest.approx((first[key] + second[key]) / 2, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 10_000))
def test_regions_are_as_few_as_asked_and_hold_every_patch(n, most, seed):
    rng = np.random.default_rng(seed)
    corners = np.unique(rng.integers(0, 30, (n, 2)), axis=0) * 256
    regions = regions_of(corners, 256.0, most)
    assert regions.shape == (len(corners),) and regions.max() < most
    assert set(regions) == set(range(regions.max() + 1))


def test_colours_lie_where_the_patches_do_and_tell_raising_from_lowering():
    one = a_map([1.0, -1.0, 0.0])
    layer = np.asarray(heat(one, SlidePicture((768, 512)), (96, 64)))
    assert (layer[:32, :32, :3] == colours(one)[0]).all() and (layer[:32, 32:64, :3] == colours(one)[1]).all()
    assert layer[:32, :32, 3].min() > 0 and layer[40:, :, 3].max() == 0
    red, blue = colours(one)[0].astype(int), colours(one)[1].astype(int)
    assert red[0] > red[2] and blue[2] > blue[0]


def test_geojson_has_a_closed_square_and_all_measurements_a_patch():
    found = geojson([a_map([0.5, 1.5]), a_map([2.0, 3.0], method="attention")])
    assert found["type"] == "FeatureCollection" and len(found["features"]) == 2
    first = found["features"][0]
    ring = first["geometry"]["coordinates"][0]
    assert first["geometry"]["type"] == "Polygon" and ring[0] == ring[-1] and len(ring) == 5
    assert first["properties"]["objectType"] == "detection"
    assert first["properties"]["measurements"] == {"m occlusion 20x": 0.5, "m attention 20x": 2.0}


def test_names_from_data_are_text_in_svg_and_viewer(tmp_path):
    odd = '</script><img src=x onerror="x">'
    one = a_map([1.0, 2.0, 3.0], model=odd)
    picture = SlidePicture((768, 256))
    assert odd not in svg(one, picture)
    page = viewer(odd, [one], picture, 256)
    assert odd not in page and "default-src 'none'" in page and "OpenSeadragon contributors" in page
    written = write_heatmaps("../../out", [one], None, tmp_path / "maps", 256)
    assert all(tmp_path / "maps" in path.resolve().parents for path in written)


@pytest.fixture(scope="module")
def tissue(made_once) -> Path:
    """A slide of 1536 x 1024 pixels: red at the left, blue at the right."""

    def draw(folder: Path) -> None:
        pixels = np.full((1024, 1536, 3), (200, 30, 60), np.uint8)
        pixels[:, 768:] = (40, 40, 200)
        write_tiff(folder / "a-slide.tif", pixels)

    return made_once("two-coloured-slide", draw) / "a-slide.tif"


def test_maps_are_drawn_on_the_tissue_with_a_sheet_of_its_patches(tissue):
    assert slide_file([tissue.parent], "a-slide") == tissue
    with pytest.raises(UsageError, match="a-slide"):
        slide_file([tissue.parent], "b-slide")
    corners = np.array([[x, 0] for x in range(0, 1536, 256)])
    one = SlideMap("m", "occlusion", "occlusion", 20, corners, 256.0, np.arange(6) - 2.5)
    with picture_of(tissue, [one], 0.5) as picture:
        assert picture.size == (1536, 1024)
        left, right = (picture.patch(x, 0, 256, 32).getpixel((16, 16)) for x in (0, 1280))
        assert left[0] > left[2] and right[2] > right[0]
        found = sheet(one, picture, shown=2)
        assert found is not None and Image.open(io.BytesIO(found)).width > 200
        whole = picture.thumbnail(300)
        assert whole.size == (300, 200) and whole.getpixel((20, 100))[0] > 150
    far = SlideMap("m", "occlusion", "occlusion", 20, corners + 9000, 256.0, np.arange(6.0))
    with pytest.raises(DataError, match="another slide"), picture_of(tissue, [far], 0.5):
        pass
    with picture_of(None, [far]) as paper:
        assert paper.size == (1536, 256) and sheet(far, paper) is None


@pytest.mark.slow
def test_the_viewer_shows_maps_and_values_and_asks_no_network(tissue, tmp_path):
    corners = np.array([[x, y] for x in range(0, 1536, 256) for y in range(0, 1024, 256)])
    maps = [
        SlideMap("one", "occlusion", "occlusion", 20, corners, 256.0, np.linspace(-1, 1, len(corners))),
        SlideMap("two", "attention", "attention", 20, corners, 256.0, np.linspace(0, 2, len(corners))),
    ]
    with picture_of(tissue, maps, 0.5) as picture:
        (tmp_path / "viewer.html").write_text(viewer("a slide", maps, picture, 1024))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((tmp_path / "viewer.html").as_uri())
        page.wait_for_selector(".pane[data-shown='one: occlusion 20x']", timeout=30_000)
        box = page.locator(".view").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_function("document.querySelector('.value').textContent")
        assert re.match(r"-?\d.* at \d+, \d+", page.locator(".value").first.text_content())
        page.locator("select").first.select_option("1")
        page.wait_for_selector(".pane[data-shown='two: attention 20x']")
        page.check("#side")
        assert page.locator(".pane").nth(1).is_visible()
        assert all(url.startswith(("file:", "data:", "blob:")) for url in asked) and not said
