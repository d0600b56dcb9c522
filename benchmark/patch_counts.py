"""How many patches every patient has, counted without reading one: what the control `bag-size` knows."""

from dataclasses import dataclass
from pathlib import Path

from ..datasets.features.opening import open_features
from ..datasets.labels import Labels


@dataclass(frozen=True)
class PatchCounts:
    """Patches by patient, over all slides, at one magnification; `fingerprint` is that of the features."""

    patches: dict[str, int]
    magnification: int
    fingerprint: str


def count_patches(features: Path, backbone: str | None, labels: Labels) -> PatchCounts:
    """Patches at the finest magnification of a feature folder. Patients without a file are absent.

    Errors: `DataError` for a folder that cannot be read.
    """
    reader = open_features(features, backbone)
    finest = max(reader.magnifications)
    patches = {}
    for patient in labels.patients:
        here = [slide for slide in patient.slides if slide in reader.slides]
        count = sum(reader.counts(slide).get(finest, 0) for slide in here)
        if count:
            patches[patient.id] = count
    used = [slide for patient in labels.patients for slide in patient.slides if slide in reader.slides]
    return PatchCounts(patches, finest, reader.fingerprint(used))
