"""A fold as clinical curves need it, from the lines of its predictions.csv."""

from collections.abc import Mapping, Sequence

import numpy as np

from ...survival.clinical_curves import ScoredFold
from ...survival.followup import FollowUp, Prediction


def read_fold(fold: int, train: FollowUp, lines: Sequence[Mapping[str, str]]) -> ScoredFold:
    """A fold from the lines of its predictions.csv at one reading."""
    width = sum(name.startswith("edge_") and bool(value) for name, value in lines[0].items())

    def numbers(name: str) -> np.ndarray:
        return np.array([float(line[name]) for line in lines])

    survival = [numbers(f"survival_{j + 1}") for j in range(width)]
    prediction = Prediction(
        risk=numbers("risk"),
        survival=np.stack(survival, axis=1) if width else None,
        edges=np.array([float(lines[0][f"edge_{j + 1}"]) for j in range(width)]) if width else None,
        high=np.array([line["risk_group"] == "high" for line in lines]),
    )
    return ScoredFold(fold, train, FollowUp(numbers("time"), numbers("event") == 1), prediction)
