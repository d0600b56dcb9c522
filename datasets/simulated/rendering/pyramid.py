"""A slide file: a tiled, pyramidal TIFF in JPEG that openslide opens, with its resolution in its tags."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tifffile import TiffFile, TiffPage, TiffWriter

from ....files import whole

TILE = 256
QUALITY = 82
JPEG = 7  # TIFF's number for it
SMALLEST = 512  # pixels: no level is made below this


def write(path: Path, image: np.ndarray, mpp: float, description: str) -> None:
    """Write `image` uint8 (h, w, 3) of `mpp` microns per pixel; every level is half the one before.

    Both sides are whole multiples of the last level's pixel, so that levels nest exactly. Written beside `path` and
    renamed. Tiles are compressed by Pillow, so that no codec package is needed.
    """
    levels = [image]
    while min(levels[-1].shape[:2]) >= 2 * SMALLEST:
        levels.append(halved(levels[-1]))
    with whole(path) as partial:
        with TiffWriter(partial) as tiff:
            for k, level in enumerate(levels):
                per_cm = 1e4 / (mpp * 2**k)
                tiff.write(
                    _tiles(level), shape=level.shape, dtype=np.uint8, tile=(TILE, TILE), photometric="ycbcr",
                    compression="deflate", subfiletype=int(k > 0), description=description,
                    resolution=(per_cm, per_cm), resolutionunit="CENTIMETER", metadata=None, software="milsurv",
                )  # fmt: skip
        # tifffile takes compressed tiles as they come, but says "JPEG" only where a codec package is installed.
        with TiffFile(partial, mode="r+") as tiff:
            for page in tiff.pages:
                assert isinstance(page, TiffPage)
                page.tags["Compression"].overwrite(JPEG)


def halved(image: np.ndarray) -> np.ndarray:
    """The mean of every 2 x 2 pixels of uint8 (h, w, 3), rounded."""
    wide = image.astype(np.uint16)
    total = wide[0::2, 0::2] + wide[1::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 1::2]
    return ((total + 2) >> 2).astype(np.uint8)


def _tiles(level: np.ndarray) -> Iterator[bytes]:
    """JPEG streams of the tiles of a level in reading order; a tile over the edge repeats the last pixel."""
    height, width = level.shape[:2]
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            tile = level[top : top + TILE, left : left + TILE]
            if tile.shape[:2] != (TILE, TILE):
                tile = np.pad(tile, ((0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0)), mode="edge")
            stream = io.BytesIO()
            Image.fromarray(tile).save(stream, "JPEG", quality=QUALITY, subsampling="4:4:4")
            yield stream.getvalue()
