"""Features as notebooks, portals and other fields keep them: the same numbers from every form."""

import re
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from feature_writers import trident_file
from form_writers import LOCATED, WRITERS, Writer, dsmil, hdf5, lazyslide, npy, npz, pt
from milsurv.datasets.features.opening import open_all, open_features
from milsurv.errors import DataError

RNG = np.random.default_rng(0)
SLIDES = {name: RNG.normal(size=(n, 12)).astype(np.float32) for name, n in (("a", 5), ("b", 3), ("c.1", 7))}
PLACES = {name: np.stack([np.arange(len(x)) * 512, np.zeros(len(x), int)], 1) for name, x in SLIDES.items()}


def write(writer: Writer, folder: Path, slides: dict[str, np.ndarray] = SLIDES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for slide, x in slides.items():
        writer(folder, slide, x, PLACES[slide])
    return folder


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_every_form_gives_the_numbers_that_were_written(tmp_path: Path, writer: Writer) -> None:
    reader = open_features(write(writer, tmp_path / "mine"), magnification=20)
    assert (reader.slides, reader.dim, reader.magnifications) == (set(SLIDES), 12, (20,))
    assert reader.backbone == "mine"
    for slide, x in SLIDES.items():
        fact = reader.facts(slide)[20]
        features, coords = reader.read(slide, 20)
        assert (fact.patches, fact.dim, fact.located) == (len(x), 12, writer in LOCATED)
        assert coords is None or coords.dtype == np.int32
        order = np.argsort(coords[:, 0]) if coords is not None else slice(None)
        np.testing.assert_array_equal(features[order], x.astype(np.float16))
        if writer in LOCATED:
            assert coords is not None
            np.testing.assert_array_equal(coords[order], PLACES[slide])
    assert reader.fingerprint(SLIDES) == open_features(tmp_path / "mine", magnification=20).fingerprint(SLIDES)
    write(writer, tmp_path / "mine", {"b": SLIDES["b"] + 1})
    assert reader.fingerprint(["a"]) == open_features(tmp_path / "mine", magnification=20).fingerprint(["a"])
    assert reader.fingerprint(["a", "b"]) != open_features(tmp_path / "other" if False else tmp_path / "mine",
                                                           magnification=20).fingerprint(["a"])  # fmt: skip


def test_what_files_say_themselves_needs_no_option_and_must_not_be_contradicted(tmp_path: Path) -> None:
    for writer, encoder in ((npz, "mine"), (lazyslide, "mine"), (hdf5, "mine")):
        folder = write(writer, tmp_path / writer.__name__)
        reader = open_features(folder)
        assert (reader.backbone, reader.magnifications) == (encoder, (20,)), writer.__name__
    assert open_features(tmp_path / "lazyslide").facts("a")[20].geometry.level0_px == 512
    with pytest.raises(DataError, match="do not say at which magnification"):
        open_features(write(npy, tmp_path / "npy"))
    assert open_features(write(npy, tmp_path / "x10")).magnifications == (10,)


def test_labels_among_the_features_are_no_features(tmp_path: Path) -> None:
    write(pt, tmp_path)
    (tmp_path / "labels.csv").write_text("case_id,slide_id,survival_months,censorship\n")
    assert open_features(tmp_path, magnification=20).slides == set(SLIDES)


@pytest.mark.parametrize("content", [{"labels": np.zeros(3)}, {"one": np.zeros((3, 9)), "two": np.zeros((3, 9))}])
def test_an_archive_of_arrays_that_are_not_known_is_refused_with_what_it_holds(tmp_path: Path, content: dict) -> None:
    write(npz, tmp_path)
    np.savez(tmp_path / "d.npz", **content)
    with pytest.raises(DataError, match=r"d\.npz holds .*which of it are the features"):
        open_features(tmp_path).counts("d")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_objects_are_never_unpickled(tmp_path: Path, suffix: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    write(npy, tmp_path, {"a": SLIDES["a"]})
    trap = np.array([[Trap()]], dtype=object)
    (np.save if suffix == ".npy" else lambda at, x: np.savez(at, features=x))(tmp_path / f"d{suffix}", trap)
    with pytest.raises(DataError, match="reading it could run code"):
        open_features(tmp_path, magnification=20).read("d", 20)
    assert not (tmp_path / "ran").exists()


def test_owkins_columns_of_places_are_taken_off(tmp_path: Path) -> None:
    x = RNG.normal(size=(6, 768)).astype(np.float32)
    places = np.array([[16, i, 2 * i] for i in range(6)])
    (tmp_path / "S1.svs").mkdir()
    np.save(tmp_path / "S1.svs" / "features.npy", np.hstack([places, x]).astype(np.float32))
    reader = open_features(tmp_path, "phikon", magnification=20)
    features, coords = reader.read("S1.svs", 20)
    np.testing.assert_array_equal(features, x.astype(np.float16))
    assert coords is not None and coords.tolist() == places[:, 1:].tolist()


@pytest.mark.parametrize("by", ["patient", "project", "job"])
def test_folders_of_one_encoder_are_one_cohort(tmp_path: Path, by: str) -> None:
    homes = {"patient": ["P1", "P2", "P3"], "project": ["TCGA-GBM", "TCGA-GBM", "TCGA-LGG"], "job": ["j0", "j1", "j1"]}
    for home, (slide, x) in zip(homes[by], SLIDES.items(), strict=True):
        write(npy, tmp_path / "mine" / home, {slide: x})
    reader = open_features(tmp_path / "mine", magnification=20)
    assert reader.slides == set(SLIDES) and reader.backbone == "mine"
    assert [f.code for f in reader.findings] == ["folders_joined"]
    np.testing.assert_array_equal(reader.read("b", 20)[0], SLIDES["b"].astype(np.float16))


def test_folders_that_hold_the_same_slides_are_of_several_encoders(tmp_path: Path) -> None:
    for home in ("one", "two"):
        write(npy, tmp_path / home)
    assert [r.backbone for r in open_all(tmp_path, magnification=20)] == ["one", "two"]
    with pytest.raises(DataError, match="several backbones: one, two"):
        open_features(tmp_path, magnification=20)


def test_several_paths_are_one_cohort_and_scales_of_separate_jobs_join(tmp_path: Path) -> None:
    write(npz, tmp_path / "one", {"a": SLIDES["a"]})
    write(npz, tmp_path / "two", {"b": SLIDES["b"]})
    reader = open_features([tmp_path / "one", tmp_path / "two"])
    assert reader.slides == {"a", "b"}
    trident_file(tmp_path / "coarse/10x_256px_0px_overlap/features_mine/a.h5", SLIDES["a"][:2], PLACES["a"][:2], 10)
    assert open_features([tmp_path / "one", tmp_path / "coarse"]).counts("a") == {10: 2, 20: 5}
    with pytest.raises(DataError, match="both hold slides at one scale: a"):
        open_features([tmp_path / "one", write(npz, tmp_path / "three")])


@pytest.mark.parametrize("ending", [".tar.gz", ".tar", ".zip"])
def test_an_archive_is_read_as_the_folder_in_it(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILSURV_CACHE", str(tmp_path / "cache"))
    for slide, x in SLIDES.items():
        trident_file(tmp_path / f"in/20x_256px_0px_overlap/features_mine/{slide}.h5", x, PLACES[slide], 20)
    (tmp_path / "in" / "README.txt").write_text("not a feature file")
    archive = tmp_path / f"TCGA-X{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for file in (tmp_path / "in").rglob("*.*"):
                packed.write(file, file.relative_to(tmp_path))
    else:
        with tarfile.open(archive, "w:gz" if ending.endswith("gz") else "w") as packed:
            packed.add(tmp_path / "in", "in")
    with pytest.warns(UserWarning, match="unpacking .*once into"):
        reader = open_features(archive)
    assert reader.fingerprint(SLIDES) == open_features(tmp_path / "in").fingerprint(SLIDES)
    assert not list((tmp_path / "cache").rglob("README.txt"))
    assert open_features(archive).slides == set(SLIDES)  # unpacked once
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning), pytest.raises(DataError, match=r"truncated or damaged|holds no feature files"):
        open_features(archive)


def test_an_archive_writes_nothing_outside_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILSURV_CACHE", str(tmp_path / "cache"))
    write(npy, tmp_path / "in")
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as packed:
        packed.add(tmp_path / "in" / "a.npy", "../../escaped.npy")
    with pytest.warns(UserWarning), pytest.raises(DataError, match="leads out of its folder"):
        open_features(tmp_path / "bad.tar.gz", magnification=20)
    assert not list(tmp_path.rglob("escaped.npy"))


def test_archives_of_many_projects_must_be_named(tmp_path: Path) -> None:
    (tmp_path / "TCGA").mkdir()
    for project in ("TCGA-ACC", "TCGA-BLCA"):
        (tmp_path / "TCGA" / f"{project}.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 \.tar\.gz.*--features .*TCGA-ACC\.tar\.gz, once for each"):
        open_features(tmp_path)


def chunks(path: Path, slides: dict[str, np.ndarray], kind: str) -> None:
    """Tables as TRACE keeps them: a row is a chunk of the patches of one slide."""
    rows: dict[str, list] = {"slide_id": [], "chunk_index": [], "features": [], "coords": []}
    for slide, x in slides.items():
        for k in range(0, len(x), 4):
            part, where = x[k : k + 4], PLACES[slide][: len(x)][k : k + 4]
            rows["slide_id"].append(f"{slide}.svs")
            rows["chunk_index"].append(k // 4)
            rows["features"].append(part.tolist() if kind == "nested" else part.reshape(-1).tolist())
            rows["coords"].append(where.tolist())
    if kind == "flat":
        rows["embedding_dim"] = [12] * len(rows["slide_id"])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), path, row_group_size=2)


@pytest.mark.parametrize("kind", ["nested", "flat"])
def test_parquet_tables_of_chunks_are_read_by_slide_and_scale(tmp_path: Path, kind: str) -> None:
    first, second = {"a": SLIDES["a"], "b": SLIDES["b"]}, {"c.1": SLIDES["c.1"]}
    home = tmp_path / "TRACE" / "data" / "TCGA-X" / "conch_v15"
    chunks(home / "20x" / "part-00000.parquet", first, kind)
    chunks(home / "20x" / "part-00001.parquet", second, kind)
    chunks(home / "10x" / "part-00000.parquet", {"a": SLIDES["a"][:2]}, kind)
    with pytest.raises(DataError, match=r"12 wide, but conch-v1\.5 is 768 wide"):
        open_features(tmp_path / "TRACE")
    (tmp_path / "TRACE").rename(tmp_path / "mine")
    home = tmp_path / "mine" / "data" / "TCGA-X" / "conch_v15"
    home.rename(home.with_name("mine"))
    reader = open_features(tmp_path / "mine")
    assert (reader.slides, reader.magnifications, reader.backbone) == (set(SLIDES), (10, 20), "mine")
    assert reader.counts("a") == {10: 2, 20: 5}
    for slide, x in SLIDES.items():
        features, coords = reader.read(slide, 20)
        np.testing.assert_array_equal(features, x.astype(np.float16))
        assert coords is not None
        np.testing.assert_array_equal(coords, PLACES[slide])


def test_known_public_sets_need_no_option(tmp_path: Path) -> None:
    uni = RNG.normal(size=(4, 1536)).astype(np.float32)
    places = np.stack([np.arange(4) * 512, np.zeros(4, int)], 1)
    for home, slide in (("TCGA-BRCA_IDC", "TCGA-A1-0001-DX1.U"), ("TCGA-BRCA_OTHERS", "TCGA-A2-0001-DX1.U")):
        path = tmp_path / "datasets--MahmoodLab--UNI2-h-features" / "snapshots" / "1a" / "TCGA" / home / f"{slide}.h5"
        path.parent.mkdir(parents=True)
        with h5py.File(path, "w") as file:
            file["features"], file["coords"] = uni[None], places[None]
    reader = open_features(tmp_path / "datasets--MahmoodLab--UNI2-h-features")
    assert (reader.backbone, reader.magnifications, len(reader.slides)) == ("uni2-h", (20,), 2)
    assert {"known_set", "folders_joined"} <= {f.code for f in reader.findings}
    assert reader.facts("TCGA-A1-0001-DX1.U")[20].geometry.patch_px == 256
    home = tmp_path / "CPathPatchFeature" / "tcga-brca"
    for encoder in ("r50", "gigap"):
        (home / encoder / "pt_files").mkdir(parents=True)
        torch.save(torch.from_numpy(uni if encoder == "gigap" else uni[:, :1024]), home / encoder / "pt_files" / "s.pt")
    (home / "patches").mkdir()
    with h5py.File(home / "patches" / "s.h5", "w") as file:
        file["coords"] = places
        file["coords"].attrs.update({"patch_size": 256, "patch_level": 0})
    found = {r.backbone: r for r in open_all(tmp_path / "CPathPatchFeature")}
    assert set(found) == {"prov-gigapath", "resnet50-trunc"}
    assert found["prov-gigapath"].coords("s", 20) is not None
    assert "assumed" in {f.code: f.message for f in found["prov-gigapath"].findings}["known_set"]


def test_one_vector_a_slide_is_a_bag_of_one(tmp_path: Path) -> None:
    vectors = {slide: x[0] for slide, x in SLIDES.items()}
    job = tmp_path / "job" / "20x_512px_0px_overlap"
    for slide, v in vectors.items():
        trident_file(job / "features_mine" / f"{slide}.h5", SLIDES[slide], PLACES[slide], 20)
        (job / "slide_features_titan").mkdir(exist_ok=True)
        with h5py.File(job / "slide_features_titan" / f"{slide}.h5", "w") as file:
            file["features"] = v
            file["features"].attrs["encoder"] = "titan"
    (tmp_path / "npy").mkdir()
    for slide, v in vectors.items():
        np.save(tmp_path / "npy" / f"{slide}.npy", v)
    np.savez(tmp_path / "titan.npz", filenames=list(vectors), embeddings=np.stack(list(vectors.values())))
    pq.write_table(pa.table({"slide_id": list(vectors), "embedding": [v.tolist() for v in vectors.values()]}),
                   tmp_path / "chief.parquet")  # fmt: skip
    for kind in ("slide", "patient"):
        (stamp := tmp_path / f"stamp-{kind}" / "prism-0a1b2c3d").mkdir(parents=True)
        for slide, v in vectors.items():
            with h5py.File(stamp / f"{slide}.h5", "w") as file:
                file["feats"] = v[None]
                file.attrs.update({"extractor": "prism", "feat_type": kind})
    assert open_features(tmp_path / "job").backbone == "mine"  # patches, where both are there
    for reader in (
        open_features(tmp_path / "job", "titan"), open_features(tmp_path / "npy"),
        open_features(tmp_path / "stamp-slide"), open_features(tmp_path / "stamp-patient"),
        open_features(tmp_path / "titan.npz"), open_features(tmp_path / "chief.parquet"),
    ):  # fmt: skip
        for slide, v in vectors.items():
            features, coords = reader.read(slide, 20)
            fact = reader.facts(slide)[20]
            assert (fact.patches, fact.vector, fact.located, coords) == (1, True, False, None), reader.folder
            np.testing.assert_array_equal(features[0], v.astype(np.float16))


def test_what_lies_there_is_said_where_nothing_can_be_read(tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"{k}.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(DataError, match=r"There are 3 \.pkl.*A pickle can run code.*numpy\.savez"):
        open_features(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.svs").touch()
    with pytest.raises(DataError, match=r"There are 1 \.svs.*write_slide"):
        open_features(tmp_path / "x")


def test_damage_to_any_form_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    for writer in WRITERS:
        folder = write(writer, tmp_path / writer.__name__)
        (file,) = folder.glob("b.*")
        if file.is_dir():
            for part in [p for p in file.rglob("*") if p.is_file() and re.search(r"(X|features)/(c/)?[0-9]", str(p))]:
                part.write_bytes(part.read_bytes()[: len(part.read_bytes()) // 2])
        else:
            file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2])
        reader = open_features(folder, magnification=20)
        try:
            features, _ = reader.read("b", 20)
        except DataError as error:
            assert str(file) in str(error), writer.__name__
        else:
            assert writer is dsmil and len(features) < 3, writer.__name__  # a csv that ends early has no mark


def test_opening_a_folder_of_many_slides_looks_at_few_headers_and_reads_no_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from milsurv.datasets.features import h5_file

    for k in range(60):
        hdf5(tmp_path, f"S{k}", SLIDES["b"], PLACES["b"])
    looked: list[Path] = []
    look = h5_file._look
    monkeypatch.setattr(h5_file, "_look", lambda path: (looked.append(path), look(path))[1])
    monkeypatch.setattr(h5_file, "rows", lambda *_, **__: pytest.fail("numbers were read"))
    reader = open_features(tmp_path)
    assert len(looked) <= 20 and len(set(looked)) == len(looked)
    for _ in range(2):
        for slide in reader.slides:
            reader.facts(slide)
    assert len(looked) == 60, "every header is read once"


@pytest.mark.parametrize("end", [b"\r", b"\n\n", b"\n  \n"])
def test_rows_of_a_csv_that_cannot_be_counted_by_its_lines_are_refused(tmp_path: Path, end: bytes) -> None:
    lines = [",".join(map(str, range(9))), *(",".join(["0.5"] * 9) for _ in range(3))]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    assert open_features(tmp_path, magnification=20).read("a", 20)[0].shape == (3, 9)
    content = (tmp_path / "a.csv").read_bytes()
    at = content.rindex(b"\n", 0, -1)
    (tmp_path / "a.csv").write_bytes(content[:at] + end + content[at + 1 :])
    reader = open_features(tmp_path, magnification=20)
    with pytest.raises(DataError, match=r"a\.csv"):
        reader.read("a", 20)


@pytest.mark.parametrize(
    ("name", "write_file", "message"),
    [
        ("a.pt", lambda path: torch.save([torch.ones(3)], path), "The first file: .*a.pt holds a list"),
        ("a.PT", lambda path: torch.save(torch.ones(3, 4), path), "lower case: rename .PT"),
        ("a.csv", lambda path: path.write_text("slide_id," + ",".join(map(str, range(8))) + "\n"
                                               + "".join(f"{s}" + ",0.5" * 8 + "\n" for s in "ab")),
         r"a.csv holds rows of several slides \(column slide_id\): write it as Parquet"),
    ],
    ids=["list", "ending", "csv of slides"],
)  # fmt: skip
def test_what_is_wrong_with_the_first_file_is_said(tmp_path: Path, name, write_file, message) -> None:
    write_file(tmp_path / name)
    with pytest.raises(DataError, match=message):
        open_features(tmp_path, magnification=20)


def test_files_of_one_name_in_folders_by_patient_are_no_encoders(tmp_path: Path) -> None:
    for patient in ("P1", "P2"):
        write(npy, tmp_path / "mine" / patient, {"a": SLIDES["a"]})
    with pytest.raises(DataError, match=r"If these folders are patients or slides: files of the same name \(a\)"):
        open_features(tmp_path / "mine", magnification=20)


def test_a_magnification_that_is_no_whole_number_is_named(tmp_path: Path) -> None:
    for slide, x in SLIDES.items():
        trident_file(tmp_path / "12.5x_256px_0px_overlap" / "features_mine" / f"{slide}.h5", x, PLACES[slide], 12.5)
    with pytest.raises(DataError, match=r"at a magnification that is a whole number, only 12\.5x_256px"):
        open_features(tmp_path)
