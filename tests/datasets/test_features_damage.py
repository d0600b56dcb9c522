"""Damaged, cut and hostile files of every layout: an error that names the file, no crash, hang or lost slide."""

import io
import pickle
import subprocess
import sys
from pathlib import Path

import feature_writers as W
import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.datasets.bags import Bags
from milsurv.datasets.features import h5_file
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.patient import Patient
from milsurv.errors import DataError

RNG = np.random.default_rng(0)
FEATURES = {20: RNG.standard_normal((37, 24), np.float32)}
COORDS = {20: np.stack([np.arange(37) % 6, np.arange(37) // 6], 1) * 512}
FOREIGN = [name for name in W.WRITERS if name != "store"]


def damage(data: st.DataObject, whole: bytes) -> bytes:
    content = bytearray(whole)
    if data.draw(st.booleans()):
        return bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    # Headers are small and everything hangs on them: half of the flips go there.
    top = len(content) - 1 if data.draw(st.booleans()) else min(2500, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, top))] ^= data.draw(st.integers(1, 255))
    return bytes(content)


@pytest.mark.parametrize("name", FOREIGN)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damage_is_an_error_that_names_the_file_or_changes_numbers_only(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    root = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    folder = W.WRITERS[name](root, "good", FEATURES, COORDS, "mine")
    whole = root.parent / f"whole-{name}"
    if not whole.exists():
        W.WRITERS[name](root.parent / f"whole-{name}", "bad", FEATURES, COORDS, "mine")
    damaged = data.draw(st.sampled_from(sorted(p for p in whole.rglob("bad*") if p.is_file())))
    for path in sorted(p for p in whole.rglob("bad*") if p.is_file()):
        target = root / path.relative_to(whole)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        target.write_bytes(damage(data, content) if path == damaged else content)
    try:
        reader = open_features(folder)
    except DataError as error:  # a size of tiles that is not the other file's
        assert name == "stamp" and "bad" in str(error) and "another size" in str(error)
        return
    assert reader.slides == {"good", "bad"}, "a damaged file does not vanish"
    try:
        reader.counts("bad")
        features, coords = reader.read("bad", 20)
        reader.fingerprint(["bad"])
        assert features.dtype == np.float16
        assert features.ndim == 2
        assert np.isfinite(features).all()
        assert coords is None or coords.shape == (len(features), 2)
    except DataError as error:
        assert "bad" in str(error)
    np.testing.assert_array_equal(reader.read("good", 20)[0], FEATURES[20].astype(np.float16))


@given(st.binary(max_size=300), st.sampled_from(FOREIGN))
@settings(max_examples=60, deadline=None)
def test_arbitrary_bytes_are_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    root = tmp_path_factory.getbasetemp() / f"bytes-{name}"
    folder = W.WRITERS[name](root, "bad", FEATURES, COORDS, "mine")
    for path in root.rglob("bad*"):
        path.write_bytes(content)
    with pytest.raises(DataError):
        open_features(folder, magnification=20).read("bad", 20)


def hdf5(path: Path, **datasets: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name] = value
    return path


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"features": np.zeros((3, 4), np.int32)}, r"features \(3, 4\) of <i4, not \(N, D\) floats"),
        ({"features": np.zeros((2, 3, 4), np.float32)}, r"features \(2, 3, 4\)"),
        ({"features": np.float32(3)}, r"features \(\)"),
        ({"x": np.zeros((3, 4))}, "holds x, but neither `features` nor `feats`"),
        ({}, "holds nothing, but neither"),
        ({"features": np.zeros((3, 4), np.float32), "coords": np.zeros((3, 3))}, r"coordinates are \(3, 3\)"),
        ({"features": np.zeros((3, 4), np.float32), "coords": np.full((3, 2), np.nan)}, "coordinates near row 0"),
        ({"features": np.zeros((3, 4), np.float32), "coords": np.full((3, 2), 2**40)}, "coordinates near row 0"),
    ],
)
def test_files_with_other_contents_are_refused(tmp_path: Path, datasets: dict, message: str) -> None:
    hdf5(tmp_path / "x20/h5_files/a.h5", features=np.zeros((3, 4), np.float32))
    hdf5(tmp_path / "x20/h5_files/b.h5", **datasets)
    with pytest.raises(DataError, match=rf"b\.h5.*{message}"):
        open_features(tmp_path).read("b", 20)


def test_numbers_in_another_file_and_more_numbers_than_bytes_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "x20/h5_files"
    hdf5(folder / "good.h5", features=np.zeros((3, 4), np.float32))
    (tmp_path / "secret").write_bytes(b"\0" * 48)
    with h5py.File(folder / "outside.h5", "w") as file:
        file.create_dataset("features", (3, 4), "<f4", external=[(str(tmp_path / "secret"), 0, 48)])
    with h5py.File(folder / "link.h5", "w") as file:
        file["features"] = h5py.ExternalLink("good.h5", "features")
    with h5py.File(folder / "huge.h5", "w") as file:
        file.create_dataset("features", (10**9, 1024), "<f4", chunks=(1, 1024))
    with h5py.File(folder / "packed.h5", "w") as file:
        file.create_dataset("features", (10**9, 1024), "<f4", chunks=(64, 1024), compression="gzip")
    with h5py.File(folder / "stopped.h5", "w") as file:
        file.create_dataset("features", (64, 1024), "<f4", chunks=(1, 1024))[:40] = 1
    reader = open_features(tmp_path)
    for slide, message in {
        "outside": "lie in another file", "link": "link to another place", "huge": "never written to its end",
        "packed": "never written to its end", "stopped": "never written to its end",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=rf"{slide}\.h5.*{message}"):
            reader.read(slide, 20)


def test_compressed_files_are_read(tmp_path: Path) -> None:
    matrix = RNG.standard_normal((5000, 64)).astype(np.float16)
    for name, chunks in (("rows", (7, 64)), ("tall", (5000, 64)), ("split", (100, 9))):
        path = tmp_path / f"x20/h5_files/{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file.create_dataset("features", data=matrix, chunks=chunks, compression="gzip", compression_opts=1)
    reader = open_features(tmp_path)
    for slide in reader.slides:
        np.testing.assert_array_equal(reader.read(slide, 20)[0], matrix)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this ran",)


@pytest.mark.parametrize("name", ["clam-pt", "panther-pt", "reference"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_that_would_run_code_are_refused_with_advice(
    tmp_path: Path, name: str, zipped: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = W.WRITERS[name](tmp_path, "good", FEATURES, COORDS, "mine")
    at = next(tmp_path.rglob("good.pt")).with_name("bad.pt")
    if zipped:
        torch.save(Trap(), at)
    else:
        at.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"bad\.pt is not a plain tensor.*torch\.save\(torch\.as_tensor"):
        open_features(folder).read("bad", 20)
    assert capsys.readouterr().out == ""


def test_tensors_that_are_views_are_read_as_what_they_show(tmp_path: Path) -> None:
    whole = torch.randn(40, 64)
    folder = tmp_path / "mine/x20/pt_files"
    folder.mkdir(parents=True)
    views = {"columns": whole[:, ::2], "rows": whole[5:], "turned": whole.T, "plain": whole}
    for name, view in views.items():
        torch.save(view, folder / f"{name}.pt")
    for name, view in views.items():
        half = np.empty(view.shape, np.float16)
        from milsurv.datasets.features import pt_file

        pt_file.fill(folder / f"{name}.pt", name, half, view.shape[1], verify=True)
        np.testing.assert_array_equal(half, view.half().numpy())


def test_a_damaged_slide_is_listed_by_the_check_of_a_cohort(tmp_path: Path) -> None:
    for slide in ("a", "b"):
        folder = W.WRITERS["trident"](tmp_path, slide, FEATURES, COORDS, "mine")
    path = tmp_path / "20x_256px_0px_overlap/features_mine/b.h5"
    path.write_bytes(path.read_bytes()[:2000])
    bags = Bags(
        open_features(folder), [Patient("A", 1.0, True, "", ("a",)), Patient("B", 1.0, True, "", ("b",))], (20,)
    )
    with pytest.raises(DataError, match=r"1 files cannot be used: .*b\.h5 is truncated or damaged"):
        bags.check()


def test_the_command_line_ends_with_one_line_and_no_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "20x_256px_0px_overlap/features_mine/a.h5"
    W.trident_file(path, FEATURES[20], COORDS[20], 20)
    path.write_bytes(path.read_bytes()[:1000])
    done = subprocess.run(
        [sys.executable, "-m", "milsurv.benchmark.cli.main", "features", "inspect", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "a.h5" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_left_between_one_answer_and_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    W.clam_file(path, FEATURES[20], COORDS[20])
    head = h5_file.look(path)

    def stop(at: int, piece: np.ndarray) -> None:
        raise RuntimeError("not today")

    with pytest.raises(RuntimeError):
        h5_file.rows(path, "features", head.datasets["features"], stop)
    out = io.BytesIO()
    h5_file.rows(path, "features", head.datasets["features"], lambda at, piece: out.write(piece.tobytes()) and None)
    assert out.getvalue() == FEATURES[20].tobytes()
