"""Feature folders of the CrossFusion reference: one torch tensor a slide and scale, and no coordinates.

    <root>/<backbone>/x{5,10,20}/pt_files/<slide>.pt     (N, D), float32 or float16

Files are read with `weights_only=True`: a pickle that would run code is refused. Memory-mapped, so that a
header costs no read and a float32 matrix is never held beside its float16 copy.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import backbones
from ..errors import DataError
from ..findings import Finding, finding
from ..fingerprint import fingerprint
from .half import to_half
from .names import safe

if TYPE_CHECKING:
    import torch

LAYOUT = "reference"
AGAIN = "Extract this slide again."
_SCALE = re.compile(r"^x(\d+)$")


@dataclass(frozen=True)
class ReferenceFolder:
    """Reader of `<root>/<backbone>` in the reference's layout; see `milsurv.datasets.features.reader.Reader`."""

    folder: str
    backbone: str
    dim: int
    magnifications: tuple[int, ...]
    slides: frozenset[str]
    findings: tuple[Finding, ...] = ()
    synthetic: bool = False
    layout: str = LAYOUT
    _shapes: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict, repr=False, compare=False)
    _verified: set[Path] = field(default_factory=set, repr=False, compare=False)

    def shapes(self, slide: str) -> dict[int, tuple[int, int]]:
        """(patches, width) by magnification; scales without a file are absent."""
        if slide not in self._shapes:
            paths = {m: self._path(slide, m) for m in self.magnifications}
            present = {m: path for m, path in paths.items() if path.is_file()}
            if not present:
                raise DataError(f"{self.folder} has no file of slide {slide} at any of {self.magnifications}.")
            self._shapes[slide] = {m: tuple(_load(path).shape) for m, path in present.items()}  # type: ignore[misc]
        return self._shapes[slide]

    def counts(self, slide: str) -> dict[int, int]:
        """Patches by magnification."""
        return {magnification: n for magnification, (n, _) in self.shapes(slide).items()}

    def read(
        self, slide: str, magnification: int, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float16 (n, d); this layout keeps no coordinates: None."""
        path = self._path(slide, magnification)
        if path not in self._verified:
            _verify(path)
        tensor = _load(path)
        if tensor.shape[1] != self.dim:
            raise DataError(f"{path}: is {tensor.shape[1]} wide, other slides are {self.dim}. {AGAIN}")
        half = to_half(_numpy(tensor), f"{path}, slide {slide}, {magnification}x", out)
        self._verified.add(path)
        return half, None

    def fingerprint(self, slides: Iterable[str]) -> str:
        """A hash of the checksums in the files' zip directories, or of their content where they are no zips."""
        return fingerprint(
            [slide, m, checksums(self._path(slide, m))] for slide in set(slides) for m in self.shapes(slide)
        )

    def _path(self, slide: str, magnification: int) -> Path:
        return Path(self.folder) / f"x{magnification}" / "pt_files" / f"{safe(slide)}.pt"


def recognise(folder: Path) -> bool:
    """Whether `folder` has scales of this layout: x20/pt_files and the like."""
    return bool(_scales(folder))


def open_reference(folder: Path, name: str | None = None) -> ReferenceFolder:
    """Open `<root>/<backbone>`; the width comes from the first readable file, the name from the user or the folder."""
    scales = _scales(folder)
    files = {m: sorted(p for p in path.iterdir() if p.suffix == ".pt") for m, path in scales.items()}
    slides = frozenset(path.stem for paths in files.values() for path in paths)
    dim, why = None, "there are no .pt files"
    for path in (path for paths in files.values() for path in paths):
        try:
            dim = int(_load(path).shape[1]) or None
        except DataError as error:  # reported where the slide is used; one good file is enough to open the folder
            why = str(error)
        if dim:
            break
    if dim is None:
        raise DataError(f"{folder} holds no .pt file with an (N, D) tensor: {why}")
    called = name or folder.name
    backbone = backbones.named(called, dim, str(folder))
    findings = []
    if backbone != called.lower():
        message = f"features called {called!r} are {dim} wide: they are those of {backbone}"
        findings.append(finding("backbone_renamed", "info", message, [folder]))
    return ReferenceFolder(str(folder), backbone, dim, tuple(sorted(files)), slides, tuple(findings))


def checksums(path: Path) -> object:
    """What identifies a file's content: the CRC-32 and size of every zip member, or the SHA-256 of a plain file."""
    try:
        with zipfile.ZipFile(path) as archive:
            # The first part of a member's name is that of the file when it was saved; it is no content.
            return sorted([m.filename.partition("/")[2], m.CRC, m.file_size] for m in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeError):
        pass
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}).") from error
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _scales(folder: Path) -> dict[int, Path]:
    found = {int(m[1]): p / "pt_files" for p in folder.iterdir() if (m := _SCALE.match(p.name))}
    return {magnification: path for magnification, path in found.items() if path.is_dir()}


def _verify(path: Path) -> None:
    """Compare a zip file's content with its checksums, which a memory map does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except zipfile.BadZipFile as error:
        if zipfile.is_zipfile(path):
            raise DataError(f"{path} is damaged ({error}). {AGAIN}") from error
        return  # the format before torch 1.6 is no zip and has no checksum
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: there are no features for this slide and scale.") from None
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}). {AGAIN}") from error
    if broken:
        raise DataError(f"{path} is damaged, the checksum of {broken} does not fit. {AGAIN}")


def _load(path: Path) -> torch.Tensor:
    """The (N, D) tensor of a file, memory-mapped where the format allows."""
    import pickle

    import torch

    if not path.is_file():
        raise DataError(f"{path} does not exist: there are no features for this slide and scale.")
    try:
        mapped = zipfile.is_zipfile(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} is not a plain tensor: reading it could run code, or it is damaged. Save it again with "
            "torch.save(torch.as_tensor(features), path)."
        ) from error
    except Exception as error:  # a damaged file can raise anything here, and the file is all that this depends on
        brief = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"{path} is truncated or damaged ({brief}). {AGAIN}") from error
    if not isinstance(content, torch.Tensor):
        raise DataError(f"{path} holds a {type(content).__name__}, not an (N, D) tensor of features.")
    if content.ndim == 1 and not len(content):
        content = content.reshape(0, 0)  # no tissue
    if content.ndim != 2 or not content.is_floating_point() or content.layout != torch.strided:
        raise DataError(f"{path} holds a tensor {tuple(content.shape)} of {content.dtype}, not (N, D) floats.")
    return content.detach()


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    import torch

    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
