"""Boards as one CSV file, full precision: what a script reads."""

import csv
import io
from collections.abc import Sequence

from .ranking import Board, Line, Ranking
from .schema import METRICS, READINGS

_METRICS = [
    *(f"{metric}_{reading}" for reading in READINGS for metric in METRICS),
    "ibs_km",
    "oracle_c_index",
]
_LINE = (
    "rank", "model", "variant", "family", "scales", "backbone", "loss", "recipe", "slides", "folds_name", "n_folds",
    "parameters", "seconds", "patients", "events", "hyperparameters",
)  # fmt: skip
COLUMNS = (
    "cohort", "synthetic", "status", *_LINE, "seeds", "experiments", "labels_fingerprint", "folds_fingerprint",
    "optimism_gap", *(f"{metric}_{kind}" for metric in _METRICS for kind in ("mean", "sd", "folds")), "missing",
    "reasons",
)  # fmt: skip


def table_csv(boards: Sequence[Board]) -> str:
    """All boards as CSV text: a row per ranked line (`status` ranked) and per incomplete experiment (incomplete,
    unranked).

    `<metric>_mean` and `_sd` are over folds, `_folds` says how many folds have a value. Nothing is rounded.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for board in boards:
        place = {"cohort": board.cohort, "synthetic": board.synthetic}
        for ranking in board.rankings:
            writer.writerows({**place, **_ranked(ranking, line)} for line in ranking.lines)
        for item in board.incomplete:
            record = {key: getattr(item, key) for key in ("model", "scales", "backbone", "loss", "recipe", "n_folds")}
            record |= {"status": "incomplete", "seeds": item.seed, "experiments": item.experiment}
            missing = " ".join(str(fold) for fold in item.missing)
            writer.writerow({**place, **record, "missing": missing, "reasons": "; ".join(item.reasons)})
    return text.getvalue()


def _ranked(ranking: Ranking, line: Line) -> dict[str, object]:
    record: dict[str, object] = {key: getattr(line, key) for key in _LINE}
    record |= {
        "status": "ranked",
        "seeds": " ".join(str(seed) for seed in line.seeds),
        "experiments": " ".join(line.experiments),
        "labels_fingerprint": ranking.labels_fingerprint,
        "folds_fingerprint": ranking.folds_fingerprint,
        "optimism_gap": line.gap,
    }
    for metric in _METRICS:
        spread = line.spreads[metric]
        record |= {f"{metric}_mean": spread.mean, f"{metric}_sd": spread.sd, f"{metric}_folds": spread.n}
    return record
