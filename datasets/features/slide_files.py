"""SlideFiles: the reader of other tools' folders. Each layout says which file holds a slide at a magnification; how
such a file is read is the same for all of them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...errors import DataError, some
from ...files import fingerprint
from .. import backbones
from ..findings import Finding, finding
from ..patient import SYNTHETIC_PREFIX
from . import h5_file, pt_file
from .formats.formats import PT, format_of
from .formats.matrix import pairs
from .geometry import NOMINAL_MPP, Facts, Geometry, number
from .half import first_bad_row, to_half

AGAIN = "Extract this slide again."
SAMPLE = 64  # rows of a matrix that go into a fingerprint


@dataclass(frozen=True)
class ScaleFiles:
    """Where one slide at one magnification lies: the features, the .h5 with coordinates if it is another file, and the
    .h5 whose attributes say the geometry if that is yet another.
    """

    features: Path
    coords: Path | None = None
    attributes: Path | None = None


@dataclass(frozen=True)
class FeatureSet:
    """What one encoder wrote in one folder: files by magnification and slide, before any file is read.

    `called` is the tool's name of the encoder, `claims` the magnification in the folder's own words where it is
    not whole. `vectors`: of a slide encoder, one row a slide. `named`: the tool or the files named the encoder, not the
    folder alone.
    """

    layout: str
    called: str
    folder: Path
    files: Mapping[int, Mapping[str, ScaleFiles]]
    findings: tuple[Finding, ...] = ()
    patch_px: float | None = None
    claims: Mapping[int, float] = field(default_factory=dict)
    vectors: bool = False
    named: bool = True


@dataclass(frozen=True)
class FeatureFiles:
    """Reader of files of other tools; see `milsurv.datasets.features.reader.Reader`."""

    folder: str
    layout: str
    backbone: str
    dim: int
    magnifications: tuple[int, ...]
    slides: frozenset[str]
    synthetic: bool
    findings: tuple[Finding, ...]
    files: Mapping[int, Mapping[str, ScaleFiles]] = field(repr=False)
    patch_px: float | None = None
    claims: Mapping[int, float] = field(default_factory=dict)
    vectors: bool = False
    _facts: dict[str, dict[int, Facts]] = field(default_factory=dict, repr=False, compare=False)
    _verified: set[Path] = field(default_factory=set, repr=False, compare=False)

    def facts(self, slide: str) -> dict[int, Facts]:
        """What the headers say, by magnification; scales without a file are absent."""
        if slide not in self._facts:
            files = {m: of[slide] for m, of in self.files.items() if slide in of}
            if not files:
                raise DataError(f"{self.folder} has no file of slide {slide} at any of {self.magnifications}.")
            self._facts[slide] = {m: self._look(one, m) for m, one in files.items()}
        return self._facts[slide]

    def shapes(self, slide: str) -> dict[int, tuple[int, int]]:
        """(patches, width) by magnification."""
        return {m: (f.patches, f.dim) for m, f in self.facts(slide).items()}

    def counts(self, slide: str) -> dict[int, int]:
        """Patches by magnification."""
        return {m: f.patches for m, f in self.facts(slide).items()}

    def read(
        self, slide: str, magnification: int, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float16 (n, d), rows as in the file, and level-0 coordinates int32 (n, 2) or None."""
        one = self._files_of(slide, magnification)
        path, where = one.features, f"{one.features}, slide {slide}, {magnification}x"
        if path.suffix in PT:
            half = pt_file.fill(path, where, out, self.dim, path not in self._verified, self.vectors)
            self._verified.add(path)
            return half, self._coords(one, None, len(half))
        if (form := format_of(path)) is not None:
            head = form.look(path)
            self._expect(path, head.shape, out)
            half = np.empty(_as_bag(head.shape, self.vectors), np.float16) if out is None else out
            if len(half):
                given = _floats(form.rows(path, head), path)
                if given.size != half.size:  # a line that ends with a bare carriage return, say
                    raise DataError(f"{path} holds {given.shape} numbers where its lines say {half.shape}. {AGAIN}")
                to_half(given.reshape(half.shape), where, half)
            return half, self._coords(one, None, len(half))
        head, name = _features(path, self.vectors)
        matrix = head.datasets[name]
        n = self._expect(path, matrix.shape, out)
        half = np.empty((n, self.dim), np.float16) if out is None else out
        if n:
            whole = half.reshape(matrix.shape[0], -1)  # a vector (D,) is sent as D rows
            h5_file.rows(path, name, matrix, lambda at, piece: _into(whole, at, piece, where))
        return half, self._coords(one, head, n)

    def _expect(self, path: Path, shape: tuple[int, ...], out: np.ndarray | None) -> int:
        """The patches of a file. DataError if it is of another width, or has no longer as many as `out` has rows."""
        n, dim = _as_bag(shape, self.vectors)
        if n and dim != self.dim:
            raise DataError(f"{path}: is {dim} wide, other slides are {self.dim}. {AGAIN}")
        if out is not None and out.shape != (n, self.dim):
            raise DataError(f"{path} changed while it was read. {AGAIN}")
        return n

    def coords(self, slide: str, magnification: int) -> np.ndarray | None:
        """Coordinates alone, int32 (n, 2), or None where none were kept."""
        one = self._files_of(slide, magnification)
        head = _features(one.features, self.vectors)[0] if _is_h5(one.features) else None
        return self._coords(one, head, self.facts(slide)[magnification].patches)

    def fingerprint(self, slides: Iterable[str]) -> str:
        """A hash of shapes, all coordinates and, in .pt files, the stored checksums of all numbers.

        HDF5 files of other tools hold no checksums: of these, 64 rows spread evenly over each matrix are hashed.
        That tells another encoder, patching or extraction apart, not a change of a few rows.
        """
        return fingerprint(
            [slide, m, self._content(slide, m)] for slide in set(slides) for m in self.files if slide in self.files[m]
        )

    def sources(self, slide: str) -> list[Path]:
        """The files of a slide."""
        files = [of[slide] for of in self.files.values() if slide in of]
        return sorted({p for one in files for p in (one.features, one.coords) if p is not None})

    def _content(self, slide: str, magnification: int) -> object:
        one = self._files_of(slide, magnification)
        corners = self.coords(slide, magnification)
        where = None if corners is None else hashlib.sha256(corners.astype("<i4").tobytes()).hexdigest()
        if one.features.suffix in PT:
            return [pt_file.checksums(one.features), where]
        if (form := format_of(one.features)) is not None:
            head = form.look(one.features)
            values = form.rows(one.features, head)
            sample = np.ascontiguousarray(values[:: max(1, -(-len(values) // SAMPLE))])
            return [list(head.shape), head.dtype, hashlib.sha256(sample.tobytes()).hexdigest(), where]
        head, name = _features(one.features, self.vectors)
        matrix, digest = head.datasets[name], hashlib.sha256()
        if matrix.shape[0]:
            step = -(-matrix.shape[0] // SAMPLE)
            h5_file.rows(one.features, name, matrix, lambda at, piece: digest.update(piece.tobytes()), step=step)
        return [list(matrix.shape), matrix.dtype, digest.hexdigest(), where]

    def _files_of(self, slide: str, magnification: int) -> ScaleFiles:
        of = self.files.get(magnification, {})
        if slide not in of:
            if not of:
                raise DataError(
                    f"{slide}: {self.folder} has no {magnification}x, only {list(self.magnifications)}. {AGAIN}"
                )
            beside = next(iter(of.values())).features
            raise DataError(
                f"{beside.with_name(slide + beside.suffix)} does not exist: "
                "there are no features for this slide and scale."
            )
        return of[slide]

    def _look(self, one: ScaleFiles, magnification: int) -> Facts:
        claimed = self.claims.get(magnification, float(magnification))
        by_folder = Geometry(patch_px=self.patch_px, claimed=claimed)
        nbytes = _size(one.features) + (_size(one.coords) if one.coords else 0)
        head, said, encoder, located = None, Geometry(), None, False
        if one.features.suffix in PT:
            found = pt_file.parts(one.features, self.vectors)
            (n, dim), dtype = found.features.shape, str(found.features.dtype).removeprefix("torch.")
            said, encoder, located = found.geometry, found.encoder, found.corners is not None
        elif (form := format_of(one.features)) is not None:
            general = form.look(one.features)
            (n, dim), dtype = _as_bag(general.shape, self.vectors), general.dtype
            said, encoder, located = general.geometry, general.encoder, general.located
        else:
            head, name = _features(one.features, self.vectors)
            matrix = head.datasets[name]
            n, dim = _as_bag(matrix.shape, self.vectors)
            dtype = str(np.dtype(matrix.dtype))
        head = h5_file.look(one.coords) if one.coords else head
        if head is not None:
            if not self.vectors and "coords" in head.datasets and (kept := _rows_of(head.datasets["coords"])) != n:
                path = one.coords or one.features
                raise DataError(f"{path} has {kept} coordinates for {n} patches in {one.features}. {AGAIN}")
            encoder = encoder or _encoder(head)
            located = "coords" in head.datasets
        head = h5_file.look(one.attributes) if one.attributes else head
        geometry = _geometry(head, replace(by_folder, **said.known()))
        stated = said.patch_px or (geometry.patch_px if _states_size(head) else None)
        return Facts(
            int(n), int(dim), dtype, nbytes, geometry, located and not self.vectors, encoder, stated, self.vectors
        )

    def _coords(self, one: ScaleFiles, head: h5_file.H5Head | None, n: int) -> np.ndarray | None:
        path = one.coords or one.features
        if self.vectors:
            return None
        if not one.coords and not _is_h5(path):
            where = _corners_of(path)
            if where is not None and len(where) != n:
                raise DataError(f"{path} has {len(where)} coordinates for {n} patches. {AGAIN}")
            corners = np.empty((n, 2), np.int32)
            if where is not None and n:
                _corners(corners, 0, where, False, path)
            return None if where is None else corners
        head = h5_file.look(path) if one.coords else head
        if head is None or "coords" not in head.datasets:
            return None
        data = head.datasets["coords"]
        if (kept := _rows_of(data)) != n:
            raise DataError(f"{path} has {kept} coordinates for {n} patches in {one.features}. {AGAIN}")
        corners = np.empty((n, 2), np.int32)
        if n:
            if data.shape != (n, 2) or np.dtype(data.dtype).kind not in "iuf":
                raise DataError(f"{path}: coordinates are {data.shape} of {data.dtype}, not (N, 2) numbers. {AGAIN}")
            microns = head.attrs.get("unit") == "um"
            h5_file.rows(path, "coords", data, lambda at, piece: _corners(corners, at, piece, microns, path))
        return corners


def open_set(found: FeatureSet, named: str | None = None) -> FeatureFiles:
    """The reader of a set; the width comes from the first file with patches, the backbone's name from both.

    DataError if no file can be read, or width and name do not fit.
    """
    files = [one for of in found.files.values() for one in of.values()]
    dim, why = None, "there are none"
    for one in files:
        try:
            dim = _width(one.features, found.vectors)
        except DataError as error:  # reported where the slide is used; one good file is enough to open the folder
            why = str(error) if why == "there are none" else why
        if dim:
            break
    if not dim:
        raise DataError(f"{found.folder} holds no file with an (N, D) matrix of features: {why}")
    backbone = backbones.named(named or found.called, dim, str(found.folder))
    findings = list(found.findings)
    if backbone.lower() != found.called.lower() and not named:
        message = f"features called {found.called!r} are {dim} wide: they are those of {backbone}"
        findings.append(finding("backbone_renamed", "info", message, [found.folder]))
    slides = frozenset(slide for of in found.files.values() for slide in of)
    return FeatureFiles(
        folder=str(found.folder),
        layout=found.layout,
        backbone=backbone,
        dim=dim,
        magnifications=tuple(sorted(m for m, of in found.files.items() if of)),
        slides=slides,
        synthetic=bool(slides) and all(slide.startswith(SYNTHETIC_PREFIX) for slide in slides),
        findings=tuple(findings),
        files=found.files,
        patch_px=found.patch_px,
        claims=found.claims,
        vectors=found.vectors,
    )


def _width(path: Path, vectors: bool) -> int | None:
    if path.suffix in PT:
        return int(pt_file.load(path, vectors).shape[1]) or None
    if (form := format_of(path)) is not None:
        n, dim = _as_bag(form.look(path).shape, vectors)
    else:
        head, name = _features(path, vectors)
        n, dim = _as_bag(head.datasets[name].shape, vectors)
    return dim if n else None


def _as_bag(shape: tuple[int, ...], vectors: bool) -> tuple[int, int]:
    """(patches, width) of a stored shape; a vector (D,) is a bag of one."""
    if len(shape) == 2:
        return int(shape[0]), int(shape[1])
    return (1, int(shape[0])) if vectors and len(shape) == 1 and shape[0] else (0, 0)


def _is_h5(path: Path) -> bool:
    return path.suffix not in PT and format_of(path) is None


def _corners_of(path: Path) -> np.ndarray | None:
    """The coordinates that a file of a general format, or a dict of torch, holds."""
    if path.suffix in PT:
        return pt_file.parts(path).corners
    form = format_of(path)
    if form is None or not (head := form.look(path)).located:
        return None
    return pairs(path, form.corners(path, head))


def _floats(values: np.ndarray, path: Path) -> np.ndarray:
    if values.dtype.kind != "f" and values.size:
        raise DataError(f"{path} holds {values.dtype}, not floats. {AGAIN}")
    return values


def _states_size(head: h5_file.H5Head | None) -> bool:
    """Whether a file states the side of a patch at its magnification: TRIDENT and STAMP do, CLAM's is of its level."""
    on = head.datasets["coords"].attrs if head is not None and "coords" in head.datasets else {}
    return "target_magnification" in on or (head is not None and "tile_size_px" in head.attrs)


def _features(path: Path, vectors: bool = False) -> tuple[h5_file.H5Head, str]:
    """Header and name of the matrix of features. DataError if there is none, or it is not (N, D) floats."""
    head = h5_file.look(path)
    name = next((n for n in ("features", "feats") if n in head.datasets), None)
    if name is None:
        inside = some(head.others or head.datasets) or "nothing"
        raise DataError(f"{path} holds {inside}, but neither `features` nor `feats`. {AGAIN}")
    kind = head.attrs.get("feat_type", "tile")
    matrix = head.datasets[name]
    if kind != "tile" and not vectors:
        raise DataError(f"{path} holds one vector a {kind}: milsurv needs patch features, feat_type 'tile'.")
    empty = bool(matrix.shape) and matrix.shape[0] == 0
    form = (1, 2) if vectors else (2,)
    if vectors and len(matrix.shape) == 2 and matrix.shape[0] > 1:
        raise DataError(f"{path} holds one vector a slide by its own account, but {matrix.shape[0]} rows. {AGAIN}")
    if not empty and (len(matrix.shape) not in form or np.dtype(matrix.dtype).kind != "f"):
        raise DataError(f"{path} holds {name} {matrix.shape} of {matrix.dtype}, not (N, D) floats. {AGAIN}")
    return head, name


def _encoder(head: h5_file.H5Head | None) -> str | None:
    """The encoder that a file names: TRIDENT beside the features, STAMP for the whole file."""
    if head is None:
        return None
    on = next((head.datasets[name].attrs for name in ("features", "feats") if name in head.datasets), {})
    said = on.get("encoder") or head.attrs.get("encoder") or head.attrs.get("extractor")
    return str(said).lower() if isinstance(said, str) and said else None


def _geometry(head: h5_file.H5Head | None, by_folder: Geometry) -> Geometry:
    """What the attributes say, in the words of TRIDENT, CLAM or STAMP, added to what the folder says."""
    if head is None:
        return by_folder
    on = dict(head.datasets["coords"].attrs) if "coords" in head.datasets else {}
    attrs = {key: number(value) or None for key, value in {**head.attrs, **on}.items()}
    patch = attrs.get("patch_size")
    found: dict[str, float | None] = {
        "level0_magnification": attrs.get("level0_magnification"),
        "width": attrs.get("level0_width"),
        "height": attrs.get("level0_height"),
        "overlap_px": number(on.get("overlap")),
        "mpp": attrs.get("level0_mpp") or attrs.get("mpp"),
        "claimed": attrs.get("target_magnification"),
        "level0_px": attrs.get("patch_size_level0"),
        "patch_px": patch,
    }
    if patch and "patch_level" in on:  # CLAM: the size is in pixels of that level, before any resizing
        found["level0_px"] = patch * (attrs.get("downsample") or 1.0)
        found["patch_px"] = by_folder.patch_px or patch / (attrs.get("custom_downsample") or 1.0)
        dims = on.get("level_dim")
        if isinstance(dims, list) and len(dims) == 2 and attrs.get("downsample"):
            found["width"], found["height"] = (float(d) * attrs["downsample"] for d in dims)  # type: ignore[operator]
    if head.attrs.get("unit") == "um" and attrs.get("tile_size_um"):  # STAMP: microns, kept as pixels of a 40x slide
        found["mpp"] = NOMINAL_MPP
        found["level0_px"] = attrs["tile_size_um"] / NOMINAL_MPP  # type: ignore[operator]
        found["patch_px"] = attrs.get("tile_size_px")
        if found["patch_px"]:
            found["claimed"] = 10 * found["patch_px"] / attrs["tile_size_um"]  # type: ignore[operator]
    return replace(by_folder, **{name: value for name, value in found.items() if value is not None})


def _into(half: np.ndarray, at: int, piece: np.ndarray, where: str) -> None:
    """A piece of rows into its place as float16, checked."""
    rows = half[at : at + len(piece)]
    if piece.dtype == np.float16:
        rows[:] = piece
        if first_bad_row(rows) is None:
            return
    to_half(piece, where, rows, at)


def _corners(corners: np.ndarray, at: int, piece: np.ndarray, microns: bool, path: Path) -> None:
    values = piece / NOMINAL_MPP if microns else piece
    with np.errstate(invalid="ignore"):
        if not (np.abs(values.astype(np.float64)) <= np.iinfo(np.int32).max).all():
            raise DataError(f"{path}: coordinates near row {at} are no numbers or beyond the range of int32. {AGAIN}")
    corners[at : at + len(piece)] = np.rint(values) if values.dtype.kind == "f" else values


def _rows_of(data: h5_file.Dataset) -> int:
    return data.shape[0] if data.shape else 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
