"""Rows gathered to experiments: each is complete, or incomplete with what is missing and why."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .result_row import ResultRow

# What all folds of one experiment share.
_SHARED = (
    "model", "family", "scales", "cohort", "synthetic", "backbone", "loss", "recipe", "slides", "folds_name", "n_folds",
    "seed", "hyperparameters", "covariates",
)  # fmt: skip
_SHARED_BY_FINISHED = ("labels_fingerprint", "folds_fingerprint", "patients", "events")


@dataclass(frozen=True)
class CompleteExperiment:
    """Every fold is finished and has a C-index at `selected`. `rows` are sorted by fold."""

    rows: tuple[ResultRow, ...]

    @property
    def row(self) -> ResultRow:
        """The first fold's row: what all folds share is read from it."""
        return self.rows[0]

    @property
    def line_key(self) -> tuple:
        """What experiments of one line share: everything but the seed."""
        row = self.row
        features = tuple(row.features_fingerprint for row in self.rows)
        # What another protocol computed is another line: its numbers differ though its settings do not.
        settings = (
            row.protocol,
            row.label,
            row.scales,
            row.backbone,
            row.loss,
            row.recipe,
            row.slides,
            row.folds_name,
            row.n_folds,
        )
        return (*settings, json.dumps(row.settings, sort_keys=True), features)


@dataclass(frozen=True)
class IncompleteExperiment:
    """An experiment that is not ranked: how many folds are finished, which are `missing`, and the `reasons`.

    row: its first row; what all folds share is read from it.
    """

    row: ResultRow
    finished: int
    missing: tuple[int, ...]
    reasons: tuple[str, ...]


def gather_experiments(rows: Iterable[ResultRow]) -> tuple[list[CompleteExperiment], list[IncompleteExperiment]]:
    """Complete and incomplete experiments among the rows, each sorted by experiment id."""
    groups: dict[str, list[ResultRow]] = {}
    for row in rows:
        groups.setdefault(row.experiment, []).append(row)
    complete, incomplete = [], []
    for _, group in sorted(groups.items()):
        group.sort(key=lambda row: row.fold)
        missing, reasons = _lacks(group)
        if reasons:
            finished = group[0].n_folds - len(missing)
            incomplete.append(IncompleteExperiment(group[0], finished, missing, reasons))
        else:
            complete.append(CompleteExperiment(tuple(group)))
    return complete, incomplete


def _lacks(group: Sequence[ResultRow]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Folds that have no usable row, and what is wrong, in words. Both are empty for a complete experiment."""
    missing: list[int] = []
    reasons: list[str] = []
    mixed = [key for key in _SHARED if len({getattr(row, key) for row in group}) > 1]
    finished = [row for row in group if row.finished]
    mixed += [key for key in _SHARED_BY_FINISHED if len({getattr(row, key) for row in finished}) > 1]
    if mixed:
        reasons.append(f"folds of one experiment disagree on {', '.join(mixed)}; delete them and run it again")
    by_fold = {row.fold: row for row in group}
    for fold in range(group[0].n_folds):
        row = by_fold.get(fold)
        if row is None:
            reasons.append(f"fold {fold}: not run")
        elif row.status == "running":
            reasons.append(f"fold {fold}: still running, or interrupted")
        elif row.status == "failed":
            reasons.append(f"fold {fold}: failed: {row.error or 'no error was recorded'}")
        elif row.score("c_index_selected") is None:
            why = row.reasons.get("c_index_selected") or "no reason was recorded"
            reasons.append(f"fold {fold}: finished without a C-index: {why}")
        else:
            continue
        missing.append(fold)
    return tuple(missing), tuple(reasons)
