"""What is predicted of the test set of one fold, scored by every metric and laid out as lines of a table.

A trained model, a baseline and another group's table all end here, so that all are scored by the same code.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...leaderboards.result_row import READINGS, ResultRow
from ...survival.concordance import c_index
from ...survival.followup import FollowUp, NotComputable, Prediction
from ...survival.metrics import METRICS, brier_null, score_all, truncation_time


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions for the test set of one fold.

    Attributes
    ----------
    patients
        Who is predicted; row i of every array is `patients[i]`.
    train_followup, test_followup
        Follow-up of the training set, from which the metrics learn about censoring, and of the test set.
    prediction
        Risks, and survival and risk groups where they are known.
    owner
        The patient of each slide, where slides are scored and `patients` are slides; else empty.
    """

    fold: int
    patients: tuple[str, ...]
    train_followup: FollowUp
    test_followup: FollowUp
    prediction: Prediction
    owner: Mapping[str, str] = field(default_factory=dict)

    def score(self) -> dict[str, float | str | None]:
        """Every metric by its name; where one has no value it is None, and `why_<name>` says why."""
        return score_all(self.train_followup, self.test_followup, self.prediction)

    def lines(self, reading: str) -> list[dict[str, object]]:
        """One line a patient, as `predictions.csv` holds them."""
        risk, high = self.prediction.risk, self.prediction.high
        survival, edges = self.prediction.survival, self.prediction.edges
        lines: list[dict[str, object]] = []
        for i, patient in enumerate(self.patients):
            line: dict[str, object] = {
                "patient": patient,
                **({"owner": self.owner[patient]} if self.owner else {}),
                "fold": self.fold,
                "reading": reading,
                "time": float(self.test_followup.time[i]),
                "event": int(self.test_followup.event[i]),
                "risk": float(risk[i]),
                "risk_group": "" if high is None else ("high" if high[i] else "low"),
            }
            if survival is not None and edges is not None:
                line |= {f"edge_{j + 1}": float(edge) for j, edge in enumerate(edges)}
                line |= {f"survival_{j + 1}": float(s) for j, s in enumerate(survival[i])}
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
    weights
        By reading, the file that `results.weights` makes of them; none where none are kept.
    """

    fields: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, float | str | None]]
    predictions: list[dict[str, object]]
    curve: list[dict[str, float | int | None]] = field(default_factory=list)
    weights: Mapping[str, bytes] = field(default_factory=dict)

    def complete(self, row: ResultRow) -> ResultRow:
        """The row of the fold, with what came of it."""
        kept = hashlib.sha256(self.weights["selected"]).hexdigest() if "selected" in self.weights else None
        row = replace(row, status="finished", error=None, weights_fingerprint=kept, **self.fields)
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
    nothing = {key: why for name in METRICS for key, why in ((name, None), (f"why_{name}", why_not))}
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
    """The fields of a row that follow from follow-up alone: counts, truncation time, Brier score of Kaplan-Meier."""
    try:
        brier, reasons = brier_null(predictions.train_followup, predictions.test_followup), {}
    except NotComputable as reason:
        brier, reasons = None, {"ibs_km": str(reason)}
    return {
        "n_test": len(predictions.patients),
        "events_test": int(predictions.test_followup.event.sum()),
        "ibs_km": brier,
        "truncation_months": truncation_time(predictions.train_followup),
        "reasons": reasons,
    }


def c_index_or_none(followup: FollowUp, risk: Sequence[float] | NDArray[np.float64]) -> float | None:
    """Harrell's C-index of these risks; None without a comparable pair."""
    try:
        return c_index(followup.time, followup.event, np.asarray(risk))
    except NotComputable:
        return None
