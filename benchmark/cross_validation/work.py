"""An experiment that is ready to be computed, fold by fold; one that fails leaves the others alone."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ...datasets.split import Split
from ...errors import DataError
from ...leaderboards.result_row import ResultRow
from ..cohort_data import CohortData
from ..experiment import Experiment
from ..results.folder import ResultFolder
from ..results.keeping import Keeping
from ..training.fit import Diverged
from ..training.interruption import STOP
from ..tuning.tune import NothingTrained
from .fitting import Beside, FitFold, Watcher, fitter
from .parts import oracle_c_index
from .row import describe
from .threads import threads, threads_for

_OF_NO_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "failed to map segment")
"""What torch, the system and its loader say where there is no memory; they raise errors of many kinds."""


@dataclass(frozen=True)
class Work:
    """An experiment that is ready to be computed, fold by fold.

    command: the command line that gives these numbers again; every row carries it.
    fit_fold: how a fold is computed; by the experiment's own model or baseline when None.
    facts: further fields of every row.
    keeping: which weights and checkpoints are kept; those of `Keeping()` when None.
    beside: other processes that tune a fold together with this one, while the context lasts.
    """

    experiment: Experiment
    data: CohortData
    out: Path
    command: str
    fit_fold: FitFold | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    keeping: Keeping | None = None
    beside: Beside | None = None

    @property
    def folder(self) -> ResultFolder:
        """Where its results lie."""
        return ResultFolder(self.out, self.experiment, self.keeping)

    @cached_property
    def shared(self) -> ResultRow:
        """What the rows of all folds have in common."""
        return replace(describe(self.experiment, self.data), command=self.command, **self.facts)

    def compute(self, fold: int, watcher: Watcher) -> ResultRow:
        """Compute a fold, write its files and return its row, that of a failure too.

        The same experiment, fold and kind of machine give the same numbers, whatever computes beside it: the number of
        threads is the experiment's own.

        Raises
        ------
        CannotWrite
            The output folder does not take the results.
        """
        experiment, data = self.experiment, self.data
        (split,) = (split for split in data.folds.splits if split.fold == fold)
        with threads(threads_for(experiment, data)):
            fit = self.fit_fold or fitter(experiment, data, watcher, self.folder, self.beside)
            return self._written(split, fit)

    def _written(self, split: Split, fit: FitFold) -> ResultRow:
        folder = self.folder
        row = replace(self.shared, fold=split.fold, created=_now(), oracle_c_index=oracle_c_index(self.data, split))
        with STOP.heard():
            try:
                outcome = fit(split)
            except Exception as error:
                # Bad data, diverged training, or a fault of ours or of a model: the fold is recorded as failed, the
                # others still run, and the exit status says so.
                row = replace(row, status="failed", error=_in_words(error))
                folder.write_failure(row, traceback.format_exc())
            else:
                row = outcome.complete(row)
                folder.write_fold(row, outcome)
        return row

    def failed(self, fold: int, error: str, details: str) -> ResultRow:
        """The row of a fold that failed, once its files are written. Errors: `CannotWrite`."""
        row = replace(self.shared, fold=fold, created=_now(), status="failed", error=error)
        self.folder.write_failure(row, details)
        return row


def _in_words(error: Exception) -> str:
    """Why a fold failed, in a line."""
    if isinstance(error, DataError | Diverged | NothingTrained | torch.OutOfMemoryError):
        return str(error)
    named = f"{type(error).__name__}: {error}"
    short = isinstance(error, MemoryError) or any(text in str(error) for text in _OF_NO_MEMORY)
    return f"out of memory ({named})" if short else named


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
