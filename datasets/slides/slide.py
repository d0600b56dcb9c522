"""Slides through openslide, the only place that imports it: size, levels, resolution, and regions as RGB pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError
from .jpeg_levels import JpegLevel, jpeg_levels
from .mpp import Resolution, resolution

if TYPE_CHECKING:
    from openslide import OpenSlide
    from PIL import Image

SUFFIXES = frozenset(
    (".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".dcm")
)


@dataclass(frozen=True)
class Slide:
    """An open slide: level-0 `size` (width, height), `downsamples` of its levels (1.0 first), and its resolution."""

    path: Path
    size: tuple[int, int]
    downsamples: tuple[float, ...]
    resolution: Resolution
    background: tuple[int, int, int]
    _handle: OpenSlide
    _jpeg_levels: dict[int, JpegLevel]

    def level_for(self, downsample: float) -> int:
        """The coarsest level that is at or above the resolution of `downsample` (1 % of slack: levels are whole pixels
        and their stated factors are 4.0003 where 4 is meant); level 0 where none is.
        """
        fitting = [i for i, of in enumerate(self.downsamples) if of <= downsample * 1.01]
        return max(fitting, key=lambda i: self.downsamples[i], default=0)

    def region(self, x: int, y: int, level: int, width: int, height: int) -> Image.Image:
        """RGB pixels of a level; (x, y) is the top left corner at level 0. What the scanner left out, and what lies
        beyond the slide, has the colour of the background.

        DataError if the file is damaged there.
        """
        from openslide import OpenSlideError
        from PIL import Image

        column, row = x / self.downsamples[level], y / self.downsamples[level]
        if level in self._jpeg_levels and column.is_integer() and row.is_integer():
            with suppress(ValueError):  # openslide says what is wrong with a tile
                region = self._jpeg_levels[level].region(int(column), int(row), width, height, self.background)
                return Image.fromarray(region)
        try:
            pixels = self._handle.read_region((x, y), level, (width, height))
        except OpenSlideError as error:
            raise DataError(f"cannot be read at ({x}, {y}), level {level}: {error}") from error
        if pixels.getchannel("A").getextrema() == (255, 255):
            return pixels.convert("RGB")
        ground = Image.new("RGB", pixels.size, self.background)
        ground.paste(pixels, mask=pixels.getchannel("A"))
        return ground


@contextmanager
def opened(path: Path, user_mpp: float | None = None, for_this_slide: bool = True) -> Iterator[Slide]:
    """Open a slide; `user_mpp` and `for_this_slide` are what the user says of its microns per pixel (see `mpp`).

    DataError if openslide cannot open it, or if its resolution is not known (see `mpp`).
    """
    with (
        _handle(path) as handle,
        jpeg_levels(path, handle.properties["openslide.vendor"], handle.level_dimensions) as levels,
    ):
        properties = handle.properties
        colour = properties.get("openslide.background-color", "FFFFFF")
        yield Slide(
            path=path,
            size=handle.dimensions,
            downsamples=tuple(handle.level_downsamples),
            resolution=resolution(properties, user_mpp, for_this_slide),
            background=tuple(bytes.fromhex(colour)),  # type: ignore[arg-type]
            _handle=handle,
            _jpeg_levels=levels,
        )


def series(path: Path) -> str | None:
    """The DICOM series that a file belongs to: all its files are one slide. DataError as for `opened`."""
    with _handle(path) as handle:
        return handle.properties.get("dicom.SeriesInstanceUID")


def _handle(path: Path) -> OpenSlide:
    from openslide import OpenSlide, OpenSlideError, OpenSlideUnsupportedFormatError

    try:
        return OpenSlide(path)
    except OpenSlideUnsupportedFormatError:
        raise DataError("is no slide of a format that openslide knows.") from None
    except OpenSlideError as error:
        raise DataError(f"cannot be opened: {error}.") from error
