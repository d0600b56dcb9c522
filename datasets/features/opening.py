"""open_features: which layout a folder holds is seen by looking at it; a flag only decides what no file says."""

from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, UnknownName
from .. import backbones
from . import clam, loose, panther, reference, stamp, store, trident
from .listing import folders
from .reader import Reader
from .slide_files import FeatureSet, open_set


@dataclass(frozen=True)
class UserFacts:
    """What the user gives because no file says it: the magnification, side of patches, base of coordinates."""

    magnification: int | None = None
    patch_px: int | None = None
    coords: Path | None = None


def open_features(
    path: str | Path,
    backbone: str | None = None,
    *,
    magnification: int | None = None,
    patch_px: int | None = None,
    coords: str | Path | None = None,
) -> Reader:
    """The Reader of the features in `path`: a feature folder, a folder of those by backbone, or one with
    `features/`.

    `backbone` picks among several; a name that a tool uses (`uni` for the 1536 wide UNI2-h) is understood by
    width, and it names features whose tool keeps no name (CLAM). `magnification` is needed where no file and no
    folder says it (CLAM), `patch_px` where one magnification was cut in patches of several sizes, `coords` is the
    base of CLAM's `patches` folders where they lie apart. DataError: no features in any known layout, several
    backbones and none chosen, none of that name, or one of the three missing.
    """
    readers = _readers(Path(path), backbone, UserFacts(magnification, patch_px, Path(coords) if coords else None))
    path = Path(path)
    if backbone is None:
        if len(readers) > 1:
            names = ", ".join(sorted({_label(reader) for reader in readers}))
            raise DataError(f"{path} holds features of several backbones: {names}. Choose one with --backbone.")
        return readers[0]
    if exact := [r for r in readers if Path(r.folder).name.lower() == backbone.lower() and Path(r.folder) != path]:
        readers = exact
    fitting = [reader for reader in readers if _same(reader.backbone, backbone)]
    if len(fitting) == 1:
        return fitting[0]
    if len(readers) == 1:
        reader = readers[0]
        raise DataError(
            f"{reader.folder}: these features are {reader.dim} wide and those of {reader.backbone}, not of {backbone}. "
            f"Choose --backbone {reader.backbone}."
        )
    names = ", ".join(f"{r.backbone} ({r.dim} wide, in {Path(r.folder).name})" for r in readers)
    raise DataError(f"{path} holds no single features folder of {backbone}; found {names}.")


def open_all(
    path: str | Path,
    *,
    magnification: int | None = None,
    patch_px: int | None = None,
    coords: str | Path | None = None,
) -> list[Reader]:
    """The Readers of all features in `path`, one a backbone; see `open_features`."""
    return _readers(Path(path), None, UserFacts(magnification, patch_px, Path(coords) if coords else None))


def _readers(path: Path, backbone: str | None, given: UserFacts) -> list[Reader]:
    if not path.is_dir():
        raise DataError(f"{path} is not a folder: give the folder that holds the feature files.")
    try:
        found = _find(path, given)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read ({error.strerror or error}).") from error
    if not found:
        inside = ", ".join(p.name for p in folders(path)[:8]) or "no folders"
        vectors = trident.slide_vectors(path)
        hint = f" {vectors[0]} holds one vector a slide: milsurv needs patch features." if vectors else ""
        raise DataError(
            f"{path} holds no features in a known layout: no .h5 files with features, and no folders like "
            f"<backbone>/x20/pt_files, 20x_256px_0px_overlap/features_<encoder>, h5_files or "
            f"extracted-<encoder>/feats_h5. Looked at {inside}.{hint}"
        )
    if given.magnification is not None:
        _agree(path, found, given.magnification)
    return [store.open_store(one) if isinstance(one, Path) else open_set(one, _word(one, backbone)) for one in found]


def _find(path: Path, given: UserFacts) -> list[FeatureSet | Path]:
    """The sets in a folder, in its `features`, or in the folders below; a Path is one of our stores."""
    if found := _by_structure(path, given):
        return found
    if any(p.suffix == ".h5" for p in path.iterdir()):
        return [*(stamp.find(path, [path], given.magnification) or loose.find(path, given.magnification))]
    if (path / "features").is_dir() and (found := _find(path / "features", given)):
        return found
    found, rest = [], []
    for below in folders(path):
        own = _by_structure(below, given)
        found += own
        if not own:
            rest.append(below)
    tiles = stamp.find(path, stamp.candidates(rest), given.magnification)
    found += tiles
    if not tiles:
        found += [one for below in rest for one in loose.find(below, given.magnification)]
    return found


def _by_structure(path: Path, given: UserFacts) -> list[FeatureSet | Path]:
    """The sets that a folder's own names and its first bytes give away, without opening any file of other tools."""
    if store.recognise(path):
        return [path]
    return [
        *(
            trident.find(path, given.patch_px)
            or panther.find(path, given.patch_px)
            or reference.find(path, given.coords)
            or clam.find(path, given.magnification, given.coords)
        )
    ]


def _agree(path: Path, found: list[FeatureSet | Path], magnification: int) -> None:
    """Refuse a magnification that the files themselves contradict."""
    for one in found:
        scales = sorted(one.files) if isinstance(one, FeatureSet) else []
        if scales and magnification not in scales:
            has = ", ".join(f"{m}x" for m in scales)
            raise DataError(f"{path}: these features are {has} by their own account; leave --magnification out.")


def _word(found: FeatureSet, backbone: str | None) -> str | None:
    """The user's word for the encoder, where the tool kept no name and the folder's is no encoder's."""
    if backbone is None or found.layout != clam.LAYOUT:
        return None
    try:
        backbones.get(found.called)
    except UnknownName:
        return backbone
    return None


def _label(reader: Reader) -> str:
    name = Path(reader.folder).name
    return name if _same(reader.backbone, name) else reader.backbone


def _same(name: str, wanted: str) -> bool:
    if name.lower() == wanted.lower():
        return True
    try:
        return backbones.get(wanted).name == name
    except UnknownName:
        return False
