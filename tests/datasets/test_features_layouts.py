"""Every tool's folders are recognised by looking, and one cohort gives the same bags in all of them."""

import subprocess
import sys
import time
from pathlib import Path

import feature_writers as W
import h5py
import numpy as np
import pytest
import torch
from milsurv.benchmark.cross_validation.cross_validate import cross_validate
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request
from milsurv.datasets.bags import Bags
from milsurv.datasets.features import h5_file
from milsurv.datasets.features.opening import open_all, open_features
from milsurv.datasets.labels.read import read_labels
from milsurv.datasets.simulated.cohort import simulate_cohort
from milsurv.errors import DataError

RNG = np.random.default_rng(0)
SIZES = {5: 2, 10: 6, 20: 23}
FEATURES = {m: RNG.standard_normal((n, 24), np.float32) for m, n in SIZES.items()}
COORDS = {m: np.stack([np.arange(n) % 5, np.arange(n) // 5], 1) * W.side(m) + 512 for m, n in SIZES.items()}
HALF = {m: f.astype(np.float16) for m, f in FEATURES.items()}


def write(name: str, root: Path, slides: tuple[str, ...] = ("a.b", "c"), encoder: str = "mine") -> Path:
    return [W.WRITERS[name](root, slide, FEATURES, COORDS, encoder) for slide in slides][-1]


@pytest.mark.parametrize("name", W.WRITERS)
def test_a_tools_folder_is_recognised_and_read_bit_for_bit(tmp_path: Path, name: str) -> None:
    reader = open_features(write(name, tmp_path))
    assert (reader.backbone, reader.dim, reader.magnifications, reader.slides) == (
        "mine", 24, (5, 10, 20), {"a.b", "c"},
    )  # fmt: skip
    assert reader.layout == {"clam-pt": "reference"}.get(name, name.removesuffix("-pt"))
    assert [f for f in reader.findings if f.severity != "info"] == []
    assert reader.counts("c") == SIZES
    for m in SIZES:
        features, coords = reader.read("a.b", m)
        assert features.dtype == np.float16
        assert features.tobytes() == HALF[m].tobytes()
        if name == "panther-pt":
            assert coords is None
        else:
            assert coords is not None
            assert coords.dtype == np.int32
            np.testing.assert_array_equal(coords, COORDS[m])
            np.testing.assert_array_equal(reader.coords("a.b", m), COORDS[m])
        into = np.zeros((SIZES[m] + 2, 24), np.float16)
        reader.read("a.b", m, out=into[1:-1])
        assert into[1:-1].tobytes() == HALF[m].tobytes()
        assert not into[[0, -1]].any()


class Silent:
    """Watches and records nothing."""

    def epoch(self, *_: object) -> None:
        pass

    def begin(self) -> None:
        pass

    def fold(self, *_: object) -> None:
        pass

    def end(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_one_synthetic_cohort_gives_the_same_bags_and_results_in_all_layouts(tmp_path: Path) -> None:
    cohort_folder = simulate_cohort("blca", "tiny", tmp_path / "simulated", patients=20, cells=1.5, dim=32)
    ours = open_features(cohort_folder)
    labels = read_labels(cohort_folder / "labels.csv", "blca")
    expected = Bags(ours, labels.patients, (5, 10, 20))
    expected.check()
    results = {}
    for name in W.WRITERS:
        for slide in sorted(ours.slides):
            features = {m: ours.read(slide, m)[0].astype(np.float32) for m in (5, 10, 20)}
            coords = {m: ours.coords(slide, m) for m in (5, 10, 20)}
            folder = W.WRITERS[name](tmp_path / name, slide, features, coords, "tiny")
        if name == "store":
            folder = cohort_folder / "features/tiny"
        reader = open_features(folder)
        assert reader.synthetic, "simulated features are known as such in every layout"
        bags = Bags(reader, labels.patients, (5, 10, 20))
        bags.check()
        for patient in labels.patients:
            for m in (5, 10, 20):
                assert bags[patient.id].features[m].tobytes() == expected[patient.id].features[m].tobytes()
        settings = {"epochs": "2"}
        request = Request(
            "abmil-concat",
            "blca",
            features_path=str(folder),
            labels_path=cohort_folder / "labels.csv",
            folds=2,
            settings=settings,
        )
        experiment, data = load(request)
        rows = cross_validate(experiment, data, tmp_path / "out" / name, "", Silent(), Silent())
        kept = ("status", "c_index_selected", "c_index_last", "ibs_selected", "uno_c_last", "oracle_c_index")
        results[name] = [[flat[key] for key in kept] for flat in (row.to_json() for row in rows)]
    assert all(result == results["store"] for result in results.values())
    assert results["store"][0][0] == "finished"


@pytest.mark.parametrize(
    ("name", "inner", "scales"),
    [
        ("trident", "20x_256px_0px_overlap", (20,)),
        ("trident", "20x_256px_0px_overlap/features_mine", (20,)),
        ("panther", "extracted_mag10x_patch256_fp", (10,)),
        ("panther", "extracted_mag10x_patch256_fp/extracted-mine", (10,)),
        ("panther", "extracted_mag10x_patch256_fp/extracted-mine/feats_h5", (10,)),
        ("clam", "mine/5x", (5,)),
        ("clam", "mine/5x/h5_files", (5,)),
        ("stamp", "um128", (20,)),
        ("stamp", "um128/mine-0a1b2c3d", (20,)),
    ],
)
def test_a_part_of_a_tools_folder_may_be_given(tmp_path: Path, name: str, inner: str, scales: tuple[int, ...]) -> None:
    write(name, tmp_path)
    reader = open_features(tmp_path / inner)
    assert reader.magnifications == scales
    np.testing.assert_array_equal(reader.read("c", scales[0])[0], HALF[scales[0]])


def test_several_encoders_of_a_job_are_listed_unless_one_is_chosen(tmp_path: Path) -> None:
    write("trident", tmp_path, encoder="one")
    write("trident", tmp_path, encoder="two")
    (tmp_path / "20x_256px_0px_overlap/slide_features_titan").mkdir()
    with pytest.raises(DataError, match=r"several backbones: one, two\. Choose one with --backbone"):
        open_features(tmp_path)
    assert open_features(tmp_path, "two").backbone == "two"
    assert [r.backbone for r in open_all(tmp_path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("called", "dim", "backbone"),
    [("uni_v2", 1536, "uni2-h"), ("resnet50", 1024, "resnet50-trunc"), ("gigapath", 1536, "prov-gigapath")],
)
def test_the_tools_name_and_the_width_give_the_backbone(tmp_path: Path, called: str, dim: int, backbone: str) -> None:
    W.write_trident(tmp_path, "a", {20: np.zeros((3, dim), np.float32)}, {20: COORDS[20][:3]}, called)
    reader = open_features(tmp_path, backbone)
    assert reader.backbone == backbone
    assert [f.code for f in reader.findings] == ["backbone_renamed"]


def test_a_known_name_with_another_width_is_an_error_that_explains_itself(tmp_path: Path) -> None:
    W.write_trident(tmp_path, "a", {20: np.zeros((3, 1536), np.float32)}, {20: COORDS[20][:3]}, "uni_v1")
    with pytest.raises(DataError, match=r"1536 wide, but uni is 1024 wide\. Backbones of width 1536: uni2-h"):
        open_features(tmp_path)


@pytest.mark.parametrize("shape", [(0,), (0, 24)])
@pytest.mark.parametrize("name", ["trident", "clam"])
def test_no_tissue_is_no_patches(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    root = write(name, tmp_path)
    folder = tmp_path / ("5x_256px_0px_overlap/features_mine" if name == "trident" else "mine/5x/h5_files")
    with h5py.File(folder / "empty.h5", "w") as file:
        file["features"] = np.zeros(shape, np.float32)
        file["coords"] = np.zeros((0, 2) if len(shape) == 2 else (0,), np.int64)
    reader = open_features(root)
    assert reader.counts("empty") == {5: 0}
    features, coords = reader.read("empty", 5)
    assert features.shape == (0, 24)
    assert coords is not None
    assert coords.shape == (0, 2)


def test_files_with_a_lock_are_skipped_and_said(tmp_path: Path) -> None:
    write("trident", tmp_path)
    folder = tmp_path / "20x_256px_0px_overlap/features_mine"
    (folder / "c.h5.lock").touch()
    (folder / "d.h5.lock").touch()
    reader = open_features(tmp_path)
    assert set(reader.counts("c")) == {5, 10}
    found = {f.code: f for f in reader.findings}["locked_files"]
    assert (found.count, found.severity) == (2, "warning")
    assert found.examples == ("features_mine/c.h5", "features_mine/d.h5")


def test_clam_needs_its_magnification_from_a_folder_or_the_user(tmp_path: Path) -> None:
    W.clam_file(tmp_path / "FEAT/h5_files/a.h5", FEATURES[20], COORDS[20])
    with pytest.raises(DataError, match=r"do not say at which magnification.*--magnification 20, or call the folder x"):
        open_features(tmp_path / "FEAT")
    reader = open_features(tmp_path / "FEAT", "uni-of-mine", magnification=20)
    assert (reader.layout, reader.backbone, reader.magnifications) == ("clam", "uni-of-mine", (20,))
    (tmp_path / "FEAT").rename(tmp_path / "FEAT_20x")
    assert open_features(tmp_path / "FEAT_20x").magnifications == (20,)
    with pytest.raises(DataError, match=r"are 20x by their own account"):
        open_features(tmp_path / "FEAT_20x", magnification=10)


def test_loose_files_of_trident_say_themselves_what_they_are(tmp_path: Path) -> None:
    W.trident_file(tmp_path / "moved/a.h5", FEATURES[10], COORDS[10], 10)
    reader = open_features(tmp_path / "moved")
    assert (reader.layout, reader.backbone, reader.magnifications) == ("trident", "mine", (10,))


def test_one_magnification_cut_twice_needs_a_choice(tmp_path: Path) -> None:
    write("trident", tmp_path)
    W.trident_file(tmp_path / "20x_512px_0px_overlap/features_mine/a.b.h5", FEATURES[5], COORDS[5], 20)
    with pytest.raises(DataError, match=r"several kinds of patches.*--patch-px"):
        open_features(tmp_path)
    assert open_features(tmp_path, patch_px=512).counts("a.b") == {20: 2}
    assert open_features(tmp_path, patch_px=256).counts("a.b") == SIZES


def test_stamps_tiles_count_as_the_nearest_magnification_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "uni-0a1b2c3d/a.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["feats"], file["coords"] = HALF[10], (COORDS[10] * 0.25).astype(np.float32)
        file.attrs.update({"extractor": "mine", "unit": "um", "tile_size_um": 256.0, "tile_size_px": 224})
    reader = open_features(tmp_path)
    assert reader.magnifications == (10,)
    assert reader.facts("a")[10].geometry.claimed == pytest.approx(8.75)
    assert [(f.code, f.severity) for f in reader.findings] == [("magnification_rounded", "warning")]
    assert open_features(tmp_path, magnification=20).magnifications == (20,)
    with h5py.File(path, "a") as file:
        file.attrs["feat_type"] = "slide"
    with pytest.raises(DataError, match="one vector a slide"):
        open_features(tmp_path)


def test_coordinates_of_the_reference_are_found_beside_it_or_where_the_user_says(tmp_path: Path) -> None:
    folder = write("reference", tmp_path)
    assert open_features(folder).coords("c", 20) is not None
    (tmp_path / "h5").rename(tmp_path.parent / f"{tmp_path.name}-far")
    assert open_features(folder).coords("c", 20) is None
    far = tmp_path.parent / f"{tmp_path.name}-far"
    assert open_features(folder, coords=far).coords("c", 20) is not None


@pytest.mark.parametrize("name", ["trident", "panther"])
def test_coordinates_for_another_number_of_patches_are_refused(tmp_path: Path, name: str) -> None:
    root = write(name, tmp_path)
    path = next(tmp_path.rglob("*20x*/**/c.h5"))
    with h5py.File(path, "a") as file:
        del file["coords"]
        file["coords"] = COORDS[20][:-1]
    with pytest.raises(DataError, match=r"c\.h5 has 22 coordinates for 23 patches"):
        open_features(root).counts("c")


def test_the_fingerprint_is_that_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    one, two = (open_features(write("trident", tmp_path / name)) for name in ("one", "two"))
    assert one.fingerprint(["a.b", "c"]) == two.fingerprint(["c", "a.b"]) != one.fingerprint(["c"])
    W.write_trident(tmp_path / "two", "c", {**FEATURES, 20: FEATURES[20] + 1}, COORDS)
    assert open_features(tmp_path / "two").fingerprint(["c"]) != one.fingerprint(["c"])


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "an infinite"), (1e5, "100000")])
def test_bad_values_are_named_by_slide_scale_and_row(tmp_path: Path, value: float, kind: str) -> None:
    bad = FEATURES[20].copy()
    bad[17, 3] = value
    reader = open_features(W.write_trident(tmp_path, "a", {20: bad}, COORDS))
    with pytest.raises(DataError, match=rf"a\.h5, slide a, 20x, row 17: holds {kind}"):
        reader.read("a", 20)
    np.testing.assert_array_equal(reader.coords("a", 20), COORDS[20])


def test_a_worker_that_crashes_or_hangs_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("trident", tmp_path) / "20x_256px_0px_overlap/features_mine/c.h5"

    def start(program: str) -> None:
        h5_file._WORKER.close()
        monkeypatch.setattr(h5_file._WORKER, "program", ("-c", program))

    start("import os, signal; input(); os.kill(os.getpid(), signal.SIGSEGV)")
    path.touch()
    with pytest.raises(DataError, match=r"c\.h5 is damaged or cannot be read: the HDF5 library crashed on it"):
        h5_file.look(path)
    monkeypatch.setattr(h5_file._WORKER, "seconds", 0.4)
    start("import time; time.sleep(60)")
    begun = time.monotonic()
    with pytest.raises(DataError, match=r"gave no answer in 0\.4 seconds"):
        h5_file.look(path)
    assert time.monotonic() - begun < 10
    monkeypatch.undo()
    assert h5_file.look(path).datasets["features"].shape == (23, 24), "the next question gets a new worker"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["trident", "clam", "stamp", "reference", "store"])
@pytest.mark.slow
def test_memory_while_reading_a_large_bag_stays_within_twice_its_size(tmp_path: Path, name: str) -> None:
    n, dim = 50_000, 512
    matrix = np.random.default_rng(0).standard_normal((n, dim), np.float32)
    coords = np.stack([np.arange(n) % 250, np.arange(n) // 250], 1) * 512
    folder = W.WRITERS[name](tmp_path, "a", {20: matrix}, {20: coords}, "mine")
    code = (
        "import sys, gc; from pathlib import Path; import torch, h5py\n"
        "from milsurv.datasets.features.opening import open_features\n"
        "from milsurv.datasets.features import h5_file\n"
        "def peak(pid): return int([l for l in open(f'/proc/{pid}/status') if 'VmHWM' in l][0].split()[1]) * 1024\n"
        "reader = open_features(sys.argv[1]); reader.counts('a'); worker = h5_file._WORKER.process\n"
        "open('/proc/self/clear_refs', 'w').write('5'); pids = ['self'] + ([worker.pid] if worker else [])\n"
        "before = sum(peak(pid) for pid in pids); got = reader.read('a', 20)\n"
        "print((sum(peak(pid) for pid in pids) - before) / got[0].nbytes)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2


def test_pickled_arrays_of_trident_are_never_run_and_their_files_are_named(tmp_path: Path) -> None:
    write("trident", tmp_path)
    torch.save(FEATURES[20], tmp_path / "20x_256px_0px_overlap/features_mine/p.pt")
    reader = open_features(tmp_path)
    assert "p" not in reader.slides
    assert [(f.code, f.examples) for f in reader.findings] == [("pickled_arrays", ("p.pt",))]
