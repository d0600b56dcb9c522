"""Maps over the thumbnail of a slide, as PNG and SVG, and its highest and lowest patches as a sheet."""

import io
from collections.abc import Sequence

import numpy as np
from markupsafe import escape
from PIL import Image, ImageDraw, ImageFont

from .colours import colours, limit_of, ramp
from .maps import SlideMap
from .picture import THUMBNAIL, SlidePicture, data_uri

SHOWN = 12  # patches of either end on a sheet
PATCH_PX = 112


def heat(one: SlideMap, picture: SlidePicture, shape: tuple[int, int]) -> Image.Image:
    """The map alone, RGBA of `shape` pixels for the whole picture: clear where there is no patch.

    Of signed maps, clearer the nearer a value is to 0. Where patches overlap, the stronger value is on top.
    """
    layer = np.zeros((shape[1], shape[0], 4), np.uint8)
    scale = np.array(shape) / np.array(picture.size)
    corners = picture.corners(one)
    low = np.floor(corners * scale + 0.5).astype(int)
    high = np.maximum(np.floor((corners + one.side) * scale + 0.5).astype(int), low + 1)
    shown = colours(one)
    alpha = _alpha(one)
    for i in np.argsort(np.abs(one.values), kind="stable"):
        (x0, y0), (x1, y1) = np.maximum(low[i], 0), high[i]
        layer[y0:y1, x0:x1, :3] = shown[i]
        layer[y0:y1, x0:x1, 3] = alpha[i]
    return Image.fromarray(layer)


def _alpha(one: SlideMap) -> np.ndarray:
    share = np.clip(np.abs(one.values) / limit_of(one), 0, 1)
    return np.round(60 + 180 * share).astype(np.uint8)


def overlaid(one: SlideMap, picture: SlidePicture, longest: int = THUMBNAIL) -> Image.Image:
    """The map over the thumbnail."""
    ground = picture.thumbnail(longest).convert("RGBA")
    ground.alpha_composite(heat(one, picture, (ground.width, ground.height)))
    return ground.convert("RGB")


def png(one: SlideMap, picture: SlidePicture) -> bytes:
    """The map over the thumbnail, with a legend below."""
    ground = overlaid(one, picture)
    page = Image.new("RGB", (max(ground.width, 480), ground.height + 54), "white")
    page.paste(ground)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    draw.text((8, ground.height + 5), f"{one.model}, {one.key}", fill="#1c1829", font=font)
    steps = ramp(one.signed)
    for k, (_, colour) in enumerate(steps):
        draw.rectangle((8 + 10 * k, ground.height + 30, 17 + 10 * k, ground.height + 42), fill=colour)
    low, high = ends(one)
    draw.text((16 + 10 * len(steps), ground.height + 27), f"{low} to {high}", fill="#5d5872", font=font)
    return _encoded(page)


def svg(one: SlideMap, picture: SlidePicture) -> str:
    """The map over the thumbnail, a rectangle with its value a patch."""
    width, height = picture.size
    ground = "" if picture.slide is None else (
        f'<image href="{data_uri(picture.thumbnail())}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
    )  # fmt: skip
    alpha, shown = _alpha(one) / 255, colours(one)
    cells = "".join(
        f'<rect x="{x}" y="{y}" width="{one.side:g}" height="{one.side:g}" fill="#{r:02x}{g:02x}{b:02x}" '
        f'fill-opacity="{a:.2f}"><title>{v:.4g}</title></rect>'
        for (x, y), (r, g, b), a, v in zip(picture.corners(one), shown, alpha, one.values, strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{escape(one.model)}, {escape(one.key)}</title>{ground}{cells}</svg>\n"
    )


def ends(one: SlideMap) -> tuple[str, str]:
    """The legend's ends: the values that have the strongest colours."""
    limit = limit_of(one)
    return (f"{-limit:.3g}" if one.signed else "0", f"{limit:.3g}")


def sheet(one: SlideMap, picture: SlidePicture, shown: int = SHOWN) -> bytes | None:
    """The patches with the highest values and those with the lowest, each with its value; None without tissue."""
    if picture.slide is None:
        return None
    order = np.argsort(-one.values, kind="stable")
    half = min(shown, max(1, len(order) // 2))
    rows = [("highest", order[:half]), ("lowest", order[::-1][:half])]
    columns = min(6, half)
    lines = -(-half // columns)
    cell = PATCH_PX + 26
    page = Image.new("RGB", (16 + columns * (PATCH_PX + 8), 30 + 2 * (28 + lines * cell)), "white")
    draw, font, small = ImageDraw.Draw(page), ImageFont.load_default(15), ImageFont.load_default(12)
    draw.text((8, 6), f"{one.model}, {one.key}", fill="#1c1829", font=font)
    top = 30
    for name, places in rows:
        draw.text((8, top + 4), name, fill="#5d5872", font=font)
        for k, place in enumerate(places):
            x, y = 8 + (k % columns) * (PATCH_PX + 8), top + 28 + (k // columns) * cell
            left, up = one.corners[place]
            page.paste(picture.patch(left, up, one.side, PATCH_PX), (x, y))
            draw.text((x, y + PATCH_PX + 3), f"{one.values[place]:.3g}", fill="#1c1829", font=small)
        top += 28 + lines * cell
    return _encoded(page)


def _encoded(page: Image.Image) -> bytes:
    stream = io.BytesIO()
    page.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def geojson(maps: Sequence[SlideMap]) -> dict[str, object]:
    """The patches of all maps as QuPath reads them: a detection a patch, its values as measurements."""
    import uuid

    found: dict[tuple[int, int, int, float], dict[str, float]] = {}
    for one in maps:
        for (x, y), value in zip(one.corners.tolist(), one.values.tolist(), strict=True):
            found.setdefault((one.magnification, x, y, one.side), {})[f"{one.model} {one.key}"] = float(value)
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{m}/{x}/{y}")),
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]],
                },
                "properties": {"objectType": "detection", "name": f"{m}x", "measurements": values},
            }
            for (m, x, y, side), values in found.items()
        ],
    }
