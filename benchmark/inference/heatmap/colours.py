"""Values as colours: attention from clear to strong, attributions from what lowers the risk to what raises it."""

import numpy as np

from ....leaderboards.render.figures.style import HIGH, LOW
from .maps import SlideMap

_WEAK, _STRONG = "#fff3b8", "#7a0f3b"
_NEUTRAL = "#f7f4fa"


def limit_of(one: SlideMap) -> float:
    """The value that has the strongest colour: the 99th percentile, so that one patch does not fade all others."""
    top = float(np.quantile(np.abs(one.values), 0.99)) if len(one.values) else 0.0
    return top or float(np.abs(one.values).max(initial=0.0)) or 1.0


def strength(one: SlideMap) -> np.ndarray:
    """Values (n,) from 0 to 1, or from -1 to 1 where they have a sign."""
    return np.clip(one.values / limit_of(one), -1, 1)


def colours(one: SlideMap) -> np.ndarray:
    """Colours uint8 (n, 3)."""
    x = strength(one)
    if not one.signed:
        return _between(_WEAK, _STRONG, np.clip(x, 0, 1))
    return np.where((x >= 0)[:, None], _between(_NEUTRAL, HIGH, np.abs(x)), _between(_NEUTRAL, LOW, np.abs(x)))


def ramp(signed: bool, steps: int = 21) -> list[tuple[float, str]]:
    """The legend: values from the lowest to the highest in units of the limit, with their colours."""
    at = np.linspace(-1 if signed else 0, 1, steps)
    shown = SlideMap("", "occlusion" if signed else "attention", "", 0, np.zeros((steps, 2)), 1.0, at)
    return [(float(x), "#" + bytes(c.tolist()).hex()) for x, c in zip(at, colours(shown), strict=True)]


def _between(first: str, second: str, share: np.ndarray) -> np.ndarray:
    a, b = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)], float) for c in (first, second))
    return np.round(a + (b - a) * share[:, None]).astype(np.uint8)
