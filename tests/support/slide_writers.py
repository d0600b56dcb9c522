"""Small pyramidal slides that openslide opens, drawn for tests."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

GLASS = (243, 241, 242)
PINK, PURPLE, INK = (214, 140, 180), (120, 70, 140), (40, 90, 190)


def tissue_image(width: int, height: int, parts: list[tuple[int, int, int, int]], seed: int = 0) -> np.ndarray:
    """Glass with stained rectangles (x0, y0, x1, y1): pink ground, purple grains."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), GLASS, np.int16)
    for x0, y0, x1, y1 in parts:
        grains = rng.random((y1 - y0, x1 - x0)) < 0.4
        image[y0:y1, x0:x1] = np.where(grains[..., None], PURPLE, PINK)
    return np.clip(image + rng.integers(-4, 5, image.shape), 0, 255).astype(np.uint8)


def write_tiff(path: Path, image: np.ndarray, mpp: float | None = 0.5, factors: tuple[int, ...] = (1, 4)) -> Path:
    """A tiled TIFF with one level a factor (exact means of the pixels), and its resolution where `mpp` is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as tiff:
        for i, factor in enumerate(factors):
            height, width = (side // factor for side in image.shape[:2])
            blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
            tiff.write(
                blocks.mean((1, 3)).round().astype(np.uint8), tile=(128, 128), photometric="rgb", compression="deflate",
                subfiletype=int(i > 0), metadata=None,
                resolution=None if mpp is None else (1e4 / (mpp * factor),) * 2,
                resolutionunit=None if mpp is None else "CENTIMETER",
            )  # fmt: skip
    return path


def write_jpeg_tiff(path: Path, image: np.ndarray, space: str = "ycbcr", shared_tables: bool = False) -> Path:
    """A tiled TIFF of two levels in JPEG, of 0.5 um per pixel. Its channels are `space`: "ycbcr" with one colour for 2
    x 2 pixels, or "rgb". With `shared_tables` the quantisation and Huffman tables are in a tag of the page.
    """
    options = {"keep_rgb": True} if space == "rgb" else {"subsampling": "4:2:0"}

    def stream(tile: np.ndarray, kind: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(tile).save(out, "JPEG", quality=80, streamtype=kind, **options)
        return out.getvalue()

    def tiles(level: np.ndarray) -> Iterator[bytes]:
        padded = np.pad(level, ((0, -level.shape[0] % 128), (0, -level.shape[1] % 128), (0, 0)), mode="edge")
        for y in range(0, padded.shape[0], 128):
            for x in range(0, padded.shape[1], 128):
                yield stream(padded[y : y + 128, x : x + 128], 2 if shared_tables else 0)

    tables = stream(image[:16, :16], 1)
    with tifffile.TiffWriter(path) as tiff:
        for i, level in enumerate((image, image[::2, ::2])):
            tiff.write(
                tiles(level), shape=level.shape, dtype=np.uint8, tile=(128, 128), photometric=space,
                compression="deflate", subfiletype=int(i > 0), metadata=None,
                extratags=[(347, 7, len(tables), tables, True)] if shared_tables else [],
                resolution=(1e4 / (0.5 * 2**i),) * 2, resolutionunit="CENTIMETER",
            )  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page in tiff.pages:
            page.tags["Compression"].overwrite(7)
    return path
