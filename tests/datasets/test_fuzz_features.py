"""Features drawn at random, written in any form and layout, damaged or not: what is accepted is what was written.

Small by default; this draws 5000 of each kind:
`MILSURV_FUZZ=5000 python -m pytest tests/datasets/test_fuzz_features.py tests/datasets/test_fuzz_tables.py`.
"""

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from feature_writers import trident_file
from form_writers import LOCATED, WRITERS, Writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milsurv.datasets.features.coverage import survey
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.features.reader import Reader
from milsurv.errors import DataError

MANY = int(os.environ.get("MILSURV_FUZZ", "24"))
fuzzed = settings(
    max_examples=MANY,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
NAMES = st.sampled_from(["S{}", "TCGA-A2-{:04}-01Z-00-DX1", "H 20-{} HE", "Sü{}", "a.b.{}", "{}"])
QUICK = tuple(w for w in WRITERS if w.__name__ not in ("lazyslide", "zarr_anndata", "zarr_group", "h5ad"))


@dataclass
class Truth:
    features: dict[str, np.ndarray]
    places: dict[str, np.ndarray]


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    style, width = draw(NAMES), draw(st.integers(9, 16))
    names = [style.format(i + 1) for i in range(draw(st.integers(2, 5)))]
    features = {n: rng.normal(size=(draw(st.integers(1, 6)), width)).astype(np.float32) for n in names}
    return Truth(features, {n: np.stack([rng.permutation(len(x)) * 512, rng.integers(0, 9, len(x)) * 512], 1)
                            for n, x in features.items()})  # fmt: skip


def is_truth(reader: Reader, truth: Truth, located: bool) -> None:
    """Whether a reader gives the slides, numbers and places that were written."""
    assert reader.slides == set(truth.features)
    for slide, x in truth.features.items():
        assert reader.magnifications == (20,)
        half, where = reader.read(slide, 20)
        np.testing.assert_array_equal(half, x.astype(np.float16))
        assert reader.facts(slide)[20].patches == len(x)
        if located:
            assert where is not None
            np.testing.assert_array_equal(where, truth.places[slide])


def written(folder: Path, writer: Writer, truth: Truth, slides: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for slide in slides:
        writer(folder, slide, truth.features[slide], truth.places[slide])


@given(st.data())
@fuzzed
def test_whatever_features_are_accepted_are_the_truth(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("features")
    truth = data.draw(truths())
    writer = data.draw(st.sampled_from(QUICK))
    slides = sorted(truth.features)
    layout = data.draw(st.sampled_from(["flat", "patients", "projects", "x20", "archive", "several"]))
    asked = {} if layout == "x20" else {"magnification": 20}
    home = folder / "mine"
    if layout == "patients":
        for k, slide in enumerate(slides):
            written(home / f"P{k}", writer, truth, [slide])
    elif layout in ("projects", "several"):
        for k in range(2):
            written(home / f"TCGA-{k}", writer, truth, slides[k::2])
    else:
        written(home / "x20" if layout == "x20" else home, writer, truth, slides)
    if layout == "several":
        reader = open_features([home / "TCGA-0", home / "TCGA-1"], "mine", **asked)
    elif layout == "archive":
        with tarfile.open(folder / "mine.tar.gz", "w:gz", compresslevel=1) as packed:
            packed.add(home, "mine")
        with pytest.warns(UserWarning, match="unpacking"), pytest.MonkeyPatch.context() as patch:
            patch.setenv("MILSURV_CACHE", str(folder / "cache"))
            reader = open_features(folder / "mine.tar.gz", **asked)
    else:
        reader = open_features(home, **asked)
    is_truth(reader, truth, writer in LOCATED)


@given(st.data())
@fuzzed
def test_no_damage_to_a_file_ends_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damage")
    truth = data.draw(truths())
    writer = data.draw(st.sampled_from(QUICK))
    slides = sorted(truth.features)
    written(folder, writer, truth, slides)
    bad = data.draw(st.sampled_from(slides))
    (file,) = [p for p in folder.iterdir() if p.stem == bad]
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 9999)) * len(content) // 10_000
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            content = content[: max(at, 1)]
    file.write_bytes(content)
    try:
        reader = open_features(folder, magnification=20)
        survey(reader, slides, (20,))
        for slide in slides:
            if slide in reader.slides and slide != bad:
                np.testing.assert_array_equal(reader.read(slide, 20)[0], truth.features[slide].astype(np.float16))
        if bad in reader.slides:
            half, _ = reader.read(bad, 20)
            assert half.ndim == 2 and half.dtype == np.float16 and np.isfinite(half).all()
    except DataError as error:
        assert str(error)


@given(st.data())
@fuzzed
def test_what_files_say_against_each_other_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("said")
    truth = data.draw(truths())
    slides = sorted(truth.features)
    odd = data.draw(st.sampled_from(slides))
    what = data.draw(st.sampled_from(["none", "encoder", "magnification", "width"]))
    for slide in slides:
        x, m, encoder = truth.features[slide], 20, "mine"
        if slide == odd:
            encoder = "other" if what == "encoder" else encoder
            m = 10 if what == "magnification" else m
            x = np.hstack([x, x]) if what == "width" else x
        trident_file(folder / f"{slide}.h5", x, truth.places[slide], m, encoder)
    reader = open_features(folder)
    found = survey(reader, slides, (20,))
    try:
        found.refuse(str(folder), allow_missing=False)
    except DataError as error:
        assert what != "none" and str(error)
    else:
        assert what == "none"
        is_truth(reader, truth, located=True)
