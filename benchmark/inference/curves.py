"""Learning curves: what models reach on planted cohorts as one dial turns, over several draws of each cohort."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ...datasets.simulated.dials import DIALS
from ...errors import UsageError
from ...names import check_choice
from ..planning.grid import grid, values_of
from ..planning.request import Request
from ..results.finished import Finished

OPTIONS = ("patients", "strength")
"""Options of `bench run` that a curve may be drawn over as if they were dials."""


@dataclass(frozen=True)
class Cell:
    """One model on one draw: the value of the dial, which draw, and the experiment that is asked for."""

    model: str
    value: float
    draw: int
    request: Request


@dataclass(frozen=True)
class Score:
    """A cell that is computed: mean C-index over the test folds, of the model and of the oracle."""

    model: str
    value: float
    draw: int
    experiment: str
    c_index: float
    oracle: float


@dataclass(frozen=True)
class Point:
    """Where the curve stands at one value of the dial: the mean over `draws`, and its 95 % t interval over them.

    low, high: None where there is one draw.
    """

    value: float
    mean: float
    low: float | None
    high: float | None
    draws: int


@dataclass(frozen=True)
class Reached:
    """At which value a curve first has what is asked for.

    Where it already does at the smallest value that was tried, that value, and `first`; None where it never does.
    """

    value: float | None
    first: bool = False


def dial_values(dials: Sequence[str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The dial that a curve is drawn over, its values, and the other dials, each with one value.

    Errors: `UsageError` unless exactly one of them has several values.
    """
    axes, rest = [], []
    for pair in dials:
        name, equals, text = pair.partition("=")
        name = name.strip().replace("_", "-")
        if not equals:
            raise UsageError(f"--dial {pair}: expected NAME=VALUE,VALUE,…")
        check_choice("dial", name, (*OPTIONS, *DIALS))
        values = values_of("dial", text)
        if len(values) == 1:
            rest.append(f"{name}={values[0]}")
        else:
            axes.append((name, values))
    if len(axes) != 1:
        raise UsageError(
            "--dial: give one dial with several values, such as patients=150,300,600, over which the curves are drawn"
            + (f"; {', '.join(name for name, _ in axes)} have several" if axes else "")
        )
    return *axes[0], tuple(rest)


def cells_of(
    first: Request,
    models: str,
    dial: str,
    values: Sequence[str],
    fixed: Sequence[str],
    draws: int,
    loss: str | None = None,
    scale: str | None = None,
) -> list[Cell]:
    """All cells: every model on every draw of every value; draws of one value come together, and so share what is read.

    loss, scale: as `grid` takes them. Errors: `UsageError` for a value that cannot be.
    """
    if draws < 1:
        raise UsageError(f"--draws {draws}: expected at least one")
    cells = []
    for word in values:
        number = _number(dial, word)
        for draw in range(draws):
            asked = replace(first, cohort_seed=first.cohort_seed + draw)
            for pair in (*fixed, f"{dial}={word}"):
                asked = _turned(asked, pair)
            for request in grid(asked, models, asked.cohort, loss=loss, scale=scale):
                read = request.settings.get("scale")
                name = request.model + (f" {read}x" if read else "")
                name += f" {request.settings['loss']}" if "," in (loss or "") else ""
                cells.append(Cell(name, number, first.cohort_seed + draw, request))
    return cells


def _turned(request: Request, pair: str) -> Request:
    name, _, text = pair.partition("=")
    if name == "patients":
        return replace(request, patients=int(_number(name, text)))
    return replace(request, strength=text) if name == "strength" else replace(request, dial=(*request.dial, pair))


def _number(dial: str, word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (dial == "patients" and not (number.is_integer() and number >= 20)):
        wanted = "a whole number from 20" if dial == "patients" else "a number"
        raise UsageError(f"--dial {dial}={word}: expected {wanted}")
    return number


def scores_of(cells: Sequence[Cell], finished: Sequence[Finished]) -> list[Score]:
    """What the cells came to; a cell of which a fold failed, or has no C-index, is left out."""
    found = []
    for cell, one in zip(cells, finished, strict=True):
        value, best = one.mean("c_index_selected"), one.mean("oracle_c_index")
        if one.complete and value is not None and best is not None:
            found.append(Score(cell.model, cell.value, cell.draw, one.experiment.id, value, best))
    return found


def points(scores: Sequence[Score]) -> dict[str, list[Point]]:
    """Every model's curve, by ascending value."""
    return {
        model: _curve([(one.value, one.draw, one.c_index) for one in scores if one.model == model])
        for model in dict.fromkeys(one.model for one in scores)
    }


def oracle_points(scores: Sequence[Score]) -> list[Point]:
    """The oracle's curve: on every draw it is the same for all models."""
    return _curve([(one.value, one.draw, one.oracle) for one in scores])


def _curve(found: Sequence[tuple[float, int, float]]) -> list[Point]:
    curve = []
    for value in sorted({value for value, *_ in found}):
        by_draw: dict[int, float] = {draw: number for at, draw, number in found if at == value}
        numbers = np.array(list(by_draw.values()))
        mean, low, high = float(numbers.mean()), None, None
        if len(numbers) > 1:
            reach = float(stats.t.ppf(0.975, len(numbers) - 1)) * float(numbers.std(ddof=1)) / len(numbers) ** 0.5
            low, high = max(mean - reach, 0.0), min(mean + reach, 1.0)
        curve.append(Point(value, mean, low, high, len(numbers)))
    return curve


def half_of(oracle: Sequence[Point]) -> dict[float, float]:
    """By value of the dial, the C-index halfway from 0.5 to that of the oracle."""
    return {one.value: (0.5 + one.mean) / 2 for one in oracle}


def reached(curve: Sequence[tuple[float, float]], wanted: Mapping[float, float]) -> Reached:
    """The smallest value at which a curve of (value, C-index) has what is `wanted` there.

    Between two values the distance from what is wanted is taken to be linear in the logarithm of the value.

    Examples
    --------
    >>> reached([(100, 0.52), (400, 0.62)], {100: 0.57, 400: 0.57})
    Reached(value=200.0, first=False)
    >>> reached([(100, 0.52), (400, 0.54)], {100: 0.57, 400: 0.57})
    Reached(value=None, first=False)

    """
    before: tuple[float, float] | None = None
    for value, number in curve:
        over = round(number - wanted[value], 12)
        if over >= 0:
            if before is None:
                return Reached(value, first=True)
            at, under = before
            share = under / (under - over)
            logs = at > 0 and value > 0
            return Reached(at * (value / at) ** share if logs else at + share * (value - at))
        before = value, over
    return Reached(None)
