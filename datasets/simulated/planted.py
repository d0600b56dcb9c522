"""What the slides of a planted cohort hold, and the score on which its hazard rests: docs/planted.md has the model.

Every slide is half of one kind of tissue and half of another, and all scales show which is which. One kind of every
patient lies in a *region* of disturbed architecture, too large to be seen in a 10x or 20x patch. Some 20x patches hold
a *fine* pattern, too small to be seen at 10x or 5x, and one kind of tissue holds more of it. In which of these the
hazard lives, or in where they lie, is what tells the cohorts apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from .dials import value_of
from .tissue import MAGNIFICATIONS, QUARTER, blob, nested

KINDS = ("fine", "coarse", "cross", "site", "null", "place")
TISSUES = 2
STAIN = 8  # continuous factors of stain and scanner, the same at all scales
FEW, MANY = 2, 10  # 20x patches with the fine pattern, of the sixteen in a 5x patch, where a kind holds less and more
# A patch shows its kind of tissue, and each kind in a region, or with the fine pattern, looks in a way of its own.
PLAIN, REGION, FINE = 0, TISSUES, 2 * TISSUES
LATENT = 3 * TISSUES + STAIN

NOISE = 0.4  # of every feature, in units of a latent's weight
STAIN_SLIDE, STAIN_PATCH, STAIN_SITE = 0.1, 0.1, 0.5  # SD of the stain: of a slide, of a patch, and of a site's scanner
ELSEWHERE = np.random.default_rng(STAIN).standard_normal(
    STAIN
)  # where the dial `stain` moves all slides, in every draw
STAIN_SUBTYPE = 0.8  # how far the second subtype moves the first factor of the stain


@dataclass(frozen=True)
class Section:
    """One slide: coordinates int32 (n, 2) by magnification; row i of a scale has rows 4i to 4i+3 of the next finer one.

    tissue: which kind, int (n5,). region: how disturbed its architecture is, from 0 to 1, (n5,). fine: whether a patch
    holds the fine pattern, bool (n20,). stain: (STAIN,).
    """

    coords: dict[int, NDArray[np.int32]]
    tissue: NDArray[np.int64]
    region: NDArray[np.float64]
    fine: NDArray[np.bool_]
    stain: NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """What a patient brings that dials add, one value a patient (n,).

    age: standardised. second: True in the second subtype.
    """

    age: NDArray[np.float64]
    second: NDArray[np.bool_]


def plant(
    rng: np.random.Generator,
    kind: str,
    sites: Sequence[str],
    slides: Sequence[int] | NDArray[np.int64],
    cells: float,
    dials: Mapping[str, float] = MappingProxyType({}),
    drawn: Drawn | None = None,
) -> tuple[list[list[Section]], NDArray[np.float64]]:
    """Draw the slides of every patient, and the score (n,) on which the hazard rests, not yet scaled.

    kind: one of `KINDS`. sites, slides: of every patient, the tissue source site and the number of slides.
    cells: the mean number of 5x patches of a slide; each has an even number, half of them of either kind.
    dials: those that are turned (see `dials.py`); drawn: what the dials `confounder` and `subtypes` need.
    """
    named = sorted(set(sites))
    scanners = dict(zip(named, STAIN_SITE * rng.standard_normal((len(named), STAIN)), strict=True))
    referral = dict(zip(named, rng.standard_normal(len(named)), strict=True))
    informative, confounder = dials.get("informative"), value_of(dials, "confounder")
    weight = value_of(dials, "interaction")
    sections: list[list[Section]] = []
    score = np.zeros(len(sites))
    for patient, (site, count) in enumerate(zip(sites, slides, strict=True)):
        disturbed, rich = rng.integers(0, TISSUES, 2)  # the kind that lies in the region, the kind that holds more
        tendency = rng.standard_normal()
        region, fine = np.eye(TISSUES)[disturbed], np.where(np.arange(TISSUES) == rich, MANY, FEW)
        if drawn is not None:
            tendency = confounder * drawn.age[patient] + np.sqrt(1 - confounder**2) * tendency
        share, gathered = None, 0.0
        if informative is not None:
            share = 2 * informative * fine / fine.sum()
        if kind == "coarse":
            region = region * (1 + np.tanh(tendency)) / 2
        if kind == "fine":
            odds = fine / (16 - fine) if share is None else share / (1 - share)
            odds = odds * np.exp(tendency)
            fine = np.round(16 * odds / (1 + odds)).astype(int)
            share = None if share is None else odds / (1 + odds)
        if kind == "place":
            share = np.full(TISSUES, (FEW + MANY) / 32 if informative is None else informative)
            gathered = (1 + np.tanh(tendency)) / 2
        stain = scanners[site] if kind == "site" else np.zeros(STAIN)
        stain = stain + value_of(dials, "stain") * STAIN_SITE * ELSEWHERE
        if drawn is not None and drawn.second[patient]:
            stain = stain + STAIN_SUBTYPE * np.eye(STAIN)[0]
        own = [_section(rng, region, fine, stain, cells, share, gathered) for _ in range(count)]
        sections.append(own)
        amount = fine.sum() if share is None else _log_odds(np.concatenate([one.fine for one in own]))
        score[patient] = {
            "fine": amount,
            "coarse": region.sum(),
            "cross": float(disturbed == rich)
            if weight == 1
            else weight * _sign(disturbed == rich) + (1 - weight) * (_sign(disturbed == 0) + _sign(rich == 0)) / 2**0.5,
            "place": gathered,
            "site": referral[site],
            "null": 0.0,
        }[kind]
    return sections, score


def _sign(yes: bool) -> float:
    return 1.0 if yes else -1.0


def _log_odds(holds: NDArray[np.bool_]) -> float:
    """Of a patch to hold the pattern, as the slides really hold it; finite where none or all do."""
    return float(np.log((holds.sum() + 0.5) / ((~holds).sum() + 0.5)))


def _section(
    rng: np.random.Generator,
    region: NDArray[np.float64],
    fine: NDArray[np.int64],
    scanner: NDArray[np.float64],
    cells: float,
    share: NDArray[np.float64] | None,
    gathered: float,
) -> Section:
    """region, fine: (TISSUES,), how disturbed a kind is, and how many of its sixteen 20x patches hold the pattern.

    share: (TISSUES,), of all 20x patches of a kind that hold it, wherever they lie, instead of `fine`; the share
    `gathered` of these lies in one place.
    """
    pairs = 1 + int(rng.poisson(max(cells / TISSUES - 1, 0)))
    grid = blob(rng, TISSUES * pairs)
    tissue = np.empty(len(grid), int)
    # Two halves, side by side: either kind is one piece of tissue.
    tissue[np.lexsort((grid[:, 1], grid[:, 0]))] = np.repeat(rng.permutation(TISSUES), pairs)
    # Exact counts, so that no scale of a slide tells more than the model says.
    if share is None:
        holds = rng.permuted(np.arange(16) < fine[tissue][:, None], axis=1).ravel()
    else:
        holds = _placed(rng, grid, tissue, share, gathered)
    stain = scanner + STAIN_SLIDE * rng.standard_normal(STAIN)
    return Section(nested(rng, grid), tissue, region[tissue], holds, stain)


def _placed(
    rng: np.random.Generator,
    grid: NDArray[np.int64],
    tissue: NDArray[np.int64],
    share: NDArray[np.float64],
    gathered: float,
) -> NDArray[np.bool_]:
    """Which 20x patches hold the pattern, (n20,): of either kind of tissue the given share, as whole patches.

    The part `gathered` of them are those next to one patch; the others lie anywhere.
    """
    places = (grid[:, None] * 2 + QUARTER).reshape(-1, 2)
    places = (places[:, None] * 2 + QUARTER).reshape(-1, 2)  # in the order of the rows of 20x
    holds = np.zeros(len(places), bool)
    for kind in range(TISSUES):
        rows = np.flatnonzero(np.repeat(tissue == kind, 16))
        expected = share[kind] * len(rows)
        count = int(expected + rng.random())  # a fraction of a patch is drawn
        centre = places[rng.choice(rows)]
        near = rows[np.argsort(((places[rows] - centre) ** 2).sum(axis=1), kind="stable")]
        together = round(gathered * count)
        holds[near[:together]] = True
        holds[rng.choice(near[together:], count - together, replace=False)] = True
    return holds


def weights_of(backbone_seed: int, dim: int) -> dict[int, NDArray[np.float32]]:
    """How a backbone shows a section: a fixed random projection (LATENT, dim) by magnification.

    Scales see tissue and stain alike (70 % of the variance), not the same.
    """
    shared = np.random.default_rng([backbone_seed, LATENT]).standard_normal((LATENT, dim))
    own = {m: np.random.default_rng([backbone_seed, LATENT, m]).standard_normal((LATENT, dim)) for m in MAGNIFICATIONS}
    return {m: (np.sqrt(0.7) * shared + np.sqrt(0.3) * own[m]).astype(np.float32) for m in MAGNIFICATIONS}


def latent(rng: np.random.Generator, section: Section, magnification: int) -> NDArray[np.float32]:
    """What the patches of one scale show, (n, LATENT): the region at 5x alone, the fine pattern at 20x alone."""
    children = (magnification // 5) ** 2
    tissue = np.repeat(section.tissue, children)
    row = np.arange(len(tissue))
    shown = np.zeros((len(tissue), LATENT), np.float32)
    shown[row, PLAIN + tissue] = 1
    if magnification == 5:
        shown[row, REGION + tissue] = section.region
    if magnification == 20:
        shown[row, FINE + tissue] = section.fine
    shown[:, -STAIN:] = section.stain + STAIN_PATCH * rng.standard_normal((len(tissue), STAIN))
    return shown


def patterns(section: Section) -> dict[int, NDArray]:
    """The fine pattern at 20x, bool (n20,), and how disturbed the region is at 5x, (n5,), in the order of `show`."""
    found = {20: section.fine, 5: section.region}
    return {m: x[np.lexsort((section.coords[m][:, 0], section.coords[m][:, 1]))] for m, x in found.items()}


def show(
    rng: np.random.Generator, section: Section, weights: dict[int, NDArray[np.float32]]
) -> tuple[dict[int, NDArray[np.float32]], dict[int, NDArray[np.int32]]]:
    """Features float32 (n, dim) and coordinates int32 (n, 2) by magnification, rows in reading order of each scale."""
    features, coords = {}, {}
    for m in MAGNIFICATIONS:
        corners = section.coords[m]
        matrix = latent(rng, section, m) @ weights[m]
        matrix += NOISE * rng.standard_normal(matrix.shape, np.float32)
        order = np.lexsort((corners[:, 0], corners[:, 1]))
        features[m], coords[m] = matrix[order], corners[order]
    return features, coords
