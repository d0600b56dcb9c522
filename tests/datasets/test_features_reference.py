"""The reference's folders of .pt files: read safely, or refused with advice."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.datasets.features.opening import open_features
from milsurv.errors import DataError

SIZES = {5: 2, 10: 5, 20: 17}


def tensor(slide: str, m: int, dim: int = 24) -> torch.Tensor:
    return torch.randn(SIZES[m], dim, generator=torch.Generator().manual_seed(m + len(slide)))


def write(root: Path, backbone: str = "mine", slides: tuple[str, ...] = ("a", "bb"), dim: int = 24) -> Path:
    for m in SIZES:
        folder = root / backbone / f"x{m}" / "pt_files"
        folder.mkdir(parents=True, exist_ok=True)
        for slide in slides:
            torch.save(tensor(slide, m, dim), folder / f"{slide}.pt")
    return root


def test_the_layout_is_seen_and_read_in_float16(tmp_path: Path) -> None:
    for path in (write(tmp_path), tmp_path / "mine"):
        reader = open_features(path)
        assert (reader.layout, reader.backbone, reader.dim) == ("reference", "mine", 24)
        assert (reader.magnifications, reader.slides, reader.synthetic) == ((5, 10, 20), {"a", "bb"}, False)
        assert reader.counts("a") == SIZES
        for m in SIZES:
            features, coords = reader.read("bb", m)
            np.testing.assert_array_equal(features, tensor("bb", m).half().numpy())
            assert coords is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("zipped", [True, False])
def test_every_float_type_and_the_old_file_format_are_read(tmp_path: Path, dtype: torch.dtype, zipped: bool) -> None:
    write(tmp_path)
    saved = tensor("a", 20).to(dtype)
    torch.save(saved, tmp_path / "mine/x20/pt_files/a.pt", _use_new_zipfile_serialization=zipped)
    features, _ = open_features(tmp_path).read("a", 20)
    np.testing.assert_array_equal(features, saved.half().numpy())


def test_a_slide_lacks_the_scales_it_has_no_file_for(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "mine/x10/pt_files/a.pt").unlink()
    reader = open_features(tmp_path)
    assert set(reader.counts("a")) == {5, 20}
    with pytest.raises(DataError, match=r"x10/pt_files/a\.pt does not exist"):
        reader.read("a", 10)
    with pytest.raises(DataError, match="no file of slide c"):
        reader.counts("c")


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this ran",)


@pytest.mark.parametrize(
    "content", [Trap(), np.zeros((3, 24)), {"a": torch.zeros(3, 24), "b": torch.zeros(3, 24)}, torch.zeros(3)]
)
def test_anything_but_a_plain_matrix_is_refused_with_advice(
    tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    torch.save(content, tmp_path / "mine/x20/pt_files/a.pt")
    reader = open_features(tmp_path)
    with pytest.raises(DataError, match=r"a\.pt (is not a plain tensor|holds a)"):
        reader.read("a", 20)
    assert capsys.readouterr().out == ""


def test_a_bare_pickle_is_refused_and_never_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    (tmp_path / "mine/x20/pt_files/a.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"could run code.*torch\.save\(torch\.as_tensor"):
        open_features(tmp_path).read("a", 20)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("value", "kind"), [(float("nan"), "NaN"), (float("inf"), "infinite"), (1e5, "100000")])
def test_bad_values_are_named_by_slide_scale_and_row(tmp_path: Path, value: float, kind: str) -> None:
    write(tmp_path)
    bad = tensor("a", 20)
    bad[4, 7] = value
    torch.save(bad, tmp_path / "mine/x20/pt_files/a.pt")
    with pytest.raises(DataError, match=rf"a\.pt, slide a, 20x, row 4: holds .*{kind}"):
        open_features(tmp_path).read("a", 20)


def test_no_tissue_is_no_patches(tmp_path: Path) -> None:
    write(tmp_path)
    for slide, empty in (("a", torch.zeros(0, 24)), ("bb", torch.zeros(0))):
        torch.save(empty, tmp_path / f"mine/x5/pt_files/{slide}.pt")
        assert open_features(tmp_path).counts(slide)[5] == 0


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    one, two = (open_features(write(tmp_path / name)) for name in ("one", "two"))
    assert one.fingerprint(["a", "bb"]) == two.fingerprint(["bb", "a"]) != one.fingerprint(["a"])
    torch.save(tensor("a", 20) + 1, tmp_path / "two/mine/x20/pt_files/a.pt")
    assert open_features(tmp_path / "two").fingerprint(["a"]) != one.fingerprint(["a"])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.getbasetemp() / "damaged-pt"
    path = root / "mine/x20/pt_files/a.pt"
    if not path.exists():
        write(root)
    out = io.BytesIO()
    torch.save(tensor("a", 20), out)
    content = bytearray(out.getvalue())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        reader = open_features(root)
        reader.counts("a")
        features, _ = reader.read("a", 20)
        np.testing.assert_array_equal(features, tensor("a", 20).half().numpy())
    except DataError as error:
        assert "a.pt" in str(error)


def test_several_backbones_are_listed_unless_one_is_chosen(tmp_path: Path) -> None:
    write(tmp_path, "resnet50", dim=2048)
    write(tmp_path, "conch", dim=512)
    with pytest.raises(DataError, match=r"several backbones: conch, resnet50\. Choose one"):
        open_features(tmp_path)
    assert open_features(tmp_path, "conch").dim == 512
    with pytest.raises(DataError, match=r"of uni; found conch \(512 wide, in conch\), resnet50"):
        open_features(tmp_path, "uni")


def test_a_folder_called_uni_with_1536_columns_is_uni2_h(tmp_path: Path) -> None:
    write(tmp_path, "uni", dim=1536)
    for asked in (None, "uni2-h"):
        reader = open_features(tmp_path, asked)
        assert reader.backbone == "uni2-h"
        assert [f.code for f in reader.findings] == ["backbone_renamed"]
    with pytest.raises(DataError, match=r"1536 wide and those of uni2-h, not of uni\. Choose --backbone uni2-h"):
        open_features(tmp_path, "uni")


def test_a_folder_without_features_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "something").mkdir()
    with pytest.raises(DataError, match=r"no features in a known layout.*x20/pt_files.*something"):
        open_features(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        open_features(tmp_path / "none")
