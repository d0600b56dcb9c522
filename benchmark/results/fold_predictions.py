"""What is predicted of the test set of one fold, scored by every metric and laid out as lines of a table.

A trained model, a baseline and another group's table all end here, so that all are scored by the same code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...leaderboards.result_row import READINGS, ResultRow
from ...survival.metrics import METRICS, Estimate, FollowUp, NotComputable, brier_null, c_index


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
    """What one fold gives.

    Attributes
    ----------
    fields
        Its fields of the `ResultRow`.
    scores
        By reading, as `FoldPredictions.score` gives them.
    predictions
        One line a patient and reading.
    curve
        One line an epoch; none where nothing is trained by epochs.
    """

    fields: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, float | str | None]]
    predictions: list[dict[str, object]]
    curve: list[dict[str, float | int | None]] = field(default_factory=list)

    def complete(self, row: ResultRow) -> ResultRow:
        """The row of the fold, with what came of it."""
        row = replace(row, status="finished", error=None, **self.fields)
        for reading, scores in self.scores.items():
            row = row.with_scores(reading, scores)
        return row


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
    found = predictions.score()
    nothing = {key: why for metric in METRICS for key, why in ((metric.name, None), (f"why_{metric.name}", why_not))}
    fields = {
        "n_train": len(predictions.train_followup.time),
        "n_val": 0,
        "events_train": int(predictions.train_followup.event.sum()),
        "events_val": 0,
        "parameters": parameters,
        "seconds": seconds,
        **fields_of_test_set(predictions),
    }
    scores = {reading: found if reading in readings else nothing for reading in READINGS}
    return FoldOutcome(fields, scores, predictions.lines("selected"))


def fields_of_test_set(predictions: FoldPredictions) -> dict[str, Any]:
    """The fields of a row that follow from the test set's follow-up: counts, and the Brier score of Kaplan-Meier."""
    try:
        brier, reasons = brier_null(predictions.train_followup, predictions.test_followup), {}
    except NotComputable as reason:
        brier, reasons = None, {"ibs_km": str(reason)}
    return {
        "n_test": len(predictions.patients),
        "events_test": int(predictions.test_followup.event.sum()),
        "ibs_km": brier,
        "reasons": reasons,
    }


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
