"""A picture of what is read: the slide, what was taken for tissue, ink, and the grid of every scale."""

import numpy as np
from PIL import Image, ImageDraw

from .grid import Grid, Tiles
from .tissue import Tissue

LONGEST = 1600  # pixels of the longer side
COLOURS = ((0, 90, 200), (0, 150, 90), (220, 120, 0), (160, 40, 160))  # fine to coarse
INK = (255, 0, 0)


def preview(tissue: Tissue, grid: Grid, tiles: Tiles) -> Image.Image:
    """Glass faded, tissue as it is with an outline, ink in red, tiles framed: thin for fine scales, thick for coarse
    ones.
    """
    height, width = tissue.mask.shape
    zoom = LONGEST / max(height, width)
    zoom = max(1, round(zoom)) if zoom > 1 else zoom  # whole pixels stay whole
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    faded = np.where(tissue.mask[..., None], tissue.picture, 128 + tissue.picture // 2)
    faded = np.where(tissue.ink[..., None], (faded + np.array(INK)) // 2, faded).astype(np.uint8)
    picture = Image.fromarray(faded).resize(size, Image.Resampling.LANCZOS)
    mask = np.asarray(Image.fromarray(tissue.mask).resize(size, Image.Resampling.NEAREST))
    pixels = np.array(picture)
    pixels[_outline(mask)] = (0, 0, 0)
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    for i, m in enumerate(grid.magnifications):
        side = grid.side_of(m) / tissue.step * zoom
        for x, y in grid.corners(m, tiles.at[m]) / tissue.step * zoom:
            draw.rectangle((x, y, x + side, y + side), outline=COLOURS[i % len(COLOURS)], width=1 + i)
    return _titled(picture, grid, tiles)


def _outline(mask: np.ndarray) -> np.ndarray:
    edge = np.zeros_like(mask)
    edge[1:] |= mask[1:] != mask[:-1]
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    return edge


def _titled(picture: Image.Image, grid: Grid, tiles: Tiles) -> Image.Image:
    """The picture with a line below: how many tiles in which colour."""
    from PIL import ImageFont

    page = Image.new("RGB", (max(picture.width, 420), picture.height + 36), "white")
    page.paste(picture)
    draw, font, x = ImageDraw.Draw(page), ImageFont.load_default(18), 10
    for i, m in enumerate(grid.magnifications):
        words = f"{m}x: {len(tiles.at[m]):,}"
        draw.text((x, picture.height + 7), words, fill=COLOURS[i % len(COLOURS)], font=font)
        x += int(draw.textlength(words, font=font)) + 28
    return page
