"""Simulated cohorts: of the size of a real cohort, or planted ones, whose known truth tells models apart.

Nothing of them is real, and nothing is downloaded. A cohort is written through the same feature store and read by the
same readers as real data, it is marked as synthetic in every file, and its truth is known: docs/data.md
and docs/planted.md have the models.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, writing
from ...files import safe_name, whole_folder
from ...names import check_choice
from .. import backbones, cohorts
from ..cohorts import Cohort
from ..truth import FILE, Truth, read_truth, write_truth
from . import planted
from . import tissue as simulated_tissue
from .dials import value_of
from .patients import Size, follow, identifiers, oracle, size_of, slides_per_patient, strength_for
from .tissue import MAGNIFICATIONS, MEAN, MPP, PATCH_PX, SPREAD, draw_tissue, look_of

GENERATOR = 1  # raise when the same parameters give another cohort
COLUMNS = ("case_id", "slide_id", "site", "is_female", "oncotree_code", "age", "survival_months", "censorship")
PER_CELL = 16  # 20x patches of a 5x patch
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
    dials: Mapping[str, float] = MappingProxyType({}),
) -> Path:
    """Simulate `cohort`, real or planted, into `folder` and return it: labels.csv,
    features/<backbone>/, truth.json.

    `strength` is the log hazard ratio per standard deviation of a patient's share of aggressive tissue, or of what a
    planted cohort's hazard rests on (or a word out of `STRENGTHS`); `patients` draws fewer in the same proportions;
    `cells` is the mean number of 5x patches of a slide (four times as many at 10x, sixteen at 20x). `dim` is the width
    for a backbone that the registry does not know. `dials` are those of a planted cohort that are turned, as
    `dials.parse_dials` gives them; `patches` sets `cells`, `oracle` the strength. Patients, tissue and outcomes depend
    on cohort, seed, strength, patients, cells and dials, not on the backbone.

    Written beside `folder` and renamed, so that it is there whole or not at all; a simulated cohort with the same
    parameters is used again, one with others is replaced, any other content is a DataError. `progress(done,
    total)` is called once a slide.
    """
    cohort = cohort if isinstance(cohort, Cohort) else cohorts.get(cohort)
    name, width = _width(backbone, dim)
    hazard = None if "oracle" in dials else _strength(strength)
    size = _size(cohort, patients, dials)
    cells = dials["patches"] / PER_CELL if "patches" in dials else cells
    folder = Path(folder)
    parameters = {
        "generator": GENERATOR, "cohort": cohort.name, "cohort_version": cohort.version, "backbone": name, "dim": width,
        "seed": seed, "strength": hazard, "patients": size.patients, "slides": size.slides, "events": size.events,
        "cells": float(cells), "magnifications": list(MAGNIFICATIONS), "mpp": MPP, "patch_px": PATCH_PX,
        **({"dials": dict(dials)} if dials else {}),
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
    rng = _generator(seed, cohort, 1)
    people = _people(rng, cohort, size, parameters)
    women = rng.random(size.patients) < (0.5 if cohort.female is None else cohort.female)
    ages = rng.standard_normal(size.patients) if people.age is None else people.age
    age = np.clip(np.round(62 + 12 * ages), 18, 90).astype(int)

    name, done = str(parameters["backbone"]), 0
    encoder = zlib.crc32(name.encode())
    show = _encoder(cohort, encoder, parameters["dim"])
    head = {"backbone": name, "patch_px": PATCH_PX, "mpp": MPP, "synthetic": True}
    for own, called in zip(people.contents, people.names, strict=True):
        for content, slide in zip(own, called, strict=True):
            noise = np.random.default_rng([seed, zlib.crc32(slide.encode()), encoder])
            features, coords = show(noise, content)
            write_slide(place / "features" / name, slide, features, coords, **head)
            done += 1
            if progress:
                progress(done, size.slides)
    code = cohort.name.upper()
    patients = [
        (people.ids[i], people.names[i], people.ids[i][5:7], int(women[i]), code, age[i], f"{people.time[i]:.2f}",
         int(not people.event[i]))
        for i in np.argsort(people.ids)
    ]  # fmt: skip
    with (place / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((p[0], f"{slide}.svs", *p[2:]) for p in patients for slide in p[1])
    risk = {i: float(value) for i, value in zip(people.ids, people.log_hazard, strict=True)}
    best = oracle(people.event, people.time, people.log_hazard)
    write_truth(place, Truth(parameters, risk, best))  # last: it says that all is there


@dataclass(frozen=True)
class _People:
    """All patients of a cohort: what their slides hold and are called, true log hazards, months and deaths.

    age: standardised, where a dial lets the hazard depend on it; else None, and age means nothing.
    """

    ids: list[str]
    names: list[list[str]]
    contents: list[list]
    log_hazard: NDArray[np.float64]
    time: NDArray[np.float64]
    event: NDArray[np.bool_]
    age: NDArray[np.float64] | None


def _generator(seed: int, cohort: Cohort, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(cohort.name.encode()), purpose])


def _size(cohort: Cohort, patients: int | None, dials: Mapping[str, float]) -> Size:
    size = size_of(cohort, patients)
    if "deaths" not in dials:
        return size
    return replace(size, events=min(max(round(dials["deaths"] * size.patients), 2), size.patients - 1))


def _people(rng: np.random.Generator, cohort: Cohort, size: Size, parameters: Mapping) -> _People:
    """Everyone. What dials add has a generator of its own, so that without them the cohort stays as it was."""
    dials: Mapping[str, float] = parameters.get("dials", {})
    extra = _generator(parameters["seed"], cohort, 2)
    ids = identifiers(rng, size.patients)
    sites = [i[5:7] for i in ids]
    slides = slides_per_patient(rng, size)
    n, confounder = size.patients, value_of(dials, "confounder")
    age = extra.standard_normal(n)
    second = np.argsort(extra.random(n)) < round(value_of(dials, "subtypes") * n)
    drawn = planted.Drawn(age, second) if {"confounder", "subtypes"} & dials.keys() else None
    contents, burden = _contents(rng, cohort, sites, slides, parameters["cells"], dials, drawn)
    if drawn is not None:
        burden = (1 - confounder) * _standardised(burden) * np.where(second, -1, 1) + confounder * age
    deaths, pull = size.events / n, value_of(dials, "censoring-hazard")
    by_site = dict(zip(sorted(set(sites)), extra.standard_normal(len(set(sites))), strict=True))
    watched = np.exp(value_of(dials, "censoring-site") * np.array([by_site[site] for site in sites]))
    score = _standardised(burden)
    if "oracle" in dials:
        log_hazard = strength_for(score, dials["oracle"], deaths, pull, watched) * score
    else:
        log_hazard = parameters["strength"] * (burden - burden.mean()) / max(burden.std(), 1e-12)
    assert cohort.median_months is not None  # size_of refuses cohorts without public counts
    dependent = {"censoring-hazard", "censoring-site"} & dials.keys()
    watched = watched * np.exp(-pull * score) if dependent else None
    time, event = follow(rng, log_hazard, size.events, cohort.median_months, watched)
    if noisy := round(value_of(dials, "noise") * n):
        chosen = extra.permutation(n)[:noisy]
        time[chosen], event[chosen] = time[np.roll(chosen, 1)], event[np.roll(chosen, 1)]
    names = [
        [f"{i}-01Z-00-DX{k + 1}.{rng.bytes(6).hex().upper()}" for k in range(count)]
        for i, count in zip(ids, slides, strict=True)
    ]
    return _People(ids, names, contents, log_hazard, time, event, age if confounder else None)


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return (values - values.mean()) / max(values.std(), 1e-12)


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
    size = _size(cohort, parameters["patients"], parameters.get("dials", {}))
    people = _people(_generator(parameters["seed"], cohort, 1), cohort, size, parameters)
    return {
        name: planted.patterns(section)
        for own, called in zip(people.contents, people.names, strict=True)
        for section, name in zip(own, called, strict=True)
    }


def _contents(
    rng: np.random.Generator,
    cohort: Cohort,
    sites: Sequence[str],
    slides: np.ndarray,
    cells: float,
    dials: Mapping[str, float],
    drawn: planted.Drawn | None,
) -> tuple[list[list], np.ndarray]:
    """What every slide holds, by patient, and the score on which the hazard rests, (n,)."""
    if cohort.planted:
        return planted.plant(rng, cohort.planted, sites, slides, cells, dials, drawn)
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
