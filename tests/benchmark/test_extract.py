"""Extraction: slides in, a store out; resumable, the same from any number of workers, and no slide stops another."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from milsurv.benchmark.extraction.extract import ExtractionOptions, _same_mpp, extract
from milsurv.benchmark.extraction.stream import Task
from milsurv.datasets.features.nesting import check_nesting
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.slides.files import SlideFile, find_slides
from milsurv.datasets.slides.mpp import resolution
from milsurv.datasets.slides.reader import ReadOptions, running
from milsurv.errors import DataError, UsageError
from slide_writers import INK, tissue_image, write_tiff

BENCH = [sys.executable, "-m", "milsurv.benchmark.cli.main"]
SMALL = {"patch_px": 64, "device": "cpu", "workers": 1}
TILES = {20: 40, 10: 12, 5: 4}  # of a slide with tissue in its left 330 of 512 pixels


def draw(folder: Path, names: list[str], side: int = 512) -> Path:
    """Slides with tissue in their left part; below a side of 384 it would be a speck."""
    for seed, name in enumerate(names):
        write_tiff(folder / name, tissue_image(side, side, [(0, 0, side * 330 // 512, side)], seed))
    return folder


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Path:
    """Two good slides, in folders, one blank, one with pen and tissue, one torn, one with damaged tiles, one of another
    kind.
    """
    folder = draw(tmp_path_factory.mktemp("slides"), ["one/a.tiff", "two/b c.TIF"])
    write_tiff(folder / "blank.tiff", tissue_image(512, 512, []))
    penned = tissue_image(512, 512, [(0, 0, 330, 512)])
    penned[:, 200:330] = INK
    write_tiff(folder / "penned.tiff", penned)
    whole = (folder / "one/a.tiff").read_bytes()
    (folder / "torn.tiff").write_bytes(whole[:-9000])
    damaged = whole[: len(whole) // 2] + bytes(20_000) + whole[len(whole) // 2 + 20_000 :]
    (folder / "damaged.tiff").write_bytes(damaged)  # in the middle of the finest level
    (folder / "words.svs").write_text("no slide")
    return folder


@pytest.fixture(scope="module")
def extracted(slides, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return out, extract(ExtractionOptions((slides,), out, **SMALL))


def store(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.h5"))}


def test_every_slide_is_in_the_report_and_no_bad_one_stops_another(extracted):
    out, report = extracted
    status = {row["slide"]: row["status"] for row in report.rows}
    assert status == {
        "a": "written", "b c": "written", "blank": "no tissue", "penned": "written",
        "damaged": "failed", "torn": "failed", "words": "failed",
    }  # fmt: skip
    assert "cannot be opened" in report.failed["torn"] and "no slide of a format" in report.failed["words"]
    assert "cannot be read at" in report.failed["damaged"] and not (out / "damaged.h5").exists()
    with (out / "extract-report.csv").open(newline="") as file:
        rows = {row["slide"]: row for row in csv.DictReader(file)}
    assert rows["a"]["tiles_20x"] == str(TILES[20]) and rows["a"]["full_20x"] == "64" and rows["a"]["mpp"] == "0.5"
    assert rows["torn"]["reason"] == report.failed["torn"]


def test_the_store_holds_three_scales_that_nest(extracted):
    out, _ = extracted
    reader = open_features(out)
    assert (reader.backbone, reader.dim, reader.magnifications) == ("efficientnet-lite0", 1280, (5, 10, 20))
    assert reader.counts("a") == TILES and reader.counts("blank") == {20: 0, 10: 0, 5: 0}
    found = check_nesting(reader)
    assert [(p.coarse, p.fine, p.unmatched, p.without_tiles) for p in found.pairs] == [(5, 10, 0, 0), (10, 20, 0, 0)]
    assert not found.findings
    features, coords = reader.read("b c", 20)
    assert np.isfinite(features).all() and features.std() > 0.1
    assert coords is not None and (coords % 64 == 0).all()


def test_pen_is_not_read(extracted):
    out, _ = extracted
    _, coords = open_features(out).read("penned", 20)
    assert coords is not None and len(coords) > 0 and coords[:, 0].max() + 64 <= 200


def test_features_are_those_of_the_pixels_at_their_coordinates(extracted, slides):
    from milsurv.datasets.encoders.opening import open_encoder
    from PIL import Image

    out, _ = extracted
    image = tissue_image(512, 512, [(0, 0, 330, 512)], 0)
    features, coords = open_features(out).read("a", 20)
    assert coords is not None
    x, y = coords[7]
    tile = Image.fromarray(image[y : y + 64, x : x + 64]).resize((224, 224), Image.Resampling.BILINEAR)
    own = open_encoder("efficientnet-lite0").on("cpu").features(np.array(tile)[None])[0]
    assert np.abs(features[7] - own).max() < 0.01


def test_finished_slides_are_skipped_and_two_workers_give_the_bytes_of_one(extracted, slides, tmp_path):
    out, _ = extracted
    before = store(out)
    stamps = {path.name: path.stat().st_mtime_ns for path in out.glob("*.h5")}
    again = extract(ExtractionOptions((slides,), out, **SMALL))
    assert sorted(row["slide"] for row in again.of("finished before")) == ["a", "b c", "penned"]
    assert [row["slide"] for row in again.of("no tissue")] == ["blank"]
    assert stamps == {path.name: path.stat().st_mtime_ns for path in out.glob("*.h5")}
    two = extract(ExtractionOptions((slides,), tmp_path / "two", **{**SMALL, "workers": 2}))
    assert store(tmp_path / "two") == before and len(two.failed) == 3


def test_the_report_says_of_finished_slides_what_it_said_when_they_were_read(extracted, slides):
    out, first = extracted

    def said(report):
        kept = [row for row in report.rows if row["status"] in ("written", "no tissue", "finished before")]
        return [{k: v for k, v in row.items() if k not in ("status", "seconds")} for row in kept]

    assert said(first)
    assert said(extract(ExtractionOptions((slides,), out, **SMALL))) == said(first)
    before = (out / "extract-report.csv").read_bytes()
    extract(ExtractionOptions((slides,), out, **SMALL | {"min_tissue": 0.9}, preview=True))
    assert (out / "extract-report.csv").read_bytes() == before, "a preview reports elsewhere"


def test_one_number_for_slides_that_say_nothing_changes_nothing_for_those_that_speak(extracted, slides):
    out, _ = extracted
    again = extract(ExtractionOptions((slides,), out, **SMALL, mpp=0.25))
    assert not again.of("written") and sorted(row["slide"] for row in again.of("finished before")) == [
        "a",
        "b c",
        "penned",
    ]
    each = extract(ExtractionOptions((slides / "one",), out, **SMALL, mpp={"a": 0.25}))
    assert "contradicts the file" in each.failed["a"] and "still in the folder" in each.failed["a"]


@given(
    vendor=st.sampled_from([None, 0.25, 0.26, 0.5]), tags=st.sampled_from([None, 0.25, 0.5, 10]),
    power=st.sampled_from([None, 20, 40]), user_mpp=st.tuples(*[st.sampled_from([None, 0.25, 0.26, 0.5])] * 2),
    for_this_slide=st.tuples(st.booleans(), st.booleans()),
)  # fmt: skip
@example(vendor=0.5, tags=0.5, power=40, user_mpp=(0.25, 0.25), for_this_slide=(True, False))
@settings(max_examples=500, deadline=None)
def test_features_are_kept_only_if_the_slide_would_be_read_at_the_same_resolution_again(
    vendor, tags, power, user_mpp, for_this_slide
):
    properties = {"openslide.mpp-x": vendor, "openslide.mpp-y": vendor, "openslide.objective-power": power}
    properties |= {f"tiff.{axis}Resolution": tags and 10_000 / tags for axis in "XY"}
    said = {key: str(value) for key, value in properties.items() if value} | {"tiff.ResolutionUnit": "centimeter"}
    try:
        before = resolution(said, user_mpp[0], for_this_slide[0])
    except DataError:
        return
    extraction = {"mpp": before.mpp, "mpp_source": before.source, "mpp_by_user": before.by_user}
    again = Task(SlideFile("a", Path("a.tif")), user_mpp[1], for_this_slide[1])
    if _same_mpp(extraction, again):
        assert resolution(said, user_mpp[1], for_this_slide[1]).mpp == before.mpp
    typed_again = user_mpp[0] == user_mpp[1] and for_this_slide[0] == for_this_slide[1]
    assert not typed_again or _same_mpp(extraction, again), "typed again, it goes on"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes there")
def test_names_that_are_no_text_are_listed_and_stop_nothing(slides, tmp_path):
    odd = tmp_path / os.fsdecode(b"odd\xff")
    odd.mkdir()
    for name in (b"bad\xfe.tiff", b"good.tiff"):
        shutil.copy(slides / "one" / "a.tiff", odd / os.fsdecode(name))
    report = extract(ExtractionOptions((odd,), tmp_path / "out", **SMALL))
    assert [row["slide"] for row in report.of("written")] == ["good"]
    (row,) = report.of("failed")
    assert "characters that cannot be printed" in row["reason"]
    assert report.path.read_text(encoding="utf-8").count("odd\\udcff") == 2
    json.dumps(report.rows, ensure_ascii=False).encode()


def test_what_was_named_and_is_no_slide_by_its_ending_is_refused_and_a_place_given_twice_is_one(slides, tmp_path):
    (tmp_path / "x.qptiff").write_bytes(b"")
    here = Path(os.path.relpath(slides / "one"))
    report = extract(ExtractionOptions((slides / "one", here, tmp_path / "x.qptiff"), tmp_path / "out", **SMALL))
    assert list(report.failed) == [str(tmp_path / "x.qptiff")] and "is no slide by its name" in report.rows[0]["reason"]


def test_two_links_to_one_slide_are_two_slides(slides, tmp_path):
    for name in ("first.tiff", "second.tiff"):
        (tmp_path / name).symlink_to(slides / "one" / "a.tiff")
    assert [file.slide for file in find_slides([tmp_path], lambda path: None).slides] == ["first", "second"]


def test_a_torn_file_and_a_changed_slide_are_done_again(slides, tmp_path):
    draw(tmp_path / "slides", ["a.tiff"])
    options = ExtractionOptions((tmp_path / "slides",), tmp_path / "out", magnifications=(5,), **SMALL)
    extract(options)
    whole = store(tmp_path / "out")
    (tmp_path / "out" / "a.h5").write_bytes(whole["a.h5"][:4000])
    left, young = (tmp_path / "out" / f".a.{i}1234567.partial" for i in (0, 1))
    left.write_bytes(b"left by a killed one")
    os.utime(left, (0, 0))
    young.write_bytes(b"being written by another")
    assert extract(options).of("written") and store(tmp_path / "out") == whole
    assert list((tmp_path / "out").glob(".*.partial")) == [young]
    write_tiff(tmp_path / "slides" / "a.tiff", tissue_image(512, 512, [(0, 0, 512, 300)], 9))
    assert extract(options).of("written") and store(tmp_path / "out") != whole


def test_a_torn_file_of_a_slide_without_tissue_is_done_again(tmp_path):
    """Its head, which names no patches, is whole; HDF5 knows that the end is gone."""
    (tmp_path / "slides").mkdir()
    write_tiff(tmp_path / "slides" / "a.tiff", tissue_image(512, 512, [], 1))
    options = ExtractionOptions((tmp_path / "slides",), tmp_path / "out", magnifications=(5,), **SMALL)
    assert extract(options).of("no tissue")
    whole = store(tmp_path / "out")
    (tmp_path / "out" / "a.h5").write_bytes(whole["a.h5"][: len(whole["a.h5"]) // 2])
    assert extract(options).of("no tissue") and store(tmp_path / "out") == whole


def test_other_settings_and_other_features_are_refused(extracted, slides, tmp_path):
    out, _ = extracted
    with pytest.raises(DataError, match=r"--min-tissue 0.5 instead of 0.9.*choose another --out"):
        extract(ExtractionOptions((slides,), out, min_tissue=0.9, **SMALL))
    (tmp_path / "other.h5").write_bytes(b"of another tool")
    with pytest.raises(DataError, match=r"other\.h5, which milsurv did not write"):
        extract(ExtractionOptions((slides,), tmp_path, **SMALL))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"magnifications": (7,)}, "--magnifications"),
        ({"overlap": 64}, "--overlap 64"),
        ({"shard": (3, 2)}, "--shard 3/2"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(slides, tmp_path, wrong, message):
    with pytest.raises(UsageError, match=message):
        extract(ExtractionOptions((slides,), tmp_path, **{**SMALL, **wrong}))


def test_shards_share_the_slides_and_previews_show_them(slides, tmp_path):
    for i in (1, 2):
        report = extract(ExtractionOptions((slides,), tmp_path, shard=(i, 2), preview=True, **SMALL))
        assert report.path.name == f"preview-report-{i}-of-2.csv"
    assert {path.name for path in (tmp_path / "previews").iterdir()} == {
        "a.png", "b c.png", "blank.png", "damaged.png", "penned.png"
    }  # fmt: skip
    assert not list(tmp_path.glob("*.h5"))


def test_a_reader_that_dies_fails_its_slide_and_the_next_one_is_read(slides):
    wanted = ReadOptions(patch_px=64, batch=4)
    with running() as reader:
        _, order, batches = reader.read(slides / "one" / "a.tiff", wanted)
        next(batches)
        reader.worker.kill()
        with pytest.raises(DataError, match=r"crashed the process that read it \(status -9\)"):
            list(batches)
        _, again, batches = reader.read(slides / "one" / "a.tiff", wanted)
        assert sum(len(batch) for batch in batches) == len(order) == len(again)


def test_no_thread_outlives_an_extraction(slides, tmp_path):
    """One that did would let go of the network while the interpreter ends, and abort the process."""
    before = set(threading.enumerate())
    extract(ExtractionOptions((slides / "one",), tmp_path, patch_px=64))
    assert set(threading.enumerate()) == before


def test_a_reader_that_is_silent_is_ended(slides, monkeypatch):
    monkeypatch.setattr("milsurv.datasets.slides.reader.SECONDS", 0.05)  # no slide is opened so quickly
    with running() as reader, pytest.raises(DataError, match=r"nothing could be read for 0\.05 seconds"):
        reader.read(slides / "one" / "a.tiff", ReadOptions(patch_px=64))


def test_the_command_line_says_what_failed_and_ends_with_status_1(bench, slides, tmp_path):
    words = [
        "extract",
        "--slides",
        slides / "one",
        "--slides",
        slides / "words.svs",
        "--out",
        tmp_path,
        "--patch-px",
        64,
    ]
    status, out, err = bench(*words, "--json")
    assert status == 1 and "Traceback" not in err
    assert list(json.loads(out)["failed"]) == ["words"] and (tmp_path / "a.h5").exists()
    assert "2/2" in err and "slides/h" in err


@pytest.mark.slow
def test_whatever_stops_it_and_how_often_the_store_ends_with_the_bytes_of_a_fresh_run(tmp_path):
    count = 40  # enough that a quick machine is still at it when the signal comes
    slides = draw(tmp_path / "slides", [f"{i:02d}.tiff" for i in range(count)], side=384)
    fresh, broken = tmp_path / "fresh", tmp_path / "broken"
    words = [*BENCH, "extract", "--slides", str(slides), "--patch-px", "64", "--device", "cpu"]
    kept: dict[str, bytes] = {}
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen([*words, "--out", str(broken)], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 300
        while len(list(broken.glob("*.h5"))) <= len(kept) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(how)
        _, said = process.communicate(timeout=120)
        if how != signal.SIGKILL:
            assert process.returncode == 128 + how and "interrupted" in said and "Traceback" not in said
        assert len(kept) < len(store(broken)) < count
        assert all(store(broken)[name] == data for name, data in kept.items())
        kept = store(broken)
    extract(ExtractionOptions((slides,), broken, **SMALL))
    extract(ExtractionOptions((slides,), fresh, **{**SMALL, "workers": 2}))
    assert store(broken) == store(fresh) and len(store(fresh)) == count
    assert all(store(broken)[name] == data for name, data in kept.items())


@pytest.mark.slow
def test_slides_become_a_result_on_the_board(bench, tmp_path):
    names = [f"P{i:02d}-01" for i in range(16)]
    draw(tmp_path / "slides", [f"{name}.tiff" for name in names], side=384)
    lines = ["case_id,slide_id,survival_months,censorship"]
    lines += [f"{name[:3]},{name}.tiff,{3 + 2 * i},{i % 3 == 0:d}" for i, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(lines).replace(".tiff", ".svs") + "\n")
    features, out = tmp_path / "features", tmp_path / "results"
    words = ["extract", "--slides", tmp_path / "slides", "--out", features, "--patch-px", 64]
    assert bench(*words)[0] == 0
    words = ["run", "--model", "crossfusion", "--cohort", "blca", "--labels", tmp_path / "labels.csv", "--folds", 2]
    words += ["--features", features, "--out", out, "--epochs", 1, "--tracking", "none", "--json"]
    status, answer, err = bench(*words)
    assert status == 0, err
    assert [fold["status"] for fold in json.loads(answer)["folds"]] == ["finished", "finished"]
