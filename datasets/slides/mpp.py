"""Microns per pixel of a slide: read from what its file says, in a stated order, and never guessed.

    1. the vendor's own value       openslide.mpp-x, openslide.mpp-y
    2. the resolution of the TIFF   tiff.XResolution, tiff.YResolution, tiff.ResolutionUnit
    3. the objective power          10 / power, so that 40x is 0.25 and 20x is 0.5
    4. what the user says           --mpp; it also decides between statements that contradict each other

Contradictions are errors. Only the objective power may be wrong beside a vendor's value: scanners write 20x on slides
of 0.23 um per pixel, which is 40x. That is reported, and the measured value is used.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ...errors import DataError

PLAUSIBLE = (0.05, 20.0)  # um per pixel; the 352.8 of an image of 72 dpi says nothing about a slide
AGREE = 0.05  # two measured values of one slide may differ by so much: files round them
POWER = 1.35  # factor by which um per pixel differ between scanners of one objective power
SQUARE = 0.02  # width and height of a pixel may differ by so much
VENDOR, TIFF, OBJECTIVE, BY_USER = "vendor", "TIFF resolution", "objective power", "--mpp"
BY_USER_HERE = "--mpp of this slide"
"""The user said it of this very slide, against what its file says: said of all slides, the file would decide."""
_UNITS = {"centimeter": 10_000.0, "inch": 25_400.0}  # um


@dataclass(frozen=True)
class Resolution:
    """Microns per level-0 pixel, the statement that it comes from, the objective power as labelled, remarks, and
    whether the user's word decided: without it, the file would be refused or read otherwise.
    """

    mpp: float
    source: str
    power: float | None = None
    remarks: tuple[str, ...] = ()
    by_user: bool = False


def resolution(properties: Mapping[str, str], user_mpp: float | None = None, for_this_slide: bool = True) -> Resolution:
    """The resolution of a slide with these openslide properties.

    `user_mpp` is what the user says: of this very slide (`for_this_slide`, and then the file must not contradict it),
    or of all slides that do not say it themselves.

    DataError where nothing says it, and where two statements contradict each other.
    """
    remarks: list[str] = []
    measured = _measured(properties, remarks)
    if not for_this_slide and measured:
        with suppress(DataError):  # the file speaks, and does not contradict itself
            return resolution(properties)
    power = _number(properties.get("openslide.objective-power"))
    by_user = False
    statements = ", ".join(f"{source} {mpp:.4g}" for source, mpp in measured.items())
    if user_mpp is not None and measured:
        agreeing = {source: mpp for source, mpp in measured.items() if _ratio(mpp, user_mpp) <= 1 + AGREE}
        if not agreeing and power and TIFF in measured and _ratio(user_mpp, 10 / power) <= POWER:
            remarks.append(f"contradictory um per pixel ({statements}; {power:g}x): --mpp decides")
            source = BY_USER_HERE if for_this_slide else BY_USER
            return Resolution(user_mpp, source, power, tuple(remarks), by_user=True)
        if not agreeing:
            raise DataError(
                f"--mpp {user_mpp:g} contradicts the file ({statements} um per pixel): leave it out for this slide."
            )
        if len(agreeing) < len(measured):
            remarks.append(f"contradictory um per pixel ({statements}): --mpp decides")
            by_user = True
        measured = agreeing
    elif len(measured) > 1 and _ratio(*measured.values()) > 1 + AGREE:
        raise DataError(
            f"its statements contradict each other ({statements} um per pixel): say which is right with --mpp."
        )
    if measured:
        source, mpp = next(iter(measured.items()))
        if power and _ratio(mpp, 10 / power) > POWER:
            if source == TIFF and user_mpp is None:  # tags of a TIFF are often left at a default
                raise DataError(
                    f"its TIFF resolution ({mpp:.4g} um per pixel) contradicts its objective power ({power:g}x): say "
                    f"which is right with --mpp."
                )
            by_user = by_user or source == TIFF
            remarks.append(f"labelled {power:g}x, but {mpp:.4g} um per pixel is {_called(mpp)}x: taken as that")
        return Resolution(mpp, source, power, tuple(remarks), by_user)
    if user_mpp is not None:
        if power and _ratio(user_mpp, 10 / power) > POWER:
            raise DataError(f"--mpp {user_mpp:g} contradicts the objective power of the file, {power:g}x.")
        return Resolution(user_mpp, BY_USER, power, tuple(remarks), by_user=True)
    if power:
        remarks.append(f"um per pixel are not stated: {power:g}x is taken as {10 / power:g}")
        return Resolution(10 / power, OBJECTIVE, power, tuple(remarks))
    why = "; ".join([*remarks, "it says neither um per pixel nor an objective power"])
    raise DataError(f"{why}: give --mpp, after asking who scanned it.")


def _measured(properties: Mapping[str, str], remarks: list[str]) -> dict[str, float]:
    """Plausible measured values by source, in their order; what is not plausible becomes a remark."""
    unit = _UNITS.get(properties.get("tiff.ResolutionUnit", "").lower(), 0.0)
    across, down = (_number(properties.get(f"tiff.{axis}Resolution")) for axis in "XY")
    values = {
        VENDOR: (_number(properties.get("openslide.mpp-x")), _number(properties.get("openslide.mpp-y"))),
        TIFF: (unit / across if across else None, unit / down if down else None),
    }
    if properties.get("openslide.vendor") == "generic-tiff":  # openslide copies it from the tags
        values[VENDOR] = (None, None)
    found = {}
    for source, (x, y) in values.items():
        if not x or not y:
            continue
        if not all(PLAUSIBLE[0] <= value <= PLAUSIBLE[1] for value in (x, y)):
            remarks.append(f"{source} of {x:.4g} um per pixel is no microscope's and counts as absent")
        elif _ratio(x, y) > 1 + SQUARE:
            raise DataError(f"its pixels are not square ({x:.4g} x {y:.4g} um, {source}): resample it first.")
        else:
            found[source] = (x + y) / 2
    return found


def _number(text: str | None) -> float | None:
    """A positive finite number, or None."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _ratio(a: float, b: float) -> float:
    return max(a / b, b / a)


def _called(mpp: float) -> int:
    """The objective power that such a resolution is called by."""
    return min((1, 2, 5, 10, 20, 40, 80), key=lambda power: _ratio(mpp, 10 / power))
