"""Backbones as data: every tool's name with its width finds one, and a clash explains itself."""

import pytest
from milsurv.datasets import backbones
from milsurv.datasets.backbones import BACKBONES
from milsurv.errors import DataError, UnknownName

TRIDENT = {
    "resnet50": (1024, "resnet50-trunc"), "uni_v1": (1024, "uni"), "uni_v2": (1536, "uni2-h"),
    "conch_v1": (512, "conch"), "conch_v15": (768, "conch-v1.5"), "gigapath": (1536, "prov-gigapath"),
    "virchow": (2560, "virchow"), "virchow2": (2560, "virchow2"), "virchow2-cls": (1280, "virchow2-cls"),
    "phikon": (768, "phikon"), "phikon_v2": (1024, "phikon-v2"), "hoptimus0": (1536, "hoptimus-0"),
    "hoptimus1": (1536, "hoptimus-1"), "ctranspath": (768, "ctranspath"),
}  # fmt: skip
REFERENCE = {
    "resnet50": (2048, "resnet50"), "conch": (512, "conch"), "uni": (1536, "uni2-h"),
    "hug_quilt": (768, "quiltnet"), "prov_gigapath": (1536, "prov-gigapath"),
}  # fmt: skip
STAMP = {
    "mahmood-uni": (1024, "uni"), "mahmood-uni2": (1536, "uni2-h"), "mahmood-conch": (512, "conch"),
    "mahmood-conch1_5": (768, "conch-v1.5"), "xiyuewang-ctranspath-7c998680": (768, "ctranspath"),
    "h_optimus_0": (1536, "hoptimus-0"), "h_optimus_1": (1536, "hoptimus-1"), "gigapath": (1536, "prov-gigapath"),
    "virchow2": (1280, "virchow2-cls"), "virchow": (1280, "virchow-cls"),
}  # fmt: skip
CLAM = {"resnet50_trunc": (1024, "resnet50-trunc"), "uni_v1": (1024, "uni"), "conch_v1": (512, "conch")}


@pytest.mark.parametrize("names", [TRIDENT, REFERENCE, STAMP, CLAM], ids=["trident", "reference", "stamp", "clam"])
def test_the_names_that_tools_give_are_understood_with_their_width(names: dict[str, tuple[int, str]]) -> None:
    assert {called: backbones.named(called, dim, "here") for called, (dim, _) in names.items()} == {
        called: name for called, (_, name) in names.items()
    }


def test_the_registry_holds_the_known_encoders_completely() -> None:
    wanted = {
        "resnet50", "resnet50-trunc", "efficientnet-lite0", "ctranspath", "phikon", "phikon-v2", "uni", "uni2-h",
        "conch", "conch-v1.5", "virchow", "virchow2", "prov-gigapath", "hoptimus-0", "hoptimus-1", "quiltnet",
    }  # fmt: skip
    assert wanted <= set(BACKBONES)
    for name, backbone in BACKBONES.items():
        assert backbone.name == name == name.lower()
        assert backbone.dim > 0
        assert backbone.patch_px in (224, 256, 448, 512)
        assert backbone.magnification in (5, 10, 20, 40)
        assert backbone.licence
        assert backbone.reference
        assert backbone.title


def test_no_name_and_width_stand_for_two_backbones() -> None:
    seen: dict[tuple[str, int], str] = {}
    for backbone in BACKBONES.values():
        for called in {backbone.name, *backbone.aliases}:
            assert seen.setdefault((called, backbone.dim), backbone.name) == backbone.name


def test_a_width_that_does_not_fit_a_known_name_explains_itself() -> None:
    with pytest.raises(DataError, match=r"1536 wide, but uni is 1024 wide.*Backbones of width 1536: uni2-h"):
        backbones.named("uni_v1", 1536, "folder")
    assert backbones.named("my-encoder", 77, "folder") == "my-encoder"


def test_unknown_names_end_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean uni2-h"):
        backbones.get("uni2h-h")
