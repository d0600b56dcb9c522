"""Heatmaps of the slides of patients, small enough for the pages of `bench predict --report`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..ensemble import FoldEnsemble
from ..predict import PatientPrediction, Predicted, Source
from .maps import REGIONS, slide_maps
from .overlay import ends, overlaid
from .picture import data_uri, picture_of

LONGEST = 640
"""Pixels of the longer side of a picture."""


def patient_heatmaps(
    found: Predicted,
    source_of: Callable[[str], Source],
    file_of: Callable[[str], Path | None],
    mpp: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, list[tuple[str, str]]]:
    """By patient, (caption, data URI) of an occlusion map for every slide and magnification.

    Only the models that predict a patient are asked, so that none has seen them.

    Parameters
    ----------
    source_of, file_of
        A slide alone, with coordinates, and its file; maps stand on paper where there is none.

    Raises
    ------
    DataError
        A slide has no coordinates, or its file cannot be read.
    """
    slides = [(one, slide) for one in found.patients for slide in one.slides]
    pictures: dict[str, list[tuple[str, str]]] = {}
    for done, (one, slide) in enumerate(slides, 1):
        maps = slide_maps(asked(found, one), source_of(slide), ("occlusion",), REGIONS)
        with picture_of(file_of(slide), maps, mpp) as picture:
            for drawn in maps:
                caption = f"{slide}, {drawn.key}: {' to '.join(ends(drawn))}"
                pictures.setdefault(one.patient, []).append((caption, data_uri(overlaid(drawn, picture, LONGEST))))
        progress(done, len(slides))
    return pictures


def asked(found: Predicted, one: PatientPrediction) -> FoldEnsemble:
    """The models that predict a patient."""
    ensemble = found.ensemble
    kept = [k for k, row in enumerate(ensemble.rows) if row.fold in one.models]
    return replace(ensemble, rows=tuple(ensemble.rows[k] for k in kept), models=tuple(ensemble.models[k] for k in kept))
