"""Geometry: what a file says about where its patches lie and how large they are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

STANDARD = (5, 10, 20, 40)
"""The magnifications that models read; a file between two of them counts as the nearer one, and that is reported."""

NOMINAL_MPP = 0.25
"""Microns per pixel of a slide scanned at 40x: the unit in which coordinates given in microns are kept."""


@dataclass(frozen=True)
class Geometry:
    """Patches of one slide at one magnification, as far as the file says; None where it does not.

    patch_px: side of a patch in pixels as the encoder's input was cut, level0_px: the same side in level-0 pixels.
    overlap_px: of neighbouring patches, in pixels of the patch. claimed: the magnification that the file names,
    not rounded. level0_magnification: the objective power. mpp: microns per level-0 pixel.
    width, height: of level 0 in pixels.
    """

    patch_px: float | None = None
    level0_px: float | None = None
    overlap_px: float | None = None
    claimed: float | None = None
    level0_magnification: float | None = None
    mpp: float | None = None
    width: float | None = None
    height: float | None = None

    def known(self) -> dict[str, float]:
        """The values that are there."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def side(self, magnification: float) -> float | None:
        """The side of a patch in level-0 pixels: as stated, else from patch_px and mpp."""
        if self.level0_px:
            return self.level0_px
        if self.mpp and self.patch_px:
            return self.patch_px * 10 / magnification / self.mpp  # 10 / m is um per pixel at m
        return None


@dataclass(frozen=True)
class Facts:
    """One slide at one magnification, from headers alone: patches, width, type of the stored numbers, bytes of its
    files, geometry, whether coordinates are there, the encoder that the file itself names, and the side of a patch in
    pixels at its magnification that the file itself states. `vector`: one row for the whole slide, of a slide encoder.
    """

    patches: int
    dim: int
    dtype: str
    nbytes: int
    geometry: Geometry = Geometry()
    located: bool = False
    encoder: str | None = None
    stated_px: float | None = None
    vector: bool = False


def geometry_from(attributes: Mapping[str, object]) -> Geometry:
    """A Geometry from stored values; anything that is no positive finite number is unknown."""
    found = {field.name: number(attributes.get(field.name)) for field in fields(Geometry)}
    return Geometry(**{name: value for name, value in found.items() if value is not None})


def number(value: object) -> float | None:
    """A positive number out of an attribute that may be a number, its text, a pair, or 'None'; 0 counts as known."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        converted = float(value)
    except ValueError:
        return None
    return converted if 0 <= converted < 1e12 else None


def nearest(magnification: float) -> int:
    """The standard magnification that is nearest in ratio; exact whole ones, such as 40 or 1, are kept."""
    if magnification == round(magnification) and magnification >= 1:
        return round(magnification)
    return min(STANDARD, key=lambda m: max(m / magnification, magnification / m))
