"""open_features: which layout a folder holds is seen by looking at it; a flag only decides what no file says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import DataError, Remark, UnknownName, some
from .. import backbones
from ..findings import Finding, finding
from . import clam, hub, known_sets, loose, panther, reference, stamp, store, tables, trident
from .archive import ENDINGS, is_archive, unpacked
from .formats.formats import SUFFIXES
from .joined import join
from .known_sets import KnownSet
from .listing import folders
from .reader import Reader
from .slide_files import FeatureSet, open_set

DEPTH = 5
"""How many folders deep features are looked for."""


@dataclass(frozen=True)
class UserFacts:
    """What the user gives because no file says it: the magnification, side of patches, base of coordinates; and the
    public set that the files are known to be of.
    """

    magnification: int | None = None
    patch_px: int | None = None
    coords: Path | None = None
    known: KnownSet | None = None

    @property
    def assumed(self) -> int | None:
        """The magnification where neither file nor folder says one."""
        return self.magnification or (self.known.magnification if self.known else None)


@dataclass(frozen=True)
class TableSet:
    """Tables of many slides, by magnification; see `milsurv.datasets.features.tables`."""

    called: str
    folder: Path
    files: dict[int, list[Path]]


Found = FeatureSet | TableSet | Path
"""What a folder holds, before it is opened; a Path is one of our stores."""


def open_features(
    path: str | Path | Sequence[str | Path],
    backbone: str | None = None,
    *,
    magnification: int | None = None,
    patch_px: int | None = None,
    coords: str | Path | None = None,
) -> Reader:
    """The Reader of the features in `path`: a feature folder, a folder of those by backbone, one with `features/`, an
    archive or a table; several paths are read as one, where their slides or scales are disjoint.

    `backbone` picks among several; a name that a tool uses (`uni` for the 1536 wide UNI2-h) is understood by
    width, and it names features whose tool keeps no name (CLAM). `magnification` is needed where no file and no
    folder says it (CLAM), `patch_px` where one magnification was cut in patches of several sizes, `coords` is the
    base of CLAM's `patches` folders where they lie apart. DataError: no features in any known layout, several
    backbones and none chosen, none of that name, or one of the three missing.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    given = UserFacts(magnification, patch_px, Path(coords) if coords else None)
    if len(paths) > 1:
        return join([_open(Path(one), backbone, given) for one in paths])
    return _open(Path(paths[0]), backbone, given)


def _open(path: Path, backbone: str | None, given: UserFacts) -> Reader:
    readers = _readers(path, backbone, given)
    if backbone is None:
        if len(readers) > 1:
            names = ", ".join(sorted({_label(reader) for reader in readers}))
            raise DataError(
                f"{path} holds features of several backbones: {names}. Choose one with --backbone.{_patients(readers)}"
            )
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


def _patients(readers: Sequence[Reader]) -> str:
    """A hint where folders that hold files of the same names may be patients and no encoders."""
    shared = sorted(frozenset.intersection(*(frozenset(reader.slides) for reader in readers)))
    if not shared or len({reader.dim for reader in readers}) > 1 or any(map(loose.is_encoder, map(_label, readers))):
        return ""
    return (
        f" If these folders are patients or slides: files of the same name ({some(shared, 3)}) lie in all of them. A "
        "slide is one file with a name of its own."
    )


def open_all(
    path: str | Path,
    *,
    magnification: int | None = None,
    patch_px: int | None = None,
    coords: str | Path | None = None,
) -> list[Reader]:
    """The Readers of all features in `path`, one a backbone; see `open_features`."""
    given = UserFacts(magnification, patch_px, Path(coords) if coords else None)
    return _readers(Path(path), None, given, vectors=True)


def _readers(path: Path, backbone: str | None, given: UserFacts, vectors: bool = False) -> list[Reader]:
    """The readers in `path`, one a backbone. Without `vectors`, vectors of slides beside patch features are passed
    over, unless they are asked for by name.
    """
    import warnings

    given = replace(given, known=known_sets.known_set_of(path) or given.known)
    if archives := hub.fetched_archives(path):
        return [join([one for archive in archives for one in _readers(archive, backbone, given)])]
    place = path
    if is_archive(path):
        place = unpacked(path, lambda message: warnings.warn(message, Remark, stacklevel=2))
    elif path.is_file() and not tables.is_table(path):
        raise DataError(f"{path} is a file of one slide or of another kind: give the folder that holds the files.")
    elif not path.exists() or not (path.is_dir() or path.is_file()):
        raise DataError(f"{path} is not a folder: give the folder that holds the feature files.")
    try:
        found = _find(place, given)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read ({error.strerror or error}).") from error
    if not found:
        raise DataError(_nothing(path))
    if given.magnification is not None:
        _agree(path, found, given.magnification)
    patches = [one for one in found if not (isinstance(one, FeatureSet) and one.vectors)]
    if not vectors and patches and len(patches) < len(found):
        asked = [one for one in found if isinstance(one, FeatureSet) and one.vectors and _asked(one, backbone)]
        found = asked or patches
    readers = [_opened(one, backbone, given) for one in found]
    groups: dict[str, list[Reader]] = {}
    for reader in readers:
        groups.setdefault(reader.backbone, []).append(reader)
    # Of one encoder, yet apart where a slide lies twice at one scale: then one of the folders must be chosen.
    return [one for group in groups.values() for one in (group if _apart(group) else [join(group)])]


def _opened(one: Found, backbone: str | None, given: UserFacts) -> Reader:
    known = [] if given.known is None else [_known(given.known)]
    if isinstance(one, Path):
        return store.open_store(one)
    if isinstance(one, TableSet):
        called = given.known.backbone if given.known and given.known.backbone else one.called
        return tables.open_tables(one.folder, one.files, called, tuple(known))
    if given.known is not None:
        called = given.known.calls.get(one.called.lower(), given.known.backbone if not one.named else None)
        one = replace(one, called=called or one.called, findings=(*one.findings, *known))
        one = replace(one, patch_px=one.patch_px or given.known.patch_px)
    return open_set(one, _word(one, backbone))


def _known(one: KnownSet) -> Finding:
    encoder = one.backbone or "encoders by folder"
    said = "assumed, its page does not state it" if one.assumed else "as its page states"
    message = f"taken for the public set {one.repository}: {encoder}, {one.magnification}x ({said}), {one.licence}"
    return finding("known_set", "info", message, [one.name])


def _nothing(path: Path) -> str:
    """Why a folder cannot be read as features: what lies there instead."""
    inside = ", ".join(p.name for p in folders(path)[:8]) if path.is_dir() else ""
    kinds: dict[str, int] = {}
    endings: set[str] = set()
    for p in path.rglob("*") if path.is_dir() else ():
        if p.is_file() and not p.name.startswith("."):
            ending = next((end for end in sorted(ENDINGS, key=len, reverse=True) if p.name.lower().endswith(end)), "")
            endings.add(p.suffix)
            kinds[ending or p.suffix.lower() or "without an ending"] = kinds.get(ending or p.suffix.lower(), 0) + 1
        if sum(kinds.values()) > 100_000:
            break
    there = some(f"{n} {kind}" for kind, n in sorted(kinds.items(), key=lambda item: -item[1])) or "no files"
    hint = ""
    if any(kind in ENDINGS for kind in kinds):
        first = next(p for p in sorted(path.rglob("*")) if p.name.lower().endswith(ENDINGS))
        hint = f" Give the archives of your cohort themselves: --features {first}, once for each."
    elif kinds.keys() & {".pkl", ".pickle"}:
        hint = (
            " A pickle can run code and is not read. Where you trust it, write its arrays once as .npz: "
            "numpy.savez('vectors.npz', filenames=…, embeddings=…)."
        )
    where = [path, *folders(path)] if path.is_dir() else []
    reason = next((why for folder in where if loose.holds_files(folder) and (why := loose.why_not(folder))), "")
    reason = reason and f" The first file: {reason}"
    if odd := sorted({kind for kind in endings if kind not in SUFFIXES and kind.lower() in SUFFIXES}):
        hint += f" Endings are written in lower case: rename {', '.join(odd)}."
    return (
        f"{path} holds no features in a known layout: no files with features ({', '.join(SUFFIXES)}), and no folders "
        f"like <backbone>/x20/pt_files, 20x_256px_0px_overlap/features_<encoder>, h5_files or "
        f"extracted-<encoder>/feats_h5. There are {there}. Looked at {inside or 'no folders'}.{reason}{hint} Features "
        "of another form can be written with milsurv.datasets.features.store.write_slide."
    )


def _find(path: Path, given: UserFacts, depth: int = DEPTH) -> list[Found]:
    """The sets in a folder, in its `features`, or in the folders below."""
    if path.is_file():
        return [TableSet(path.stem, path, {given.assumed or loose.VECTOR_SCALE: [path]})]
    if found := _by_structure(path, given):
        return found
    if loose.holds_files(path) and (found := _loose(path, given)):
        return found
    if (path / "features").is_dir() and (found := _find(path / "features", given, depth - 1)):
        return found
    found, rest = [], []
    for below in folders(path):
        own = _by_structure(below, given)
        found += own
        if not own:
            rest.append(below)
    tiles = stamp.find(path, among, given.magnification) if stamp.likely(among := stamp.candidates(rest)) else []
    if tiles:
        return _merged(path, [*found, *tiles])
    for below in rest if depth else ():
        found += _find(below, given, depth - 1)
    return _merged(path, found)


def _loose(path: Path, given: UserFacts) -> list[Found]:
    """What the files in a folder itself are: tables of many slides, STAMP's, or one file a slide."""
    many = [p for p in sorted(path.iterdir()) if p.suffix in (".parquet", ".npz") and p.is_file()]
    if many and tables.is_table(many[0]):
        m = given.magnification or clam.scale_named(path) or given.assumed or loose.VECTOR_SCALE
        home = path.parent if clam.scale_named(path) else path
        return [TableSet(home.name, path, {m: [p for p in many if tables.is_table(p)]})]
    found = stamp.find(path, [path], given.magnification) if any(p.suffix == ".h5" for p in path.iterdir()) else []
    return [*(found or loose.find(path, given.magnification, given.assumed))]


def _merged(path: Path, found: list[Found]) -> list[Found]:
    """Sets of one encoder as one; see `loose.merged`. Tables of one encoder are joined by scale."""
    by_name: dict[str, TableSet] = {}
    for one in found:
        if isinstance(one, TableSet):
            first = by_name.setdefault(one.called, replace(one, folder=path, files={}))
            for m, files in one.files.items():
                first.files.setdefault(m, []).extend(files)
    stores = [one for one in found if isinstance(one, Path)]
    return [*stores, *by_name.values(), *loose.merged(path, [one for one in found if isinstance(one, FeatureSet)])]


def _by_structure(path: Path, given: UserFacts) -> list[Found]:
    """The sets that a folder's own names and its first bytes give away, without opening any file of other tools."""
    if store.recognise(path):
        return [path]
    return [
        *(
            trident.find(path, given.patch_px)
            or panther.find(path, given.patch_px)
            or reference.find(path, given.coords)
            or clam.find(path, given.assumed, given.coords)
        )
    ]


def _apart(group: Sequence[Reader]) -> bool:
    """Whether readers of one encoder hold a slide twice at one scale: they are not joined; one must be chosen."""
    seen: set[str] = set()
    for i, one in enumerate(group):
        for other in group[i + 1 :]:
            if set(one.magnifications) & set(other.magnifications) and (shared := one.slides & other.slides):
                seen |= {s for s in shared if one.counts(s).keys() & other.counts(s).keys()}
    return bool(seen)


def _asked(one: FeatureSet, backbone: str | None) -> bool:
    return backbone is not None and one.called.lower() == backbone.lower()


def _agree(path: Path, found: list[Found], magnification: int) -> None:
    """Refuse a magnification that the files themselves contradict."""
    for one in found:
        scales = sorted(one.files) if isinstance(one, FeatureSet) else []
        if scales and magnification not in scales:
            has = ", ".join(f"{m}x" for m in scales)
            raise DataError(
                f"{path}: these features are {has} by their own account; leave --magnification out. A single-scale "
                f"model reads them with --scale {scales[-1]}."
            )


def _word(found: FeatureSet, backbone: str | None) -> str | None:
    """The user's word for the encoder, where the tool kept no name and the folder's is no encoder's."""
    if backbone is None or (found.named and found.layout != clam.LAYOUT):
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
