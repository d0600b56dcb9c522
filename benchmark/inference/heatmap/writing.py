"""The files of a slide's heatmaps."""

import json
from collections.abc import Sequence
from pathlib import Path

from ....datasets.slide_names import slide_name
from ....datasets.slides.files import find_slides
from ....datasets.slides.reader import running
from ....errors import UsageError, some
from ....files import file_name, file_names, write_whole
from ...results.folder import table, write
from .maps import SlideMap
from .overlay import geojson, png, sheet, svg
from .page import viewer
from .picture import picture_of


def slide_file(places: Sequence[Path], slide: str) -> Path:
    """The file of a slide in some folders. Errors: `UsageError` where there is none."""
    with running() as reader:
        found = find_slides(places, reader.series).slides
    mine = [one for one in found if slide in (one.slide, slide_name(one.slide))]
    if not mine:
        raise UsageError(f"--slides holds no slide {slide}; found {some([one.slide for one in found])}")
    return mine[0].path


def write_heatmaps(
    slide: str, maps: Sequence[SlideMap], path: Path | None, out: Path, longest: int = 4096, mpp: float | None = None
) -> list[Path]:
    """Write everything about a slide into a folder of `out`, and return the files, the viewer last.

    path: the slide's file; maps stand on paper where it is None. Errors: `DataError` where it cannot be read.
    """
    folder = out / file_name(slide)
    names = file_names(f"{one.model} {one.key}" for one in maps)
    written = []
    with picture_of(path, maps, mpp) as picture:
        for one in maps:
            stem = folder / names[f"{one.model} {one.key}"]
            files = {".png": png(one, picture), ".svg": svg(one, picture), "-patches.png": sheet(one, picture)}
            written += [
                write_whole(stem.with_name(stem.name + end), content) for end, content in files.items() if content
            ]
        written.append(write_whole(folder / "heatmap.geojson", json.dumps(geojson(maps), allow_nan=False)))
        lines = [
            {"model": one.model, "method": one.method, "map": one.title, "magnification": one.magnification,
             "x": int(x), "y": int(y), "side": one.side, "value": float(value)}
            for one in maps
            for (x, y), value in zip(one.corners, one.values, strict=True)
        ]  # fmt: skip
        write(folder / "values.csv", table(lines))
        written.append(folder / "values.csv")
        written.append(write_whole(folder / "viewer.html", viewer(slide, maps, picture, longest)))
    return written
