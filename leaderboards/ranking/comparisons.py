"""Every C-index with its interval, every line against the leader, and what that shows: bootstrap, t-test, verdict.

All lines of a ranking are resampled together: a resample takes the same patients for every line, so that each interval
and each difference comes from one set of resamples. Their seed is fixed: the same rows give the same page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...survival.comparisons import (
    IntervalEstimate,
    corrected_t_test,
    holm,
    means_over_folds,
    minimum_detectable_difference,
    percentile,
)
from ..result_row import READINGS
from .all_pairs import bootstrap_p, sizes, t_test_p, to_adjust
from .board import BASELINE, Board, Line, Ranking, names_of
from .evidence import ALPHA, AS_TRAINED, NOT_SHOWN, SURVIVES, Evidence, Pair
from .published_evidence import NO_EVIDENCE, PublishedEvidence

RESAMPLES = (10_000, 5_000, 2_000)
WORK = 1.5e10
"""Multiplications that the bootstrap of one ranking may take, about three seconds on one core. A ranking gets the most
`RESAMPLES` that fit into it, and never fewer than the last; how many it got is printed beside it. The readings that
nothing is ranked by always get the fewest: they only need an interval."""

Predictions = Mapping[str, pd.DataFrame]
Risk = NDArray[np.float64]  # (n,), by fold and patient


def with_evidence(
    boards: Sequence[Board], predictions: Predictions, published: PublishedEvidence = NO_EVIDENCE
) -> tuple[Board, ...]:
    """The boards with the evidence of every ranking.

    `predictions` maps experiment ids to out-of-fold predictions; `published` is what is known of lines without any.
    """

    def of_ranking(ranking: Ranking) -> Ranking:
        return replace(ranking, evidence=evidence(ranking, predictions, published))

    return tuple(replace(board, rankings=tuple(map(of_ranking, board.rankings))) for board in boards)


def evidence(ranking: Ranking, predictions: Predictions, published: PublishedEvidence = NO_EVIDENCE) -> Evidence:
    """Intervals of all lines, and the leader against every other line, adjusted for their number."""
    resampling = Resampling(ranking, predictions, published)
    # The leader was chosen by these very numbers, the largest of all: adjusting for its pairs alone would ignore that.
    every = resampling.known(list(combinations(resampling.places, 2)))
    found = resampling.pairs([pair for pair in every if pair[0] == 0], among=every)
    models = [pair for pair in found if ranking.lines[pair.second].family != BASELINE]
    detectable = float(np.median([pair.detectable for pair in models or found])) if found else None
    verdict = _verdict(ranking, found, len(every), detectable)
    resamples = resampling.resamples or (published.resamples if resampling.places else 0)
    left_out = list(resampling.left_out)
    apart = set(resampling.places[1:]) - {pair.second for pair in found}
    if 0 in resampling.places and apart:
        names = names_of(ranking.lines)
        left_out.append(
            f"{_list([names[place] for place in sorted(apart)])}: published without patients, apart from the "
            "leader, so that the difference is not known"
        )
    tuned = tuple(resampling.pairs(tuned_pairs(ranking)))
    return Evidence(resamples, resampling.intervals(), tuple(found), detectable, verdict, tuple(left_out), tuned)


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


class Resampling:
    """The bootstrap of one ranking: done once, it gives intervals and the difference of any pair of lines.

    `places` are the lines that could be resampled, or of which `published` holds what resampling gave elsewhere;
    `left_out` says why the others could not: no predictions, those of other patients than the other lines have, or
    numbers that are not those of the rows.
    """

    def __init__(self, ranking: Ranking, predictions: Predictions, published: PublishedEvidence = NO_EVIDENCE) -> None:
        self.ranking = ranking
        self.published = published
        self.left_out: list[str] = []
        self.resamples = 0
        self._elsewhere: dict[int, Mapping[str, IntervalEstimate]] = {}
        self._draws: dict[tuple[int, str], tuple[float, NDArray[np.float64]]] = {}
        names = names_of(ranking.lines)
        patients: pd.DataFrame | None = None
        columns: dict[tuple[int, str], list[Risk]] = {}
        for place, line in enumerate(ranking.lines):
            tables = [predictions[name] for name in line.experiments if name in predictions]
            if len(tables) < len(line.experiments):
                known = published.intervals.get(line.experiments, {})
                if all(_agrees(line, reading, found.value) for reading, found in known.items()) and "selected" in known:
                    self._elsewhere[place] = known
                else:
                    self.left_out.append(f"{names[place]}: its predictions are missing or not readable")
                continue
            for reading in READINGS:
                mine = [_of_reading(table, reading) for table in tables]
                if patients is None and reading == "selected" and len(mine[0]):
                    patients = mine[0]
                if patients is None or not all(_same_patients(patients, table) for table in mine):
                    if reading == "selected":
                        self.left_out.append(f"{names[place]}: its predictions are of other patients than those above")
                        break
                    continue
                columns[place, reading] = [np.asarray(table["risk"], dtype=float) for table in mine]
        if patients is None or not columns:
            return
        if ranking.lines[0].slides == "slide" and "owner" not in patients.columns:
            self.left_out.append(
                "no line was resampled: the predictions do not name the patients of their slides; run it again"
            )
            return
        event, fold = np.asarray(patients["event"]), np.asarray(patients["fold"])
        ranked = {key: found for key, found in columns.items() if key[1] == "selected"}
        self.resamples = _affordable(event, fold, sum(len(found) for found in ranked.values()))
        try:
            self._draw(patients, ranked, self.resamples)
            self._draw(patients, {key: found for key, found in columns.items() if key not in ranked}, RESAMPLES[-1])
        except ValueError as error:
            self.left_out.append(f"no line could be resampled: {error}")

    def _draw(self, patients: pd.DataFrame, columns: Mapping[tuple[int, str], list[Risk]], resamples: int) -> None:
        """Resample these risks together; what does not give the C-index of its rows is left out."""
        if not columns:
            return
        time, event, fold = (np.asarray(patients[name]) for name in ("time", "event", "fold"))
        # Scores of one patient are not independent: they are resampled together, or every interval would be too narrow.
        owner = np.asarray(patients["owner" if "owner" in patients.columns else "patient"], dtype=str)
        several = owner if len(set(owner)) < len(owner) else None
        risks = np.stack([risk for found in columns.values() for risk in found])
        found, start = means_over_folds(time, event, risks, fold, resamples, patient=several), 0
        for (place, reading), mine in columns.items():
            at, start = slice(start, start + len(mine)), start + len(mine)
            line = self.ranking.lines[place]
            value, expected = float(found.values[at].mean()), line.spreads[f"c_index_{reading}"].mean
            if _agrees(line, reading, value):
                self._draws[place, reading] = value, found.draws[:, at].mean(axis=1)
            elif reading == "selected":
                numbers = f"{value:.4f}, the rows say {expected:.4f}" if expected is not None else f"{value:.4f}"
                name = names_of(self.ranking.lines)[place]
                self.left_out.append(f"{name}: its predictions give a C-index of {numbers}; run it again")

    @property
    def places(self) -> tuple[int, ...]:
        """The lines that were resampled at `selected`, here or elsewhere, by place."""
        return tuple(sorted({place for place, reading in self._draws if reading == "selected"} | set(self._elsewhere)))

    def intervals(self) -> tuple[dict[str, IntervalEstimate], ...]:
        """By line, the interval of its C-index at each reading that has one."""
        found: list[dict[str, IntervalEstimate]] = []
        for place in range(len(self.ranking.lines)):
            mine = {reading: self._draws.get((place, reading)) for reading in READINGS}
            here = {reading: percentile(*resampled) for reading, resampled in mine.items() if resampled is not None}
            found.append({**self._elsewhere.get(place, {}), **here})
        return tuple(found)

    def known(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of these pairs whose difference is known; it is not where two lines were published without patients, in
        different entries."""
        resampled, published, lines = self._resampled.keys(), self.published, self.ranking.lines
        return [
            (first, second)
            for first, second in pairs
            if (first in resampled and second in resampled)
            or published.difference(lines[first].experiments, lines[second].experiments) is not None
        ]

    def pairs(self, chosen: Sequence[tuple[int, int]], among: Sequence[tuple[int, int]] | None = None) -> list[Pair]:
        """Compare pairs of lines, given by place; p-values are adjusted for all `chosen` pairs together, or for all
        `among` which they are.

        Pairs of which nothing is known are left out. Of the pairs that are only adjusted for, nothing but p-values is
        computed: that is what keeps a table of some hundred lines, with its tens of thousands of pairs, cheap.
        """
        chosen = self.known(chosen)
        among = chosen if among is None else self.known(among)
        differences = [self.difference(*pair) for pair in chosen]
        counted, chances = self._bootstrap_p(among)
        bootstrap = np.maximum(holm(chances), counted)
        tested = t_test_p(self.ranking.lines, np.array(among, dtype=np.intp).reshape(-1, 2))
        adjusted = None if tested is None else holm(tested)
        at = {pair: index for index, pair in enumerate(among)}
        return [
            Pair(
                first,
                second,
                difference,
                _t_test(self.ranking.lines[first], self.ranking.lines[second]),
                float(bootstrap[at[first, second]]),
                None if adjusted is None else float(adjusted[at[first, second]]),
                minimum_detectable_difference(difference.standard_error, ALPHA),
            )
            for (first, second), difference in zip(chosen, differences, strict=True)
            if difference is not None
        ]

    def difference(self, first: int, second: int) -> IntervalEstimate | None:
        """The difference of two lines, by place; None where it is not known."""
        one, other = self._draws.get((first, "selected")), self._draws.get((second, "selected"))
        if one is not None and other is not None:
            return percentile(one[0] - other[0], one[1] - other[1], test=True)
        lines = self.ranking.lines
        return self.published.difference(lines[first].experiments, lines[second].experiments)

    @property
    def _resampled(self) -> dict[int, tuple[float, NDArray[np.float64]]]:
        return {place: found for (place, reading), found in self._draws.items() if reading == "selected"}

    def _bootstrap_p(self, pairs: Sequence[tuple[int, int]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For pairs that are known, the p-value that counts resamples and the one to adjust."""
        counted, chances = np.ones(len(pairs)), np.ones(len(pairs))
        resampled = self._resampled
        here = np.array([set(pair) <= resampled.keys() for pair in pairs], dtype=bool)
        if here.any():
            row = {place: index for index, place in enumerate(resampled)}
            rows = np.array([(row[i], row[j]) for (i, j), known in zip(pairs, here, strict=True) if known])
            values, draws = (
                np.array([found[0] for found in resampled.values()]),
                np.stack([d for _, d in resampled.values()]),
            )
            counted[here], chances[here] = bootstrap_p(values, draws, rows, self.resamples)
        for index, (first, second) in enumerate(pairs):
            found = None if here[index] else self.difference(first, second)
            if found is not None and found.p is not None:
                counted[index] = found.p
                p, value, error = (np.array([number]) for number in (found.p, found.value, found.standard_error))
                chances[index] = to_adjust(p, value, error, self.published.resamples - found.undefined)[0]
        return counted, chances


def _agrees(line: Line, reading: str, value: float) -> bool:
    expected = line.spreads[f"c_index_{reading}"].mean
    return expected is not None and abs(value - expected) <= 1e-6


def _of_reading(table: pd.DataFrame, reading: str) -> pd.DataFrame:
    mine = np.flatnonzero(table["reading"] == reading)
    order = np.lexsort((np.asarray(table["patient"], dtype=str)[mine], np.asarray(table["fold"])[mine]))
    return pd.DataFrame(table.iloc[mine[order]]).reset_index(drop=True)


def _same_patients(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Same patients, folds, times and events in the same order; and at all comparable."""
    return len(one) == len(other) > 0 and all(
        np.array_equal(np.asarray(one[column]), np.asarray(other[column]))
        for column in ("patient", "fold", "time", "event")
    )


def _affordable(event: NDArray[np.bool_], fold: NDArray[np.float64], risks: int) -> int:
    size = sum(int(event[fold == k].sum()) * int((fold == k).sum()) for k in np.unique(fold))
    return next((count for count in RESAMPLES if count * size * (risks + 1) <= WORK), RESAMPLES[-1])


def _t_test(first: Line, second: Line) -> IntervalEstimate | None:
    if first.n_folds < 2:
        return None
    differences = np.subtract(first.folds["selected"], second.folds["selected"])
    return corrected_t_test([float(value) for value in differences], *sizes(first))


def _verdict(ranking: Ranking, pairs: Sequence[Pair], adjusted_for: int, detectable: float | None) -> str:
    names = names_of(ranking.lines)
    if not pairs:
        return "There is nothing to compare: fewer than two lines have predictions of the same patients."
    by_verdict = {
        verdict: [names[pair.second] for pair in pairs if pair.verdict == verdict]
        for verdict in (SURVIVES, AS_TRAINED, NOT_SHOWN)
    }
    baseline = ranking.lines[0].family == BASELINE
    parts = [f"{names[0]} has the highest mean" + (": no model is above the baselines." if baseline else ".")]
    if by_verdict[SURVIVES]:
        parts.append(
            f"Its lead over {_list(by_verdict[SURVIVES])} survives both tests, adjusted for {_many(adjusted_for)}."
        )
    if by_verdict[AS_TRAINED]:
        parts.append(
            f"Its lead over {_list(by_verdict[AS_TRAINED])} holds for these trained models on patients like these; "
            "that other training data would give it again is not shown."
        )
    if by_verdict[NOT_SHOWN]:
        parts.append(f"No difference is shown to {_list(by_verdict[NOT_SHOWN])}.")
    if detectable is not None:
        parts.append(
            f"A single comparison on this table detects a true difference of {detectable:.3f} with 80 % power; smaller "
            "ones it mostly misses."
        )
    return " ".join(parts)


def _many(pairs: int) -> str:
    return "one pair" if pairs == 1 else f"all {pairs} pairs of lines"


def _list(words: Sequence[str], most: int = 8) -> str:
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
