"""Boards as one CSV file, full precision: what a script reads."""

import csv
import io
import json
from collections.abc import Sequence

from ..external_result import ExternalResult
from ..ranking.board import Board, Ranking
from ..result_row import READINGS, score_columns

_LINE = (
    "rank", "model", "variant", "family", "scales", "backbone", "loss", "recipe", "slides", "folds_name", "n_folds",
    "parameters", "seconds", "patients", "events", "hyperparameters",
)  # fmt: skip
_EVIDENCE = (
    *(f"c_index_{reading}_{end}" for reading in READINGS for end in ("low", "high")), "resamples", "sd_between_folds",
    "sd_between_seeds", "below_baseline", "behind_leader", "behind_leader_low", "behind_leader_high",
    "behind_leader_p_bootstrap_holm", "behind_leader_p_t_test_holm", "behind_leader_detectable",
    "behind_leader_verdict", "over_untuned", "over_untuned_low", "over_untuned_high", "over_untuned_p_bootstrap_holm",
    "over_untuned_p_t_test_holm", "over_untuned_verdict", "tuned_settings",
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
    95 % interval; `behind_leader` is the leader's C-index minus this line's; `over_untuned` is a tuned line's
    minus that of the same without tuning; `tuned_settings` is the JSON text of what was chosen for its folds. Nothing
    is rounded.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(), restval="", lineterminator="\n")
    writer.writeheader()
    for board in boards:
        place = {"cohort": board.cohort, "synthetic": board.synthetic}
        for ranking in board.rankings:
            writer.writerows({**place, **_ranked(ranking, number)} for number in range(len(ranking.lines)))
        for item in board.incomplete:
            row = item.row
            record = {key: getattr(row, key) for key in ("model", "scales", "backbone", "loss", "recipe", "n_folds")}
            record |= {"status": "incomplete", "seeds": row.seed, "experiments": row.experiment}
            missing = " ".join(str(fold) for fold in item.missing)
            writer.writerow({**place, **record, "missing": missing, "reasons": "; ".join(item.reasons)})
    return text.getvalue()


def _evidence(ranking: Ranking, number: int) -> dict[str, object]:
    line, evidence = ranking.lines[number], ranking.evidence
    record: dict[str, object] = {"below_baseline": number in ranking.below_baseline if ranking.baseline else ""}
    if line.split is not None:
        record["sd_between_folds"], record["sd_between_seeds"] = line.split
    if line.tuned:
        record["tuned_settings"] = json.dumps([row.chosen for row in line.rows])
    if evidence is None:
        return record
    for pair in evidence.tuned:
        if pair.first == number:
            record |= {
                "over_untuned": pair.difference.value,
                "over_untuned_low": pair.difference.low,
                "over_untuned_high": pair.difference.high,
                "over_untuned_p_bootstrap_holm": pair.p_bootstrap,
                "over_untuned_p_t_test_holm": pair.p_t,
                "over_untuned_verdict": pair.verdict,
            }
    record["resamples"] = evidence.resamples or ""
    for reading, found in evidence.intervals[number].items():
        record |= {f"c_index_{reading}_low": found.low, f"c_index_{reading}_high": found.high}
    for pair in evidence.pairs:
        if pair.second == number:
            record |= {
                "behind_leader": pair.difference.value,
                "behind_leader_low": pair.difference.low,
                "behind_leader_high": pair.difference.high,
                "behind_leader_p_bootstrap_holm": pair.p_bootstrap,
                "behind_leader_p_t_test_holm": pair.p_t,
                "behind_leader_detectable": pair.detectable,
                "behind_leader_verdict": pair.verdict,
            }
    return record


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
    writer.writerows(rows)
    return text.getvalue() if rows else ""
