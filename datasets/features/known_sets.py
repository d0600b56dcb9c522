"""Public sets of features by name: what their files do not say themselves, so that no option has to.

A set is known by a folder of its name above the files (a clone, the cache of the hub, or what `bench features fetch`
wrote), or by the name of an archive that it alone has. What a file says itself still counts, and must agree.
Licences and terms are those that the pages of the sets stated in November 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_NC = "CC-BY-NC-ND-4.0"


@dataclass(frozen=True)
class KnownSet:
    """One public set of features.

    repository: of data sets on the hub. backbone: the encoder, None where folders are called after several; `calls`
    is what those folders are called. magnification, patch_px: of the patches; the assumed ones where the set does not
    state them (`assumed`). patterns: which files are those of a cohort, with {project} for TCGA-BRCA and {cohort} for
    brca, as glob patterns without regard to case. archives: beginnings of names of archives that no other set has.
    vectors: one vector a slide. pickled: not readable as it is.
    """

    name: str
    repository: str
    backbone: str | None
    magnification: int
    patch_px: int | None
    licence: str
    gated: bool
    patterns: tuple[str, ...]
    layout: str
    calls: Mapping[str, str] = field(default_factory=dict)
    archives: tuple[str, ...] = ()
    assumed: bool = False
    vectors: bool = False
    pickled: bool = False


_TRIDENT = ("TCGA/{project}/*.h5",)

KNOWN_SETS: dict[str, KnownSet] = {
    one.name: one
    for one in (
        KnownSet(
            "uni2-h", "MahmoodLab/UNI2-h-features", "uni2-h", 20, 256, _NC, True,
            ("TCGA/{project}.tar.gz", "TCGA/{project}_*.tar.gz"), "an archive a project, <slide>.<UUID>.h5",
            archives=("TCGA-BRCA_IDC", "TCGA-BRCA_OTHERS"),
        ),
        KnownSet(
            "uni2-h-open", "W8Yi/tcga-wsi-uni2h-features", "uni2-h", 20, 256, "not stated", False,
            ("{project}/features/*.h5",), "<project>/features/<slide>.h5",
        ),
        KnownSet(
            "trident-uni2-h", "sofieneb/uni2h_features", "uni2-h", 20, 256, _NC, False, _TRIDENT, "TRIDENT's files",
        ),
        KnownSet(
            "trident-virchow2", "sofieneb/virchow2_features", "virchow2", 20, 224, _NC, True, _TRIDENT,
            "TRIDENT's files",
        ),
        KnownSet(
            "trident-gigapath", "sofieneb/gigapath_features", "prov-gigapath", 20, 256, _NC, False, _TRIDENT,
            "TRIDENT's files",
        ),
        KnownSet(
            "trace", "IUCompPath/TRACE", "conch-v1.5", 20, None, "not stated", False,
            ("data/{project}/conch_v15/*/part-*.parquet",), "parquet, rows are chunks of a slide; 10x and 20x",
        ),
        KnownSet(
            "cpath", "Dearcat/CPathPatchFeature", None, 20, 256, "Apache-2.0", False,
            ("*{cohort}*/{encoder}/pt_files/*.pt", "*{cohort}*/patches/*.h5"), "CLAM's files",
            calls={"uni": "uni", "gigap": "prov-gigapath", "chief": "chief", "r50": "resnet50"}, assumed=True,
        ),
        KnownSet(
            "titan", "MahmoodLab/TITAN", "titan", 20, None, _NC, True, ("TCGA_TITAN_features.pkl",),
            "one pickle of slide vectors", vectors=True, pickled=True,
        ),
    )
}  # fmt: skip


def known_set_of(path: Path) -> KnownSet | None:
    """The set that a folder or an archive belongs to by name; None where its name and those above it tell nothing."""
    for part in reversed(path.absolute().parts[-8:]):
        plain = part.removeprefix("datasets--").replace("--", "/").lower()
        for one in KNOWN_SETS.values():
            repository = one.repository.lower()
            if plain in (repository, repository.split("/")[1], repository.replace("/", "_")):
                return one
    archive = path.name.split(".")[0]
    return next((one for one in KNOWN_SETS.values() if archive in one.archives), None)
