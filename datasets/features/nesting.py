"""Nesting: whether the patches of several magnifications show the same tissue, at the sizes that they claim.

With coordinates, the centre of every finer patch must lie in a coarser one. Without, only counts can be compared: four
times as many patches a step. Sizes in level-0 pixels, the objective power and microns per pixel must agree.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ...errors import DataError
from ..findings import Finding, finding
from .cells import patch_sides
from .geometry import Geometry
from .reader import Reader
from .tissue_overlap import overlap

STRAY, TORN = 0.1, 0.5
"""Shares of unmatched patches from which a slide is reported, and from which its scales cannot be of one tissue."""

SIZE = 0.05  # by how much a level-0 size may be off: sizes are whole pixels
SCANNER = 0.15  # by how much mpp differs between scanners of one objective power (0.2325 to 0.2738 at 40x)
STEP = (2.0, 6.0)  # patches of the finer scale for one of the coarser at half its magnification; 4 without borders
FEW = 8  # coarser patches from which counts are compared: below, the border of the tissue decides


@dataclass(frozen=True)
class ScalePair:
    """Two neighbouring magnifications, over all slides that have both with coordinates.

    `finer` and `coarser` count their patches, `unmatched` the finer ones that lie in no coarser one, and
    `without_tiles` the coarser ones that hold no finer one.
    """

    coarse: int
    fine: int
    slides: int = 0
    finer: int = 0
    unmatched: int = 0
    coarser: int = 0
    without_tiles: int = 0


@dataclass(frozen=True)
class Nesting:
    """What `check_nesting` found: a ScalePair for each step, slides without coordinates, and findings."""

    pairs: tuple[ScalePair, ...]
    unchecked: int
    findings: tuple[Finding, ...]


@dataclass
class _Seen:
    """Names by kind of trouble, collected over slides."""

    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, code: str, name: str) -> None:
        self.names.setdefault(code, []).append(name)


KINDS: tuple[tuple[str, str, str], ...] = (
    ("unreadable_slides", "error", "slides cannot be read"),
    ("scales_of_other_tissue", "error", "slides have more than half of their finer patches in no coarser patch: the "
     "scales are not of the same tissue, or a level-0 size is wrong"),
    ("unmatched_tiles", "warning", "slides have more than 10 % of their finer patches in no coarser patch"),
    ("parents_without_tiles", "warning", "slides have more than 10 % of their coarser patches without any finer patch"),
    ("duplicate_coordinates", "warning", "slides hold the same patch more than once"),
    ("patches_beyond_slide", "error", "slides have patches that lie outside of the slide: the coordinates are not of "
     "level 0, or of another slide"),
    ("level0_size_mismatch", "error", "slides have patches whose level-0 size does not fit the claimed magnification"),
    ("power_contradicts_mpp", "warning", "slides have an objective power that contradicts their microns per pixel; "
     "patches cut by the power are at another magnification than they claim"),
    ("implausible_counts", "warning", "slides have counts of patches that cannot nest (about 4 finer patches for one)"),
)  # fmt: skip


def check_nesting(
    reader: Reader,
    slides: Iterable[str] | None = None,
    mpp: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Nesting:
    """Compare the scales of every slide (all of the reader's by default); headers and coordinates are read.

    `mpp` gives microns per level-0 pixel of slides whose files do not say it. Slides that cannot be read are a
    finding here, not an error.
    """
    every = sorted(reader.slides if slides is None else set(slides) & reader.slides)
    seen, totals, bare = _Seen(), {}, []
    sizes: dict[int, dict[float, list[str]]] = {}
    for done, slide in enumerate(every):
        try:
            _check(reader, slide, (mpp or {}).get(slide), seen, totals, bare, sizes)
        except DataError as error:
            seen.add("unreadable_slides", str(error))
        if progress:
            progress(done + 1, len(every))
    findings = [
        finding(code, severity, text, seen.names[code])  # type: ignore[arg-type]
        for code, severity, text in KINDS
        if code in seen.names
    ]
    findings += _mixed(sizes)
    if bare and len(reader.magnifications) > 1:
        message = (
            "slides have no coordinates, or no known patch size: whether their scales show the same tissue cannot be "
            "checked; only their counts were compared"
        )
        findings.append(finding("nesting_unchecked", "info", message, bare))
    pairs = tuple(ScalePair(*key, *(int(v) for v in total)) for key, total in sorted(totals.items()))
    return Nesting(pairs, len(bare), tuple(findings))


def true_magnification(side: float, patch_px: float, mpp: float) -> float:
    """The magnification of a patch of `side` level-0 pixels that became `patch_px` pixels: 10x is 1 um per pixel."""
    return 10 * patch_px / (side * mpp)


def _check(
    reader: Reader,
    slide: str,
    mpp: float | None,
    seen: _Seen,
    totals: dict[tuple[int, int], np.ndarray],
    bare: list[str],
    sizes: dict[int, dict[float, list[str]]],
) -> None:
    facts = {m: f for m, f in sorted(reader.facts(slide).items()) if f.patches}
    coords = {m: reader.coords(slide, m) for m in facts}
    sides = patch_sides(coords, {m: f.geometry for m, f in facts.items()})
    for m, f in facts.items():
        where = coords[m]
        _check_scale(f"{slide} ({m}x)", m, f.geometry, mpp, where, seen)
        if f.geometry.level0_px and not (f.geometry.level0_magnification or f.geometry.mpp or mpp):
            sizes.setdefault(m, {}).setdefault(f.geometry.level0_px, []).append(slide)
    if len(facts) > 1 and not all(where is not None and m in sides for m, where in coords.items()):
        bare.append(slide)
    for coarse, fine in pairwise(facts):
        name = f"{slide} ({fine}x in {coarse}x)"
        a, b = coords[coarse], coords[fine]
        if a is None or b is None or coarse not in sides or fine not in sides:
            _check_counts(name, coarse, fine, facts[coarse].patches, facts[fine].patches, seen)
            continue
        g, h = facts[coarse].geometry, facts[fine].geometry
        ratio = sides[coarse] / sides[fine] / ((h.claimed or fine) / (g.claimed or coarse))
        px = [g.patch_px, h.patch_px]
        ratio *= px[1] / px[0] if px[0] and px[1] else 1
        if abs(ratio - 1) > SIZE:
            sizes_found = f"{sides[coarse]:g} and {sides[fine]:g} pixels"
            seen.add("level0_size_mismatch", f"{name}: {sizes_found}")
        unmatched, without_tiles = overlap(a, sides[coarse], b, sides[fine])
        total = totals.setdefault((coarse, fine), np.zeros(5, np.int64))
        total += (1, len(b), unmatched.sum(), len(a), without_tiles.sum())
        stray, alone = unmatched.mean(), without_tiles.mean()
        if stray > STRAY:
            seen.add("scales_of_other_tissue" if stray > TORN else "unmatched_tiles", f"{name}: {stray:.0%}")
        if alone > STRAY:
            seen.add("parents_without_tiles", f"{name}: {alone:.0%}")


def _check_scale(
    name: str, m: int, geometry: Geometry, given: float | None, where: np.ndarray | None, seen: _Seen
) -> None:
    """One scale alone: its size against what it claims, the power against mpp, patches within the slide."""
    claimed, power, mpp = geometry.claimed or float(m), geometry.level0_magnification, given or geometry.mpp
    side, px = geometry.level0_px, geometry.patch_px
    if side and px and power and abs(side / (px * power / claimed) - 1) > SIZE:
        seen.add("level0_size_mismatch", f"{name}: {side:g} pixels, {px * power / claimed:g} expected at {power:g}x")
    elif side and px and mpp and abs(true := true_magnification(side, px, mpp) / claimed - 1) > SCANNER:
        seen.add("level0_size_mismatch", f"{name}: {side:g} pixels of {mpp:g} um are {claimed * (true + 1):.3g}x")
    if power and mpp and not 2**-0.5 < power * mpp / 10 < 2**0.5:
        seen.add("power_contradicts_mpp", f"{name.split(' (')[0]}: {power:g}x at {mpp:g} um per pixel")
    if where is None or not len(where):
        return
    if len(np.unique(where, axis=0)) < len(where):
        seen.add("duplicate_coordinates", name)
    slack = side or 0
    beyond = where.min() < -slack
    for axis, extent in enumerate((geometry.width, geometry.height)):
        beyond = beyond or bool(extent and where[:, axis].max() >= extent)
    if beyond:
        seen.add("patches_beyond_slide", name)


def _check_counts(name: str, coarse: int, fine: int, few: int, many: int, seen: _Seen) -> None:
    """Without coordinates: 4 patches for one at half the magnification, with room for borders."""
    steps = np.log2(fine / coarse)
    if few >= FEW and not STEP[0] ** steps <= many / few <= STEP[1] ** steps:
        seen.add("implausible_counts", f"{name}: {many} for {few}")


def _mixed(sizes: Mapping[int, Mapping[float, list[str]]]) -> list[Finding]:
    """One magnification with several level-0 sizes: 20x and 40x slides cut alike, or different slides cut rightly."""
    found = []
    for m, by_size in sorted(sizes.items()):
        if len(by_size) > 1:
            rare = min(by_size, key=lambda size: len(by_size[size]))
            listed = ", ".join(f"{size:g} ({len(names)} slides)" for size, names in sorted(by_size.items()))
            message = (
                f"slides are of the rarer level-0 sizes of patches claimed to be {m}x: {listed}. Right if these slides "
                "were scanned at another power, wrong if they were not; the files do not say the power"
            )
            odd = [s for size, names in by_size.items() if len(names) < max(map(len, by_size.values())) for s in names]
            found.append(finding("mixed_patch_sizes", "warning", message, odd or by_size[rare]))
    return found
