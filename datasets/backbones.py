"""Backbones as data: how wide their features are, what they were made for, and what other tools call them."""

from dataclasses import dataclass

from ..errors import DataError, UnknownName
from ..names import check_choice


@dataclass(frozen=True)
class Backbone:
    """One patch encoder. `dim` is the width of its features, `magnification` and `patch_px` what it expects.

    `aliases` are names that feature extraction tools give it. An alias may be the name of another backbone
    (the CrossFusion reference keeps UNI2-h in a folder called `uni`): the width in the file decides. `gated`:
    the weights are handed out only after their owner's terms were accepted. Licences are those that the weights' pages
    and TRIDENT's table of encoders stated in November 2026; the model card is what counts.
    """

    name: str
    title: str
    dim: int
    patch_px: int
    magnification: int
    licence: str
    gated: bool
    reference: str
    aliases: tuple[str, ...] = ()


_NC = "CC-BY-NC-ND-4.0"

BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            "resnet50", "ResNet-50 (ImageNet)", 2048, 224, 20, "BSD-3-Clause", False, "He et al., CVPR 2016"
        ),
        Backbone(
            "resnet50-trunc", "ResNet-50 cut after its third stage (CLAM)", 1024, 224, 20, "BSD-3-Clause", False,
            "Lu et al., Nature Biomedical Engineering 2021", ("resnet50", "resnet50_trunc"),
        ),
        Backbone(
            "efficientnet-lite0", "EfficientNet-Lite0 (ImageNet)", 1280, 224, 20, "Apache-2.0", False,
            "Tan and Le, ICML 2019", ("efficientnet_lite0",),
        ),
        Backbone(
            "ctranspath", "CTransPath", 768, 224, 20, "GPL-3.0", False,
            "Wang et al., Medical Image Analysis 2022",
            ("ctrans", "xiyuewang-ctranspath", "xiyuewang-ctranspath-7c998680"),
        ),
        Backbone(
            "phikon", "Phikon", 768, 224, 20, "Owkin non-commercial", False, "Filiot et al., medRxiv 2023"
        ),
        Backbone(
            "phikon-v2", "Phikon-v2", 1024, 224, 20, "Owkin non-commercial", False, "Filiot et al., arXiv 2024",
            ("phikon_v2", "phikonv2"),
        ),
        Backbone(
            "uni", "UNI", 1024, 224, 20, _NC, True, "Chen et al., Nature Medicine 2024",
            ("uni_v1", "uni1", "mahmood-uni"),
        ),
        Backbone(
            "uni2-h", "UNI2-h", 1536, 224, 20, _NC, True, "Chen et al., Nature Medicine 2024",
            ("uni", "uni2", "uni_v2", "uni2_h", "uni2h", "mahmood-uni2"),
        ),
        Backbone(
            "conch", "CONCH", 512, 448, 20, _NC, True, "Lu et al., Nature Medicine 2024",
            ("conch_v1", "mahmood-conch"),
        ),
        Backbone(
            "conch-v1.5", "CONCH v1.5", 768, 448, 20, _NC, True, "Ding et al., arXiv 2024",
            ("conch_v15", "conch_v1_5", "conch15", "conch1_5", "mahmood-conch1_5"),
        ),
        Backbone(
            "virchow", "Virchow", 2560, 224, 20, "Apache-2.0", True, "Vorontsov et al., Nature Medicine 2024",
            ("virchow_full", "virchow-full"),
        ),
        Backbone(
            "virchow-cls", "Virchow, class token alone", 1280, 224, 20, "Apache-2.0", True,
            "Vorontsov et al., Nature Medicine 2024", ("virchow",),
        ),
        Backbone("virchow2", "Virchow2", 2560, 224, 20, _NC, True, "Zimmermann et al., arXiv 2024"),
        Backbone(
            "virchow2-cls", "Virchow2, class token alone", 1280, 224, 20, _NC, True, "Zimmermann et al., arXiv 2024",
            ("virchow2",),
        ),
        Backbone(
            "prov-gigapath", "Prov-GigaPath (tile encoder)", 1536, 224, 20, "Apache-2.0", True,
            "Xu et al., Nature 2024", ("gigapath", "prov_gigapath"),
        ),
        Backbone(
            "hoptimus-0", "H-optimus-0", 1536, 224, 20, "Apache-2.0", True, "Saillard et al., Bioptimus 2024",
            ("hoptimus0", "h-optimus-0", "h_optimus_0"),
        ),
        Backbone(
            "hoptimus-1", "H-optimus-1", 1536, 224, 20, _NC, True, "Bioptimus 2025",
            ("hoptimus1", "h-optimus-1", "h_optimus_1"),
        ),
        Backbone(
            "quiltnet", "QuiltNet-B-32, image tower before its projection", 768, 224, 20, "MIT", False,
            "Ikezogwo et al., NeurIPS 2023", ("hug_quilt", "quilt", "quiltnet-b-32"),
        ),
    )
}  # fmt: skip


def get(name: str) -> Backbone:
    """The backbone of that name or alias; UnknownName lists the known names and the nearest."""
    wanted = name.strip().lower()
    called = [b for b in BACKBONES.values() if wanted in b.aliases]
    if wanted not in BACKBONES and len(called) == 1:
        return called[0]
    check_choice("backbone", wanted, BACKBONES, UnknownName)
    return BACKBONES[wanted]


def contradicts(said: str, name: str, dim: int) -> bool:
    """Whether a file that names the encoder `said` cannot hold features of `name`: both are known, and are not one."""
    try:
        known, mine = get(name), named(said, dim, "")
    except (DataError, UnknownName):
        return False
    return mine in BACKBONES and known.name != mine


def named(name: str, dim: int, where: str) -> str:
    """The name of the backbone that made features of width `dim` in a folder or file called `name`.

    The width in the file wins over the name: `uni` with 1536 columns is uni2-h, and so it is named. A name
    that the registry does not know is kept as it is: any encoder may be used. Raises DataError where the name
    is known and no backbone of that name has that width.
    """
    wanted = name.strip().lower()
    known = BACKBONES.get(wanted)
    called = [b for b in BACKBONES.values() if wanted in b.aliases]
    fitting = [b for b in ([known] if known else []) + called if b.dim == dim]
    if fitting:
        return fitting[0].name
    if known or called:
        widths = ", ".join(f"{b.name} is {b.dim} wide" for b in ([known] if known else []) + called)
        same = [b.name for b in BACKBONES.values() if b.dim == dim]
        hint = f" Backbones of width {dim}: {', '.join(same)}." if same else ""
        raise DataError(
            f"{where}: the features are {dim} wide, but {widths}.{hint} The width in the file is what counts: "
            f"rename the folder after the encoder that made it."
        )
    return name
