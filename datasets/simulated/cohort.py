"""Simulated cohorts: of the size of a real cohort, or planted ones, whose known truth tells models apart.

Nothing of them is real, and nothing is downloaded. A cohort is written through the same feature store and read by the
same readers as real data, it is marked as synthetic in every file, and its truth is known: docs/data.md
and docs/planted.md have the models.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import DataError, writing
from ...files import safe_name, whole_folder
from ...names import check_choice
from .. import backbones, cohorts
from ..cohorts import Cohort
from ..truth import FILE, Truth, read_truth, write_truth
from . import planted
from . import tissue as simulated_tissue
from .patients import Size, follow, identifiers, oracle, size_of, slides_per_patient
from .tissue import MAGNIFICATIONS, MEAN, MPP, PATCH_PX, SPREAD, draw_tissue, look_of

GENERATOR = 1  # raise when the same parameters give another cohort
COLUMNS = ("case_id", "slide_id", "site", "is_female", "oncotree_code", "age", "survival_months", "censorship")
STRENGTHS = {"none": 0.0, "weak": 0.5, "medium": 1.0, "strong": 1.5, "stronger": 2.0}


def simulate_cohort(
    cohort: str | Cohort,
    backbone: str,
    folder: str | Path,
    seed: int = 0,
    strength: str | float = "strong",
    patients: int | None = None,
    cells: float = 5.0,
    dim: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Simulate `cohort`, real or planted, into `folder` and return it: labels.csv,
    features/<backbone>/, truth.json.

    `strength` is the log hazard ratio per standard deviation of a patient's share of aggressive tissue, or of what a
    planted cohort's hazard rests on (or a word out of `STRENGTHS`); `patients` draws fewer in the same proportions;
    `cells` is the mean number of 5x patches of a slide (four times as many at 10x, sixteen at 20x). `dim` is the width
    for a backbone that the registry does not know. Patients, tissue and outcomes depend on cohort, seed, strength,
    patients and cells, not on the backbone.

    Written beside `folder` and renamed, so that it is there whole or not at all; a simulated cohort with the same
    parameters is used again, one with others is replaced, any other content is a DataError. `progress(done,
    total)` is called once a slide.
    """
    cohort = cohort if isinstance(cohort, Cohort) else cohorts.get(cohort)
    name, width = _width(backbone, dim)
    hazard = _strength(strength)
    size = size_of(cohort, patients)
    folder = Path(folder)
    parameters = {
        "generator": GENERATOR, "cohort": cohort.name, "cohort_version": cohort.version, "backbone": name, "dim": width,
        "seed": seed, "strength": hazard, "patients": size.patients, "slides": size.slides, "events": size.events,
        "cells": float(cells), "magnifications": list(MAGNIFICATIONS), "mpp": MPP, "patch_px": PATCH_PX,
    }  # fmt: skip
    if _complete(folder, parameters):
        return folder
    same = partial(_complete, folder, parameters)
    with writing(folder), whole_folder(folder, keep=same) as unfinished:
        _draw(cohort, size, parameters, unfinished, progress)
    return folder


def _draw(
    cohort: Cohort, size: Size, parameters: dict, place: Path, progress: Callable[[int, int], None] | None
) -> None:
    from ..features.store import write_slide  # h5py is imported only where features are read or written

    seed = parameters["seed"]
    rng = np.random.default_rng([seed, zlib.crc32(cohort.name.encode()), 1])
    ids, names, contents, log_hazard, time, event = _patients(rng, cohort, size, parameters)
    women = rng.random(size.patients) < (0.5 if cohort.female is None else cohort.female)
    age = np.clip(np.round(62 + 12 * rng.standard_normal(size.patients)), 18, 90).astype(int)

    name, done = str(parameters["backbone"]), 0
    encoder = zlib.crc32(name.encode())
    show = _encoder(cohort, encoder, parameters["dim"])
    head = {"backbone": name, "patch_px": PATCH_PX, "mpp": MPP, "synthetic": True}
    for own, called in zip(contents, names, strict=True):
        for content, slide in zip(own, called, strict=True):
            noise = np.random.default_rng([seed, zlib.crc32(slide.encode()), encoder])
            features, coords = show(noise, content)
            write_slide(place / "features" / name, slide, features, coords, **head)
            done += 1
            if progress:
                progress(done, size.slides)
    code = cohort.name.upper()
    patients = [
        (ids[i], names[i], ids[i][5:7], int(women[i]), code, age[i], f"{time[i]:.2f}", int(not event[i]))
        for i in np.argsort(ids)
    ]
    with (place / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((p[0], f"{slide}.svs", *p[2:]) for p in patients for slide in p[1])
    risk = {i: float(value) for i, value in zip(ids, log_hazard, strict=True)}
    write_truth(place, Truth(parameters, risk, oracle(event, time, log_hazard)))  # last: it says that all is there


def _patients(
    rng: np.random.Generator, cohort: Cohort, size: Size, parameters: Mapping
) -> tuple[list[str], list[list[str]], list[list], np.ndarray, np.ndarray, np.ndarray]:
    """Ids, names of slides, what the slides hold, log hazards, months and events, by patient."""
    ids = identifiers(rng, size.patients)
    slides = slides_per_patient(rng, size)
    contents, burden = _contents(rng, cohort, [i[5:7] for i in ids], slides, parameters["cells"])
    log_hazard = parameters["strength"] * (burden - burden.mean()) / max(burden.std(), 1e-12)
    assert cohort.median_months is not None  # size_of refuses cohorts without public counts
    time, event = follow(rng, log_hazard, size.events, cohort.median_months)
    names = [
        [f"{i}-01Z-00-DX{k + 1}.{rng.bytes(6).hex().upper()}" for k in range(n)]
        for i, n in zip(ids, slides, strict=True)
    ]
    return ids, names, contents, log_hazard, time, event


def planted_patches(folder: Path) -> dict[str, dict[int, np.ndarray]]:
    """Which patches of a planted cohort hold its patterns, by slide, in the order of the rows of features.

    At 20x whether a patch holds the fine one, bool (n20,), at 5x how disturbed its region is, float (n5,). Nothing of
    it is on disk: the cohort is drawn again from its parameters. Errors: `DataError` for another cohort.
    """
    truth = read_truth(folder)
    cohort = None if truth is None else cohorts.get(str(truth.parameters["cohort"]))
    if truth is None or cohort is None or not cohort.planted:
        raise DataError(f"{folder} holds no planted cohort, and which patches matter is not known.")
    parameters: Mapping = truth.parameters
    rng = np.random.default_rng([parameters["seed"], zlib.crc32(cohort.name.encode()), 1])
    size = size_of(cohort, parameters["patients"])
    _, names, contents, *_ = _patients(rng, cohort, size, parameters)
    return {
        name: planted.patterns(section)
        for own, called in zip(contents, names, strict=True)
        for section, name in zip(own, called, strict=True)
    }


def _contents(
    rng: np.random.Generator, cohort: Cohort, sites: Sequence[str], slides: np.ndarray, cells: float
) -> tuple[list[list], np.ndarray]:
    """What every slide holds, by patient, and the score on which the hazard rests, (n,)."""
    if cohort.planted:
        return planted.plant(rng, cohort.planted, sites, slides, cells)
    tendency = MEAN + SPREAD * rng.standard_normal(len(sites))
    tissues = [[draw_tissue(rng, t, cells) for _ in range(n)] for t, n in zip(tendency, slides, strict=True)]
    # The hazard rests on what the slides really hold, so that the features hold all of it.
    return tissues, np.array([np.concatenate([t.aggressive for t in own]).mean() for own in tissues])


def _encoder(cohort: Cohort, encoder: int, dim: int) -> Callable:
    """(noise, content of a slide) -> features and coordinates by magnification, as one encoder shows them."""
    if cohort.planted:
        return partial(planted.show, weights=planted.weights_of(encoder, dim))
    return partial(simulated_tissue.show, look=look_of(encoder, dim))


def _width(backbone: str, dim: int | None) -> tuple[str, int]:
    if dim is not None and backbone not in backbones.BACKBONES:
        return safe_name(backbone), dim
    known = backbones.get(backbone)
    if dim not in (None, known.dim):
        raise DataError(f"{known.name} is {known.dim} wide, not {dim}: give another name for a width of your own.")
    return known.name, known.dim


def _strength(strength: str | float) -> float:
    if isinstance(strength, str):
        check_choice("strength", strength, [*STRENGTHS, "or a number"], DataError)
        return STRENGTHS[strength]
    return float(strength)


def _complete(folder: Path, parameters: dict) -> bool:
    """Whether `folder` holds this very cohort. DataError if it holds anything but a simulated cohort."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder for a simulated cohort: choose another.")
    if not any(folder.iterdir()):
        return False
    truth = read_truth(folder)
    if truth is None:
        raise DataError(f"{folder} holds other files and no {FILE}: choose an empty folder for the simulated cohort.")
    store = folder / "features" / str(parameters["backbone"])
    files = sum(1 for _ in store.glob("*.h5")) if store.is_dir() else 0
    return dict(truth.parameters) == parameters and files == parameters["slides"] and (folder / "labels.csv").is_file()
