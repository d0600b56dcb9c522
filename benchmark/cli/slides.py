"""Slides given where features are asked for: they are extracted first, as those of training were."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..results.weights import TrainedFold


def features_of(
    about: "TrainedFold", slides: Sequence[Path], out: Path, mpp: str | None, weights: Path | None, device: str
) -> Path:
    """Extract the features that a model reads into `out`; slides that are finished there are skipped.

    Errors: `DataError` where a slide could not be read, or no encoder is known by the name of the backbone.
    """
    from ...datasets import backbones
    from ...errors import DataError, UsageError, some
    from .. import console
    from ..extraction.extract import ExtractionOptions, extract
    from .extract import number_of_microns
    from .inspect_features import read_mpp

    if about.backbone not in backbones.BACKBONES:
        raise UsageError(
            f"{about.model} reads features of {about.backbone}, which milsurv cannot compute of slides: give --features"
        )
    sizes = set(about.patch_px.values()) or {256.0}
    if len(sizes) > 1:
        raise UsageError(
            f"{about.model} reads patches of several sizes ({about.patch_px}): extract them, and give --features"
        )
    options = ExtractionOptions(
        slides=tuple(slides),
        out=out,
        backbone=about.backbone,
        weights=weights,
        magnifications=about.magnifications,
        patch_px=int(sizes.pop()),
        mpp=None if mpp is None else number_of_microns(mpp) or read_mpp(Path(mpp)),
        device=device,
    )
    with console.extracting(about.backbone) as watcher:
        report = extract(options, watcher.started, watcher.slide)
    if report.failed:
        listed = [f"{name} ({why})" for name, why in report.failed.items()]
        raise DataError(f"{len(listed)} slides could not be read: {some(listed, 5)}")
    if blank := report.of("no tissue"):
        console.warn(f"no tissue was found in {some([str(row['slide']) for row in blank])}")
    return out
