"""Our own store: what is written is read back bit for bit, and no damage goes unnoticed."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from milsurv.datasets.features.half import to_half
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.features.store import write_slide
from milsurv.datasets.features.store_file import framed
from milsurv.errors import DataError

RNG = np.random.default_rng(0)
FEATURES = {m: RNG.standard_normal((n, 16), np.float32) for m, n in ((5, 1), (10, 3), (20, 11))}
COORDS = {m: RNG.integers(0, 90_000, (len(f), 2)) for m, f in FEATURES.items()}


def write(
    folder: Path,
    slide: str = "a",
    features: Mapping[int, np.ndarray] = FEATURES,
    coords: Mapping[int, np.ndarray | None] = COORDS,
    backbone: str = "mine",
) -> Path:
    return write_slide(folder, slide, features, coords, backbone=backbone, patch_px=256, mpp=0.25)


def test_a_slide_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path)
    reader = open_features(tmp_path)
    assert (reader.layout, reader.backbone, reader.dim, reader.synthetic) == ("store", "mine", 16, False)
    assert (reader.magnifications, reader.slides) == ((5, 10, 20), {"a"})
    assert reader.counts("a") == {5: 1, 10: 3, 20: 11}
    for m, matrix in FEATURES.items():
        features, coords = reader.read("a", m)
        assert features.dtype == np.float16
        assert coords is not None
        assert coords.dtype == np.int32
        np.testing.assert_array_equal(features, matrix.astype(np.float16))
        np.testing.assert_array_equal(coords, COORDS[m])


halves = hnp.arrays(
    np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=6).filter(lambda s: s[1] > 0)
)


@given(halves.map(lambda bits: np.where(bits & 0x7C00 == 0x7C00, bits & 0x83FF, bits).view(np.float16)))
@settings(max_examples=50, deadline=None)
def test_every_finite_half_survives_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, half: np.ndarray) -> None:
    folder = tmp_path_factory.getbasetemp() / f"halves{half.shape[1]}"
    write(folder, features={20: half}, coords={})
    features, coords = open_features(folder).read("a", 20)
    assert features.tobytes() == half.tobytes()
    assert coords is None


def test_any_hdf5_program_can_read_a_file_which_says_what_it_is(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path)) as file:
        said = json.loads(file.attrs["milsurv"])
        assert {k: said[k] for k in ("slide", "backbone", "dim", "patch_px", "mpp", "synthetic")} == {
            "slide": "a", "backbone": "mine", "dim": 16, "patch_px": 256, "mpp": 0.25, "synthetic": False,
        }  # fmt: skip
        for m, matrix in FEATURES.items():
            assert file[f"{m}x/features"].chunks is None
            assert file[f"{m}x/features"].dtype == np.float16
            np.testing.assert_array_equal(file[f"{m}x/features"][:], matrix.astype(np.float16))
            np.testing.assert_array_equal(file[f"{m}x/coords"][:], COORDS[m])


def test_the_callers_matrix_is_filled_when_it_gives_one(tmp_path: Path) -> None:
    write(tmp_path)
    both = np.zeros((14, 16), np.float16)
    open_features(tmp_path).read("a", 20, out=both[3:])
    np.testing.assert_array_equal(both[3:], FEATURES[20].astype(np.float16))
    assert not both[:3].any()


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "holds NaN"), (np.inf, "holds an infinite value"), (-7e4, "holds -70000, more than float16")],
)
def test_values_that_float16_cannot_hold_are_refused_by_slide_scale_and_row(
    tmp_path: Path, value: float, message: str
) -> None:
    matrix = FEATURES[20].copy()
    matrix[7, 2] = value
    with pytest.raises(DataError, match=rf"slide a, 20x, row 7: {message}"):
        write(tmp_path, features={**FEATURES, 20: matrix})
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 20_000), st.sampled_from([np.nan, np.inf, -np.inf, 1e6]))
@settings(max_examples=20, deadline=None)
def test_a_bad_value_is_found_in_whatever_row_it_is(row: int, value: float) -> None:
    matrix = np.zeros((20_001, 2), np.float32)
    matrix[row, 1] = value
    with pytest.raises(DataError, match=rf"here, row {row}: holds"):
        to_half(matrix, "here")


@pytest.mark.parametrize("slide", ["../a", "a/b", "a\\b", "..", "", "a\0b", "C:x"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, slide: str) -> None:
    with pytest.raises(DataError, match="would lead out"):
        write(tmp_path / "store", slide)
    write(tmp_path / "store")
    with pytest.raises(DataError, match="would lead out"):
        open_features(tmp_path / "store").read(slide, 20)
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="widths differ between scales"):
        write(tmp_path, features={20: np.zeros((2, 4)), 10: np.zeros((2, 5))}, coords={})
    with pytest.raises(DataError, match=r"must be \(n, d\) and \(n, 2\)"):
        write(tmp_path, coords={20: np.zeros((3, 2), int)})
    with pytest.raises(DataError, match="beyond the range of int32"):
        write(tmp_path, coords={20: np.full((11, 2), 2**40)})


def test_a_missing_slide_or_scale_is_named(tmp_path: Path) -> None:
    write(tmp_path, features={20: FEATURES[20]}, coords={})
    reader = open_features(tmp_path)
    with pytest.raises(DataError, match=r"b\.h5 does not exist"):
        reader.read("b", 20)
    with pytest.raises(DataError, match=r"a\.h5: has no 5x, only \[20\]"):
        reader.read("a", 5)


def test_another_width_than_the_folders_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "b", features={20: np.zeros((2, 8))}, coords={})
    with pytest.raises(DataError, match=r"b\.h5: 20x is 8 wide, other slides are 16"):
        open_features(tmp_path).read("b", 20)


def test_an_interrupted_write_leaves_the_old_file_and_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = path.read_bytes()
    (tmp_path / ".b.1234.partial").write_bytes(b"half")
    reader = open_features(tmp_path)
    assert reader.slides == {"a"}
    assert [f.code for f in reader.findings] == ["partial_files"]
    assert path.read_bytes() == before


def test_slides_written_at_once_by_several_threads_are_as_those_written_alone(tmp_path: Path) -> None:
    features = {20: np.random.default_rng(0).random((400, 512), np.float32)}

    def write(folder: Path, slide: str) -> bytes:
        return write_slide(folder, slide, features, {20: None}, backbone="mine", patch_px=256).read_bytes()

    slides = [str(i) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda slide: write(tmp_path / "together", slide), slides))
    assert together == [write(tmp_path / "alone", slide) for slide in slides]


def test_the_fingerprint_is_that_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for slide in "ab":
            write(tmp_path / name, slide)
    one, two = open_features(tmp_path / "one"), open_features(tmp_path / "two")
    assert one.fingerprint(["a", "b"]) == two.fingerprint(["b", "a"]) != one.fingerprint(["a"])
    changed = {**FEATURES, 5: FEATURES[5] + 1}
    write(tmp_path / "two", "b", changed)
    assert open_features(tmp_path / "two").fingerprint(["a", "b"]) != one.fingerprint(["a", "b"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offset": 10**9}, "is truncated: 20x/features ends beyond the file"),
        ({"offset": -1}, "a head that milsurv did not write"),
        ({"shape": [10**12, 16]}, "a head that milsurv did not write"),
        ({"shape": [11]}, "a head that milsurv did not write"),
        ({"offset": 0}, "its checksum does not fit"),
    ],
)
def test_a_forged_head_cannot_lead_out_of_the_file(tmp_path: Path, change: dict, message: str) -> None:
    path = write(tmp_path)
    content = path.read_bytes()
    said = json.loads(content[content.index(b"{") : content.index(b"\0")])
    said["scales"]["20"]["features"] |= change
    path.write_bytes(framed(said).ljust(len(content), b"\0"))
    with pytest.raises(DataError, match=message):
        open_features(tmp_path).read("a", 20)


@given(st.data())
@settings(max_examples=250, deadline=None)
def test_no_damage_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged-h5"
    whole = write(folder).read_bytes()
    content = bytearray(whole)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "a.h5").write_bytes(content)
    try:
        reader = open_features(folder)
        for m in FEATURES:
            features, coords = reader.read("a", m)
            np.testing.assert_array_equal(features, FEATURES[m].astype(np.float16))
            np.testing.assert_array_equal(coords, COORDS[m])
    except DataError as error:
        assert str(folder) in str(error)


def test_files_of_a_later_format_and_files_of_others_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"milsurv-features 1", b"milsurv-features 9", 1))
    with pytest.raises(DataError, match=r"has format version 9; this milsurv reads 1\. Update milsurv"):
        open_features(tmp_path)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = np.zeros((2, 3))
    with pytest.raises(DataError, match=r"do not say at which magnification.*--magnification 20"):
        open_features(tmp_path)
    write(tmp_path, "b")
    with pytest.raises(DataError, match=r"a\.h5 is not a feature file of milsurv"):
        open_features(tmp_path).counts("a")


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys, signal, numpy as np; from pathlib import Path\n"
        "from milsurv.datasets.features.store import write_slide; from milsurv.errors import DataError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        "try: write_slide(Path(sys.argv[1]), 'a', {20: np.zeros((500, 64))}, {}, backbone='b', patch_px=256)\n"
        "except DataError as error: print(error); sys.exit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, "cannot be written" in done.stdout) == (3, True), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_folder_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path)
