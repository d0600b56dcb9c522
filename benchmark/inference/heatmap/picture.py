"""A slide as a picture: its thumbnail and tiles where the file is there, else a sheet of paper of its size."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ....datasets.slides.slide import Slide, opened
from ....errors import DataError
from .maps import SlideMap

THUMBNAIL = 1200  # pixels of the longer side
PAPER = (255, 255, 255)


@dataclass(frozen=True)
class SlidePicture:
    """What maps are drawn on: `size` is (width, height) at level 0; `slide` is None where there is no tissue, and then
    `origin` is the corner of the paper, which is no larger than the patches need."""

    size: tuple[int, int]
    slide: Slide | None = None
    origin: tuple[int, int] = (0, 0)

    def corners(self, one: SlideMap) -> np.ndarray:
        """The corners of a map's patches on this picture, (n, 2)."""
        return one.corners - np.array(self.origin)

    def thumbnail(self, longest: int = THUMBNAIL) -> Image.Image:
        """The whole slide."""
        scale = min(1.0, longest / max(self.size))
        width, height = (max(1, round(length * scale)) for length in self.size)
        picture, piece = Image.new("RGB", (width, height), PAPER), 128  # piece by piece: memory stays bounded
        for x in range(0, width, piece):
            for y in range(0, height, piece):
                part = self.area(x, y, min(piece, width - x), min(piece, height - y), 1 / scale)
                picture.paste(part, (x, y))
        return picture

    def area(self, x: int, y: int, width: int, height: int, down: float) -> Image.Image:
        """A piece of the slide at `down` level-0 pixels per pixel: its corner and size are in its own pixels."""
        if self.slide is None:
            return Image.new("RGB", (width, height), PAPER)
        level = self.slide.level_for(down)
        factor = down / self.slide.downsamples[level]
        read = (max(1, round(width * factor)), max(1, round(height * factor)))
        found = self.slide.region(round(x * down), round(y * down), level, *read)
        return found.resize((width, height), Image.Resampling.LANCZOS)

    def patch(self, x: float, y: float, side: float, px: int) -> Image.Image:
        """A patch by its corner and side at level 0, `px` by `px` pixels. Errors: `DataError` where it is damaged."""
        assert self.slide is not None
        level = self.slide.level_for(side / px)
        read = max(1, round(side / self.slide.downsamples[level]))
        return self.slide.region(int(x), int(y), level, read, read).resize((px, px), Image.Resampling.LANCZOS)


@contextmanager
def picture_of(path: Path | None, maps: Sequence[SlideMap], mpp: float | None = None) -> Iterator[SlidePicture]:
    """The picture of a slide's file, or paper as large as its patches reach where `path` is None.

    Errors: `DataError` where the file cannot be opened, or patches lie beyond it: it is another slide.
    """
    reach = np.ceil(np.max([(one.corners + one.side).max(0) for one in maps], axis=0)).astype(int)
    if path is None:
        start = np.min([one.corners.min(0) for one in maps], axis=0)
        yield SlidePicture((int(reach[0] - start[0]), int(reach[1] - start[1])), None, (int(start[0]), int(start[1])))
        return
    try:
        with opened(path, mpp) as slide:
            sides = [one.side for one in maps]
            if (reach - max(sides) > np.array(slide.size)).any():
                raise DataError(f"has {slide.size[0]} x {slide.size[1]} pixels, and patches reach to {tuple(reach)}: "
                                "these features are of another slide")  # fmt: skip
            yield SlidePicture(slide.size, slide)
    except DataError as error:
        raise DataError(f"{path} {error}") from error


def data_uri(picture: Image.Image, kind: str = "JPEG", quality: int = 80) -> str:
    """A picture as text that a page can hold."""
    stream = io.BytesIO()
    picture.save(stream, kind, **({"quality": quality} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
