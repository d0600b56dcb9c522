"""Every C-index with its interval, every line against the first, and which lines may be the best.

All lines of a ranking share one joint distribution of errors (`survival/joint.py`): what a comparison shows does not
depend on who asks for it, or on how many others are asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, compress

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...survival.comparisons import IntervalEstimate
from ...survival.joint import Difference, Joint, Pairs, training_covariance
from ...survival.linear_algebra import one_thread
from ..cache.store import NO_CACHE, Cache
from ..result_row import READINGS
from .board import BASELINE, Board, Line, Ranking, names_of
from .evidence import ALPHA, LEAST_SEEDS, Evidence, Pair
from .patient_influence import Moved, Tested, cached_influence, of_reading
from .published_evidence import NO_EVIDENCE, PublishedEvidence

Predictions = Mapping[str, pd.DataFrame]
UNTRAINED = "random"
"""The baseline whose seeds are chance alone; all others give the same whenever they are fitted."""


def with_evidence(
    boards: Sequence[Board], predictions: Predictions, published: PublishedEvidence = NO_EVIDENCE
) -> tuple[Board, ...]:
    """The boards with the evidence of every ranking.

    `predictions` maps experiment ids to out-of-fold predictions; `published` is what is known of lines without any.
    """

    def of_ranking(ranking: Ranking) -> Ranking:
        return replace(ranking, evidence=evidence(ranking, predictions, published))

    return tuple(replace(board, rankings=tuple(map(of_ranking, board.rankings))) for board in boards)


@one_thread()
def evidence(
    ranking: Ranking, predictions: Predictions, published: PublishedEvidence = NO_EVIDENCE, cache: Cache = NO_CACHE
) -> Evidence:
    """Intervals of all lines, the first against every other, models against the clinical baseline, and the best."""
    errors = Errors(ranking, predictions, published, cache)
    lines, every = ranking.lines, errors.every
    found = tuple(errors.pairs([(0, place) for place in errors.places if place]))
    left_out = list(errors.left_out)
    names = names_of(lines)
    apart = set(errors.places[1:]) - {pair.second for pair in found}
    if 0 in errors.places and apart:
        left_out.append(
            f"{listed([names[place] for place in sorted(apart)])}: published without patients, apart from the first "
            "line, so that the difference is not known"
        )
    best = errors.best()
    baseline = ()
    if ranking.baseline is not None:
        at = lines.index(ranking.baseline)
        models = [place for place, line in enumerate(lines) if line.family != BASELINE]
        baseline = tuple(errors.pairs([(place, at) for place in models]))
    models = [pair.detectable for pair in found if lines[pair.second].family != BASELINE]
    detectable = float(np.median(models or [pair.detectable for pair in found])) if found else None
    return Evidence(
        len(every),
        errors.intervals(),
        found,
        best,
        tuple(place for place, line in enumerate(lines) if not training_known(line)),
        baseline,
        detectable,
        _verdict(ranking, found, best, detectable),
        tuple(left_out),
        tuple(errors.pairs(tuned_pairs(ranking))),
    )


def tuned_pairs(ranking: Ranking) -> list[tuple[int, int]]:
    """The places of every tuned line and of the same without tuning, where that was run with the same seeds."""
    place = {experiment: number for number, line in enumerate(ranking.lines) for experiment in line.experiments}
    found = []
    for number, line in enumerate(ranking.lines):
        untuned = {row.untuned_experiment for row in line.rows}
        places = {place[one] for one in untuned if one in place}
        if None not in untuned and untuned <= place.keys() and len(places) == 1:
            found.append((number, places.pop()))
    return found


def training_known(line: Line) -> bool:
    """Whether it is known how much another training would change: baselines give the same whenever they are fitted, so
    that of them it is known without a seed."""
    return (line.family == BASELINE and line.model != UNTRAINED) or len(line.seeds) >= LEAST_SEEDS


@dataclass(frozen=True)
class _Patients:
    """What the patients contribute to the C-index of one line at one reading: how much each of them moves it."""

    value: float
    moved: NDArray[np.float64]


class Errors:
    """The errors of all C-indices of a ranking.

    `places` are the lines of which they are known, from predictions or from what was `published`; `left_out` says why
    those of others are not: no predictions, those of other patients than the other lines have, or numbers that are not
    those of the rows.
    """

    def __init__(
        self,
        ranking: Ranking,
        predictions: Predictions,
        published: PublishedEvidence = NO_EVIDENCE,
        cache: Cache = NO_CACHE,
    ) -> None:
        self.ranking = ranking
        self.published = published
        self.patients_only = False
        self.left_out: list[str] = []
        self._elsewhere: dict[int, Mapping[str, IntervalEstimate]] = {}
        self._here: dict[tuple[int, str], _Patients] = {}
        here = [all(name in predictions for name in line.experiments) for line in ranking.lines]
        firsts = (of_reading(predictions[line.experiments[0]], "selected") for line in compress(ranking.lines, here))
        tested = next((Tested(table) for table in firsts if len(table)), None)
        names, fault = names_of(ranking.lines), ""
        contradicted: list[str] = []
        for place, line in enumerate(ranking.lines):
            if not here[place]:
                known = published.intervals.get(line.experiments, {})
                if all(_agrees(line, reading, found.value) for reading, found in known.items()) and "selected" in known:
                    self._elsewhere[place] = known
                else:
                    self.left_out.append(f"{names[place]}: its predictions are missing or not readable")
                continue
            try:
                mine = [cached_influence(name, predictions, tested, cache) for name in line.experiments if tested]
            except ValueError as error:
                fault = fault or str(error)
                continue
            if mine and all("selected" in one for one in mine):
                contradicted += [f"{names[place]}: {one}" for one in self._measure(place, mine)]
            else:
                self.left_out.append(f"{names[place]}: its predictions are of other patients than those above")
        if tested and ranking.lines[0].slides == "slide" and not tested.owners_known:
            fault = "the predictions do not name the patients of their slides; run it again"
        if fault:
            self._here, contradicted = {}, [f"no line has an interval: {fault}"]
        self.left_out += contradicted

    def _measure(self, place: int, mine: Sequence[Mapping[str, Moved]]) -> Iterator[str]:
        """Take the C-indices of one line from its experiments; one that its rows contradict is left out, and said."""
        line = self.ranking.lines[place]
        for reading in READINGS:
            found = [one[reading] for one in mine if reading in one]
            if len(found) < len(mine):
                continue
            value, expected = float(np.mean([one.value for one in found])), line.spreads[f"c_index_{reading}"].mean
            if _agrees(line, reading, value):
                self._here[place, reading] = _Patients(value, np.mean([one.patients for one in found], axis=0))
            elif reading == "selected":
                numbers = f"{value:.4f}, the rows say {expected:.4f}" if expected is not None else f"{value:.4f}"
                yield f"its predictions give a C-index of {numbers}; run it again"

    @property
    def places(self) -> tuple[int, ...]:
        """The lines whose errors are known at `selected`."""
        return tuple(sorted({place for place, reading in self._here if reading == "selected"} | set(self._elsewhere)))

    def intervals(self) -> tuple[dict[str, IntervalEstimate], ...]:
        """By line, the interval of its C-index at each reading that has one."""
        return tuple(
            {reading: joint.estimate(0) for reading in READINGS if (joint := self._alone(place, reading)) is not None}
            for place in range(len(self.ranking.lines))
        )

    def known(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of these pairs whose difference is known; it is not where two lines were published without patients, in
        different entries."""
        at = self._at
        return [pair for pair in pairs if set(pair) <= at.keys() and self.joint.known(*(at[one] for one in pair))]

    @cached_property
    def every(self) -> Pairs:
        """All pairs of lines whose difference is known, by place."""
        places = np.array(self.places, dtype=np.intp)
        first, second = np.triu_indices(len(places), 1)
        pairs = np.stack([places[first], places[second]], axis=1)
        return pairs[self.joint.known(first, second)] if len(pairs) else pairs

    def best(self) -> tuple[int, ...]:
        """The lines that no other is shown to be above."""
        first, second = self._rows(self.every).T
        shown = self._adjusted[0][first, second] <= ALPHA
        worse = np.where(self.joint.values[first] - self.joint.values[second] > 0, self.every[:, 1], self.every[:, 0])
        below = set(worse[shown].tolist())
        return tuple(place for place in self.places if place not in below)

    def pairs(self, chosen: Sequence[tuple[int, int]] | None = None) -> list[Pair]:
        """The comparison of these pairs of lines, by place, or of all; pairs of which nothing is known are left out.

        p-values are adjusted for all pairs of the ranking, whichever are chosen.
        """
        known = self.known([(int(i), int(j)) for i, j in self.every] if chosen is None else chosen)
        adjusted, alpha = self._adjusted
        rows = self._rows(np.array(known, dtype=np.intp).reshape(-1, 2))
        found = self.joint.differences(rows)
        lines = self.ranking.lines
        return [
            Pair(
                first,
                second,
                difference,
                float(adjusted[one, other]),
                self.joint.detectable(difference, alpha),
                not (training_known(lines[first]) and training_known(lines[second])),
            )
            for (first, second), (one, other), difference in zip(known, rows, found, strict=True)
        ]

    def of_patients(self) -> "Errors":
        """The same with the patients as the only source: what is published, since seeds are in the rows."""
        found = copy(self)
        found.patients_only = True
        return found

    def difference(self, first: int, second: int) -> Difference | None:
        """The difference of two lines, by place; None where it is not known."""
        found = self.known([(first, second)])
        return self.joint.differences(np.array([[self._at[one] for one in found[0]]]))[0] if found else None

    @cached_property
    def joint(self) -> Joint:
        """The lines at `places`, together."""
        places = self.places
        found = {place: one for (place, reading), one in self._here.items() if reading == "selected"}
        values = [found[p].value if p in found else self._elsewhere[p]["selected"].value for p in places]
        return self._joint(places, np.array(values), self._patients(places, found), "selected")

    @cached_property
    def _at(self) -> dict[int, int]:
        return {place: at for at, place in enumerate(self.places)}

    def _rows(self, pairs: Pairs) -> Pairs:
        """Where the lines at these places stand in `joint`."""
        return np.searchsorted(np.array(self.places, dtype=np.intp), pairs)

    @cached_property
    def _adjusted(self) -> tuple[NDArray[np.float64], float]:
        """Of all pairs whose difference is known the adjusted p-value, (m, m), and the p that one needs alone."""
        found = np.full((len(self.places),) * 2, np.nan)
        if not len(self.every):
            return found, ALPHA
        first, second = self._rows(self.every).T
        p, alpha = self.joint.adjusted(np.stack([first, second], axis=1))
        found[first, second] = found[second, first] = p
        return found, alpha

    def _patients(self, places: Sequence[int], here: Mapping[int, _Patients]) -> NDArray[np.float64]:
        """Covariance over patients of the lines at `places`; NaN where it is not known."""
        covariance = np.full((len(places), len(places)), np.nan)
        rows = [at for at, place in enumerate(places) if place in here]
        if rows:
            moved = np.stack([here[places[at]].moved for at in rows])
            covariance[np.ix_(rows, rows)] = moved @ moved.T
        lines = self.ranking.lines
        for at, place in enumerate(places):
            if place not in here:
                covariance[at, at] = self._elsewhere[place]["selected"].standard_error ** 2
        for i, j in combinations(range(len(places)), 2) if self.published.differences else ():
            known = self.published.difference(lines[places[i]].experiments, lines[places[j]].experiments)
            if known is not None and np.isnan(covariance[i, j]):
                covariance[i, j] = (covariance[i, i] + covariance[j, j] - known.standard_error**2) / 2
                covariance[j, i] = covariance[i, j]
        return covariance

    def _joint(
        self, places: Sequence[int], values: NDArray[np.float64], patients: NDArray[np.float64], reading: str
    ) -> Joint:
        lines = [self.ranking.lines[place] for place in places]
        varied = [not self.patients_only and len(line.seeds) >= LEAST_SEEDS for line in lines]
        scores = [line.by_seed(f"c_index_{reading}") if one else None for line, one in zip(lines, varied, strict=True)]
        deaths = min((line.events - line.n_folds for line in lines), default=1)
        # Chance has no training set.
        ratio = [0.0 if line.model == UNTRAINED else np.divide(*sizes(line)) for line in lines]
        return Joint(values, patients, float(max(1, deaths)), *training_covariance(scores, ratio))

    def _alone(self, place: int, reading: str) -> Joint | None:
        """One line at one reading."""
        mine, known = self._here.get((place, reading)), self._elsewhere.get(place, {}).get(reading)
        if mine is not None:
            value, variance = mine.value, float(mine.moved @ mine.moved)
        elif known is not None:
            value, variance = known.value, known.standard_error**2
        else:
            return None
        return self._joint([place], np.array([value]), np.array([[variance]]), reading)


def sizes(line: Line) -> tuple[float, float]:
    """Patients that are tested, and that are trained on (with the validation split), mean over folds."""
    tested = [row.n_test or 0 for row in line.rows]
    trained = [(row.n_train or 0) + (row.n_val or 0) or (row.patients or 0) - (row.n_test or 0) for row in line.rows]
    return float(np.mean(tested)), max(1.0, float(np.mean(trained)))


def _agrees(line: Line, reading: str, value: float) -> bool:
    expected = line.spreads[f"c_index_{reading}"].mean
    return expected is not None and abs(value - expected) <= 1e-6


def _verdict(ranking: Ranking, pairs: Sequence[Pair], best: Sequence[int], detectable: float | None) -> str:
    names = names_of(ranking.lines)
    if not pairs:
        return "There is nothing to compare: fewer than two lines have predictions of the same patients."
    parts = []
    if all(line.family == BASELINE for line in ranking.lines):
        parts.append("Baselines only: no model was run.")
    if len(best) == 1:
        parts.append(f"{names[best[0]]} is shown to be above all other lines.")
    else:
        parts.append(f"Cannot be told from the best: {listed([names[place] for place in best])}.")
        over = [names[pair.second] for pair in pairs if pair.shown and pair.second not in best]
        parts += [f"{names[0]}, which has the highest mean, is shown to be above {listed(over)}."] if over else []
    if any(pair.provisional for pair in pairs):
        parts.append(
            "Provisional where a line is imported or has fewer than three seeds: how much another training would "
            "change is not known."
        )
    if detectable is not None and detectable > 0.4:
        parts.append("Trainings differ so much here that hardly any difference would be shown.")
    elif detectable is not None:
        parts.append(
            f"A true difference of {detectable:.3f} to another line would be shown with 80 % power; smaller ones are "
            "mostly missed."
        )
    return " ".join(parts)


def listed(words: Sequence[str], most: int = 8) -> str:
    """Words as a list in a sentence."""
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
