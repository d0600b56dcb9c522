"""An experiment that is over: the rows of its folds, their means, and what `--json` prints."""

from dataclasses import dataclass

from ...leaderboards.result_row import READINGS, ResultRow
from ..experiment import Experiment


@dataclass(frozen=True)
class Finished:
    """An experiment and the rows of its folds."""

    experiment: Experiment
    rows: list[ResultRow]

    @property
    def complete(self) -> bool:
        """True when no fold failed."""
        return all(row.finished for row in self.rows)

    def mean(self, column: str) -> float | None:
        """The mean over all folds; None when one of them has no value, since fewer folds are another number."""
        values = [value for row in self.rows if (value := row.score(column)) is not None]
        return sum(values) / len(values) if len(values) == self.experiment.n_folds else None

    def summary(self) -> dict[str, object]:
        """What `--json` prints.

        Metrics without a value are null, and `why` says why; a mean is null unless every fold has a value.
        """
        return {
            "experiment": self.experiment.id,
            "model": self.experiment.model,
            **({"covariates": list(self.experiment.covariates)} if self.experiment.covariates else {}),
            "cohort": self.experiment.cohort,
            "backbone": self.experiment.backbone,
            "synthetic": self.experiment.synthetic,
            "seed": self.experiment.seed,
            "folds": [row.summary() for row in self.rows],
            "mean": {reading: self.mean(f"c_index_{reading}") for reading in READINGS},
            "oracle": self.mean("oracle_c_index"),
        }
