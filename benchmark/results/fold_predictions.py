"""What is predicted of the test set of one fold, scored by every metric and laid out as lines of a table.

A trained model, a baseline and another group's table all end here, so that all are scored by the same code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...survival.metrics import METRICS, Estimate, FollowUp, NotComputable, brier_null, c_index

READINGS = ("selected", "last", "best")
"""`selected`: epoch chosen on the validation split, the one we rank by. `last`: the last epoch. `best`: the best epoch
on the test set, as published papers report; never ranked by."""


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions for the test set of one fold; row i of every array is `patients[i]`.

    Attributes
    ----------
    train_followup, test_followup
        Follow-up of the training set, from which the metrics learn about censoring, and of the test set.
    risk
        (n,), higher = earlier death.
    survival, edges
        (n, m) probabilities of being alive at (m,) months; None where only risks are known.
    high
        (n,) bool, the risk groups; None where they are not known.
    owner
        The patient of each slide, where slides are scored and `patients` are slides; else empty.
    """

    fold: int
    patients: tuple[str, ...]
    train_followup: FollowUp
    test_followup: FollowUp
    risk: NDArray[np.float64]
    survival: NDArray[np.float64] | None = None
    edges: NDArray[np.float64] | None = None
    high: NDArray[np.bool_] | None = None
    owner: Mapping[str, str] = field(default_factory=dict)

    def score(self) -> dict[str, float | str | None]:
        """Every metric by its name; where one has no value it is None, and `why_<name>` says why."""
        high = np.zeros(len(self.risk), dtype=bool) if self.high is None else self.high
        edges = np.ones(1) if self.edges is None else self.edges
        survival = np.full((len(self.risk), len(edges)), 0.5) if self.survival is None else self.survival
        estimate = Estimate(self.risk, survival, edges, high)
        scores: dict[str, float | str | None] = {}
        for metric in METRICS:
            lacks = need_of(metric.name)
            try:
                if lacks and getattr(self, lacks) is None:
                    words = "survival probabilities" if lacks == "survival" else "risk groups"
                    raise NotComputable(f"no {words} were given")
                scores[metric.name] = metric.score(self.train_followup, self.test_followup, estimate)
            except NotComputable as reason:
                scores |= {metric.name: None, f"why_{metric.name}": str(reason)}
        return scores

    def lines(self, reading: str) -> list[dict[str, object]]:
        """One line a patient, as `predictions.csv` holds them."""
        groups = [""] * len(self.risk) if self.high is None else ["high" if high else "low" for high in self.high]
        lines: list[dict[str, object]] = []
        for i, patient in enumerate(self.patients):
            line: dict[str, object] = {
                "patient": patient,
                **({"owner": self.owner[patient]} if self.owner else {}),
                "fold": self.fold,
                "reading": reading,
                "time": float(self.test_followup.time[i]),
                "event": int(self.test_followup.event[i]),
                "risk": float(self.risk[i]),
                "risk_group": groups[i],
            }
            if self.survival is not None and self.edges is not None:
                line |= {f"edge_{j + 1}": float(edge) for j, edge in enumerate(self.edges)}
                line |= {f"survival_{j + 1}": float(s) for j, s in enumerate(self.survival[i])}
            lines.append(line)
        return lines


@dataclass(frozen=True)
class FoldOutcome:
    """What one fold gives: `row`, its part of the result row; `predictions`, one line a patient and reading; `curve`,
    one line an epoch (none where nothing is trained by epochs).
    """

    row: dict[str, object]
    predictions: list[dict[str, object]]
    curve: list[dict[str, float | int | None]] = field(default_factory=list)


def outcome_of(
    predictions: FoldPredictions,
    readings: Sequence[str],
    why_not: str,
    parameters: int | None = None,
    seconds: float | None = None,
) -> FoldOutcome:
    """The outcome of a fold that was not trained by epochs.

    Parameters
    ----------
    readings
        Those that these predictions stand for; the others have no value, because of `why_not`.
    parameters, seconds
        Of the fit; None where unknown.
    """
    row: dict[str, object] = {}
    scores = predictions.score()
    for metric in METRICS:
        for reading in READINGS:
            stands = reading in readings
            row[f"{metric.name}_{reading}"] = scores[metric.name] if stands else None
            why = scores.get(f"why_{metric.name}") if stands else why_not
            if why:
                row[f"why_{metric.name}_{reading}"] = why
    row |= row_of_test_set(predictions) | {
        "n_train": len(predictions.train_followup.time),
        "n_val": 0,
        "events_train": int(predictions.train_followup.event.sum()),
        "events_val": 0,
        "epochs": None,
        **{f"epoch_{reading}": None for reading in READINGS},
        "parameters": parameters,
        "seconds": seconds,
    }
    return FoldOutcome(row, predictions.lines("selected"))


def row_of_test_set(predictions: FoldPredictions) -> dict[str, object]:
    """The part of a row that follows from the follow-up alone: counts, and the Brier score of Kaplan-Meier."""
    row: dict[str, object] = {
        "n_test": len(predictions.patients),
        "events_test": int(predictions.test_followup.event.sum()),
    }
    try:
        row["ibs_km"] = brier_null(predictions.train_followup, predictions.test_followup)
    except NotComputable as reason:
        row |= {"ibs_km": None, "why_ibs_km": str(reason)}
    return row


def c_index_or_none(followup: FollowUp, risk: Sequence[float] | NDArray[np.float64]) -> float | None:
    """Harrell's C-index of these risks; None without a comparable pair."""
    try:
        return c_index(followup.time, followup.event, np.asarray(risk))
    except NotComputable:
        return None


def need_of(metric: str) -> str | None:
    """What a metric needs beside risks: `survival` probabilities, `high` risk groups, or nothing."""
    if metric == "logrank_p":
        return "high"
    return "survival" if metric.startswith(("ibs", "ici", "d_calibration")) else None
