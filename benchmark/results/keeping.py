"""What a run keeps beside its numbers: weights when a fold is over, checkpoints while it is trained."""

from dataclasses import dataclass

from ...errors import UsageError
from ...names import check_choice

_UNITS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Keeping:
    """Options that change no number, and so no experiment.

    Parameters
    ----------
    weights
        Readings whose weights are kept.
    retrain
        Whether finished folds without these weights are trained again.
    every
        Seconds of training between two checkpoints; None for none.
    """

    weights: tuple[str, ...] = ("selected",)
    retrain: bool = False
    every: float | None = 300.0


def readings_of(text: str) -> tuple[str, ...]:
    """What `--keep-weights` names: readings joined by commas, or `none`. Errors: `UsageError`."""
    from ...leaderboards.result_row import READINGS

    if text == "none":
        return ()
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for reading in found:
        check_choice("reading", reading, (*READINGS, "none"))
    if not found or "none" in found:
        raise UsageError(f"--keep-weights {text}: expected some of {', '.join(READINGS)}, or none")
    return tuple(reading for reading in READINGS if reading in found)


def seconds_of(text: str) -> float | None:
    """What `--checkpoint-every` says, in seconds: `90s`, `10min` or `2h`; None for `never`. Errors: `UsageError`."""
    if text == "never":
        return None
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        seconds = float(number) * _UNITS[text[len(number) :].strip()]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"--checkpoint-every {text}: expected a time such as 90s, 10min or 2h, or never")
    return seconds
