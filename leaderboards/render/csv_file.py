"""Boards as one CSV file, full precision: what a script reads."""

import csv
import io
import json
from collections.abc import Sequence

from ..external_result import ExternalResult
from ..ranking.board import Board, Ranking
from ..ranking.evidence import Pair
from ..result_row import READINGS, score_columns
from .spreadsheets import harmless

_LINE = (
    "rank", "model", "variant", "family", "scales", "backbone", "loss", "recipe", "slides", "folds_name", "n_folds",
    "parameters", "seconds", "patients", "events", "hyperparameters",
)  # fmt: skip
_PAIR = ("", "_low", "_high", "_p", "_p_adjusted", "_above_0.01", "_detectable", "_verdict")
_EVIDENCE = (
    *(f"c_index_{reading}_{end}" for reading in READINGS for end in ("low", "high")), "sd_between_folds",
    "sd_between_seeds", "may_be_best", "provisional", "pairs_compared",
    *(f"{what}{rest}" for what in ("behind_leader", "over_baseline", "over_untuned") for rest in _PAIR),
    "tuned_settings",
)  # fmt: skip
_EXTERNAL = (
    "kind", "cohort", "synthetic", "experiment", "model", "trained_on", "scales", "backbone", "loss", "recipe", "seed",
    "n_folds", "endpoint", "patients", "events", "seen", "left_out",
)  # fmt: skip


def columns() -> tuple[str, ...]:
    """The columns of the file: every metric of the registry at every reading has three."""
    scores = (f"{column}_{kind}" for column in score_columns() for kind in ("mean", "sd", "folds"))
    return (
        "cohort", "synthetic", "status", *_LINE, "seeds", "experiments", "labels_fingerprint", "folds_fingerprint",
        "optimism_gap", *_EVIDENCE, *scores, "missing", "reasons",
    )  # fmt: skip


def table_csv(boards: Sequence[Board]) -> str:
    """All boards as CSV text: a row per ranked line (`status` ranked) and per incomplete experiment (incomplete,
    unranked).

    `<metric>_mean` and `_sd` are over folds, `_folds` says how many folds have a value; `_low` and `_high` bound the
    95 % interval; `behind_leader` is the leader's C-index minus this line's; `over_baseline` this line's minus that of
    the clinical baseline; `over_untuned` a tuned line's minus that of the same without tuning; `_p` is of the pair
    alone, `_p_adjusted` for all `pairs_compared`; `tuned_settings` is the JSON text of what was chosen for its folds.
    Nothing is rounded.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(), restval="", lineterminator="\n")
    writer.writeheader()
    for board in boards:
        place = {"cohort": board.cohort, "synthetic": board.synthetic}
        for ranking in board.rankings:
            writer.writerows(_safe({**place, **_ranked(ranking, number)}) for number in range(len(ranking.lines)))
        for item in board.incomplete:
            row = item.row
            record = {key: getattr(row, key) for key in ("model", "scales", "backbone", "loss", "recipe", "n_folds")}
            record |= {"status": "incomplete", "seeds": row.seed, "experiments": row.experiment}
            missing = " ".join(str(fold) for fold in item.missing)
            writer.writerow(_safe({**place, **record, "missing": missing, "reasons": "; ".join(item.reasons)}))
    return text.getvalue()


def _safe(record: dict[str, object]) -> dict[str, object]:
    return {key: harmless(value) if isinstance(value, str) else value for key, value in record.items()}


def _evidence(ranking: Ranking, number: int) -> dict[str, object]:
    line, evidence = ranking.lines[number], ranking.evidence
    record: dict[str, object] = {}
    if line.split is not None:
        record["sd_between_folds"], record["sd_between_seeds"] = line.split
    if line.tuned:
        record["tuned_settings"] = json.dumps([row.chosen for row in line.rows])
    if evidence is None:
        return record
    record |= {
        "may_be_best": number in evidence.best,
        "provisional": number in evidence.provisional,
        "pairs_compared": evidence.compared,
    }
    for reading, found in evidence.intervals[number].items():
        record |= {f"c_index_{reading}_low": found.low, f"c_index_{reading}_high": found.high}
    pairs = {
        "behind_leader": next((pair for pair in evidence.pairs if pair.second == number), None),
        "over_baseline": evidence.against_baseline(number),
        "over_untuned": next((pair for pair in evidence.tuned if pair.first == number), None),
    }
    for what, pair in pairs.items():
        record |= {} if pair is None else {f"{what}{rest}": value for rest, value in _pair(pair).items()}
    return record


def _pair(pair: Pair) -> dict[str, object]:
    found = pair.difference
    values = (found.value, found.low, found.high, found.p, pair.p_adjusted, found.notable, pair.detectable)
    return dict(zip(_PAIR, (*values, pair.verdict), strict=True))


def _ranked(ranking: Ranking, number: int) -> dict[str, object]:
    line = ranking.lines[number]
    record: dict[str, object] = {key: getattr(line, key) for key in _LINE}
    record |= {
        "status": "ranked",
        "seeds": " ".join(str(seed) for seed in line.seeds),
        "experiments": " ".join(line.experiments),
        "labels_fingerprint": ranking.labels_fingerprint,
        "folds_fingerprint": ranking.folds_fingerprint,
        "optimism_gap": line.gap,
        **_evidence(ranking, number),
    }
    for column, spread in line.spreads.items():
        record |= {f"{column}_mean": spread.mean, f"{column}_sd": spread.sd, f"{column}_folds": spread.n}
    return record


def external_csv(results: Sequence[ExternalResult]) -> str:
    """External validations as CSV text, a row a model that scored: `fold-0`, … and `ensemble`; empty without any.

    `internal`, `external` and `drop` belong to the experiment and repeat in its rows; `_low` and `_high` bound the 95 %
    interval. Nothing is rounded.
    """
    rows: list[dict[str, object]] = []
    for one in results:
        shared: dict[str, object] = {name: getattr(one, name) for name in _EXTERNAL}
        for name in ("internal", "external", "drop"):
            if (found := getattr(one, name)) is not None:
                shared |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        for scored_by, scores in one.scores.items():
            row = shared | {"scored_by": scored_by} | dict(scores)
            if scored_by == "ensemble":
                for metric, (low, high) in one.intervals.items():
                    row |= {f"{metric}_low": low, f"{metric}_high": high}
            rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(c for row in rows for c in row)), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_safe, rows))
    return text.getvalue() if rows else ""
