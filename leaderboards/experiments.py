"""Rows gathered to experiments, and each experiment judged: complete, or incomplete with what is missing and why."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .rows import Row

# What all folds of one experiment share.
_SHARED = (
    "model", "family", "scales", "cohort", "synthetic", "backbone", "loss", "recipe", "slides", "folds_name", "n_folds",
    "seed", "hyperparameters",
)  # fmt: skip
_COMPARED = ("labels_fingerprint", "folds_fingerprint", "patients", "events")


@dataclass(frozen=True)
class Attempt:
    """A complete experiment: every fold is finished and has a C-index at `selected`. `rows` are sorted by fold."""

    experiment: str
    cohort: str
    synthetic: bool
    seed: int
    n_folds: int
    labels_fingerprint: str
    folds_fingerprint: str
    rows: tuple[Row, ...]

    @property
    def row(self) -> Row:
        """The first fold's row: what all folds share is read from it."""
        return self.rows[0]

    @property
    def line_key(self) -> tuple:
        """What experiments of one line share: everything but the seed."""
        row = self.row
        hyperparameters = json.dumps(json.loads(row["hyperparameters"]), sort_keys=True)
        features = tuple(row.get("features_fingerprint") for row in self.rows)
        named = tuple(
            row[key] for key in ("model", "scales", "backbone", "loss", "recipe", "slides", "folds_name", "n_folds")
        )
        return (*named, hyperparameters, features)


@dataclass(frozen=True)
class Incomplete:
    """An experiment that is not ranked: how many folds are finished, which are `missing`, and the `reasons`."""

    experiment: str
    model: str
    scales: str | None
    backbone: str | None
    loss: str | None
    recipe: str | None
    cohort: str
    synthetic: bool
    seed: int
    finished: int
    n_folds: int
    missing: tuple[int, ...]
    reasons: tuple[str, ...]
    command: str | None


def attempts(rows: Iterable[Row]) -> tuple[list[Attempt], list[Incomplete]]:
    """Complete and incomplete experiments among the rows, each sorted by experiment id."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["experiment"], []).append(row)
    done, open_ = [], []
    for experiment, group in sorted(groups.items()):
        group.sort(key=lambda row: row["fold"])
        missing, reasons = _lacks(group)
        first = group[0]
        if not reasons:
            done.append(
                Attempt(
                    experiment,
                    first["cohort"],
                    first["synthetic"],
                    first["seed"],
                    first["n_folds"],
                    first["labels_fingerprint"],
                    first["folds_fingerprint"],
                    tuple(group),
                )
            )
            continue
        open_.append(
            Incomplete(
                experiment=experiment,
                **{
                    key: first[key]
                    for key in (
                        "model",
                        "scales",
                        "backbone",
                        "loss",
                        "recipe",
                        "cohort",
                        "synthetic",
                        "seed",
                    )
                },
                finished=first["n_folds"] - len(missing),
                n_folds=first["n_folds"],
                missing=missing,
                reasons=reasons,
                command=first.get("command"),
            )
        )
    return done, open_


def _lacks(group: Sequence[Row]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Folds that have no usable row, and what is wrong, in words. Both are empty for a complete experiment."""
    first = group[0]
    missing: list[int] = []
    reasons: list[str] = []
    mixed = [key for key in _SHARED if len({row[key] for row in group}) > 1]
    finished = [row for row in group if row["status"] == "finished"]
    mixed += [key for key in _COMPARED if len({row[key] for row in finished}) > 1]
    if mixed:
        reasons.append(f"folds of one experiment disagree on {', '.join(mixed)}; delete them and run it again")
    by_fold = {row["fold"]: row for row in group}
    for fold in range(first["n_folds"]):
        row = by_fold.get(fold)
        if row is None:
            reasons.append(f"fold {fold}: not run")
        elif row["status"] == "running":
            reasons.append(f"fold {fold}: still running, or interrupted")
        elif row["status"] == "failed":
            reasons.append(f"fold {fold}: failed: {row.get('error') or 'no error was recorded'}")
        elif row["c_index_selected"] is None:
            why = row.get("why_c_index_selected") or "no reason was recorded"
            reasons.append(f"fold {fold}: finished without a C-index: {why}")
        else:
            continue
        missing.append(fold)
    return tuple(missing), tuple(reasons)
