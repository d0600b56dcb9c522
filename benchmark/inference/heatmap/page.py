"""The viewer: one page with the slide as a pyramid of tiles, all maps, and OpenSeadragon to move about in them."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from math import ceil, log2
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..predict import NOT_A_DEVICE
from .colours import ramp
from .maps import SlideMap
from .overlay import ends, heat
from .picture import SlidePicture, data_uri

HERE = Path(__file__).parent / "viewer"
TILE = 512
HEAT = 2048  # pixels of the longer side of a map


def viewer(slide: str, maps: Sequence[SlideMap], picture: SlidePicture, longest: int = 4096) -> str:
    """The page as text. `longest`: pixels of the slide's longer side at the deepest zoom.

    Names from data stay text; the content security policy allows no script but ours, and no request at all.
    """
    library = (HERE / "openseadragon.min.js").read_text("utf-8").strip()
    script = f"{library}\n{(HERE / 'viewer.js').read_text('utf-8').strip()}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    version = re.search(r"openseadragon ([\d.]+)", library)
    shape, levels, tiles = pyramid(picture, longest)
    content = {
        "size": list(picture.size),
        "origin": list(picture.origin),
        "shape": list(shape),
        "tile": TILE,
        "levels": levels,
        "tiles": tiles,
        "maps": [_map(one, picture) for one in maps],
    }
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    return environment.get_template("viewer.html.jinja").render(
        slide=slide,
        note=NOT_A_DEVICE,
        digest=digest,
        # In a page, only "<" could end the data before its time.
        data=Markup(json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")),
        script=Markup(script),
        version=version[1] if version else "",
        licence=Markup((HERE / "openseadragon.LICENSE.txt").read_text("utf-8").strip().replace("--", "- -")),
    )


def pyramid(picture: SlidePicture, longest: int) -> tuple[tuple[int, int], int, dict[str, str]]:
    """The slide as deep-zoom tiles: (width, height) of the deepest level, how many levels, and tiles by `level/x_y`.

    Every tile is read from the slide by itself, at the level of its resolution, so that memory stays bounded.
    """
    scale = min(1.0, longest / max(picture.size))
    shape = (max(1, round(picture.size[0] * scale)), max(1, round(picture.size[1] * scale)))
    levels = 1 + ceil(log2(max(shape))) if max(shape) > 1 else 1
    tiles = {}
    for level in range(levels):
        down = 2 ** (levels - 1 - level)
        width, height = (ceil(length / down) for length in shape)
        for x in range(ceil(width / TILE)):
            for y in range(ceil(height / TILE)):
                w, h = min(TILE, width - x * TILE), min(TILE, height - y * TILE)
                tiles[f"{level}/{x}_{y}"] = data_uri(picture.area(x * TILE, y * TILE, w, h, down / scale))
    return shape, levels, tiles


def _map(one: SlideMap, picture: SlidePicture) -> dict[str, object]:
    scale = min(1.0, HEAT / max(picture.size))
    shape = tuple(max(1, round(length * scale)) for length in picture.size)
    return {
        "model": one.model,
        "title": one.title,
        "magnification": one.magnification,
        "side": one.side,
        "corners": picture.corners(one).tolist(),
        "values": [float(f"{value:.4g}") for value in one.values],
        "ends": ends(one),
        "ramp": [colour for _, colour in ramp(one.signed)],
        "image": data_uri(heat(one, picture, (shape[0], shape[1])), "PNG"),
    }
