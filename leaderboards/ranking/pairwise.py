"""Pairs of lines that a user chooses. What is shown of them is what their ranking shows, whichever are chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from ...errors import RowError
from .board import Board, Line, Ranking, names_of
from .comparisons import Errors
from .evidence import Pair, how
from .published_evidence import NO_EVIDENCE, PublishedEvidence


@dataclass(frozen=True)
class Compared:
    """The pairs of one ranking. `names` are those of its lines; `compared` is how many pairs p-values are adjusted for;
    `notes` say how, and what was left out."""

    title: str
    names: tuple[str, ...]
    experiments: tuple[tuple[str, ...], ...]
    folds_name: str
    synthetic: bool
    compared: int
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """As plain values."""
        return {
            "folds": self.folds_name,
            "synthetic": self.synthetic,
            "adjusted_over_pairs": self.compared,
            "pairs": [self._pair(pair) for pair in self.pairs],
            "notes": list(self.notes),
        }

    def _pair(self, pair: Pair) -> dict[str, object]:
        return {
            "first": self.names[pair.first],
            "second": self.names[pair.second],
            "experiments": [list(self.experiments[place]) for place in (pair.first, pair.second)],
            "difference": pair.difference.value,
            "low": pair.difference.low,
            "high": pair.difference.high,
            "standard_error": pair.difference.standard_error,
            "degrees_of_freedom": pair.difference.df,
            "p": pair.difference.p,
            "p_adjusted": pair.p_adjusted,
            "probability_above_0.01": pair.difference.notable,
            "detectable": pair.detectable,
            "provisional": pair.provisional,
            "verdict": pair.verdict,
        }


def pairwise(
    boards: Sequence[Board],
    predictions: Mapping[str, pd.DataFrame],
    cohort: str,
    models: Sequence[str] = (),
    published: PublishedEvidence = NO_EVIDENCE,
) -> tuple[Compared, ...]:
    """Compare lines of a cohort, each ranking (and a synthetic cohort) apart.

    models: none for all pairs; one for all pairs that it is in; two for the pairs between them. A name is that of a
    model (all its lines), of one line, or of an experiment.
    Errors: `RowError` for a cohort without complete experiments, a name of no line, or more than two names.
    """
    if len(models) > 2:
        raise RowError(f"--model was given {len(models)} times; give two models, one, or none")
    mine = [board for board in boards if board.cohort.lower() == cohort.lower() and board.rankings]
    if not mine:
        known = ", ".join(sorted({board.cohort for board in boards if board.rankings})) or "none"
        raise RowError(f"no complete experiment on {cohort}; cohorts with results: {known}")
    rankings = [(board, ranking) for board in mine for ranking in board.rankings]
    names = sorted({name for _, ranking in rankings for name in names_of(ranking.lines)})
    for model in models:
        if not any(_is(model, line, name) for _, ranking in rankings for line, name in _named(ranking)):
            raise RowError(f"no line on {cohort} is called {model!r}; there are {', '.join(names)}")
    return tuple(_compared(board, ranking, predictions, models, published) for board, ranking in rankings)


def _compared(
    board: Board,
    ranking: Ranking,
    predictions: Mapping[str, pd.DataFrame],
    models: Sequence[str],
    published: PublishedEvidence,
) -> Compared:
    errors = Errors(ranking, predictions, published)
    named = _named(ranking)
    chosen = [{place for place, (line, name) in enumerate(named) if _is(model, line, name)} for model in models]
    pairs = [pair for pair in combinations(errors.places, 2) if _is_chosen(pair, chosen)]
    compared = len(errors.every)
    notes = [how(compared)] if pairs else ["no two lines to compare."]
    notes += [f"Left out: {reason}." for reason in errors.left_out]
    # With a name given, its line comes first, so that a positive difference speaks for it.
    ordered = [(b, a) if chosen and b in chosen[0] and a not in chosen[0] else (a, b) for a, b in pairs]
    return Compared(
        f"{board.title}: {len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'} compared, folds {ranking.folds_name}",
        names_of(ranking.lines),
        tuple(line.experiments for line in ranking.lines),
        ranking.folds_name,
        board.synthetic,
        compared,
        tuple(errors.pairs(ordered)),
        tuple(notes),
    )


def _is_chosen(pair: tuple[int, int], chosen: Sequence[set[int]]) -> bool:
    if not chosen:
        return True
    if len(chosen) == 1:
        return bool(chosen[0] & set(pair))
    (one, other), (first, second) = pair, chosen
    return (one in first and other in second) or (one in second and other in first)


def _named(ranking: Ranking) -> list[tuple[Line, str]]:
    return list(zip(ranking.lines, names_of(ranking.lines), strict=True))


def _is(model: str, line: Line, name: str) -> bool:
    return model in (line.method, line.label, name, *line.experiments)
