"""How much each patient moves the C-indices of an experiment: of one file of predictions it is computed once.

It follows from the experiment and from who is tested, not from the other lines of a board, so that one more line costs
no more than its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ...survival.influence import influences
from ..cache.predictions import fingerprint, table_fingerprint
from ..cache.store import Cache
from ..result_row import READINGS

_SHARED = ("patient", "fold", "time", "event")


@dataclass(frozen=True)
class Moved:
    """The C-index of one experiment at one reading, and how much each patient moves it, (p,)."""

    value: float
    patients: tuple[float, ...]


@dataclass(frozen=True)
class Tested:
    """Who is tested, by fold and patient: all lines that are compared have the same rows of this `table`."""

    table: pd.DataFrame

    @property
    def owners_known(self) -> bool:
        """Whether the table says whose slides its scores are of."""
        return "owner" in self.table.columns

    @cached_property
    def fingerprint(self) -> str:
        """The same for the same patients, folds and outcomes."""
        return table_fingerprint(pd.DataFrame(self.table[[*_SHARED, *["owner"] * self.owners_known]]))

    def same(self, other: pd.DataFrame) -> bool:
        """Whether another table has the same patients, folds, times and events in the same order, and any at all."""
        return len(self.table) == len(other) > 0 and all(
            np.array_equal(np.asarray(self.table[column]), np.asarray(other[column])) for column in _SHARED
        )

    def moved(self, table: pd.DataFrame) -> dict[str, Moved]:
        """By reading, what the patients move of one experiment; without readings that are of other patients.

        Raises ValueError as `influences` does.
        """
        own = {reading: of_reading(table, reading) for reading in READINGS}
        risks = {reading: np.asarray(one["risk"], dtype=float) for reading, one in own.items() if self.same(one)}
        if not risks:
            return {}
        time, event, fold = (np.asarray(self.table[name]) for name in ("time", "event", "fold"))
        # Scores of one patient are not independent: they come together, or every interval would be too narrow.
        owner = np.asarray(self.table["owner" if self.owners_known else "patient"], dtype=str)
        repeated = len(set(owner)) < len(owner)
        found = influences(time, event, np.stack(list(risks.values())), fold, owner if repeated else None)
        return {
            reading: Moved(float(value), tuple(patients.tolist()))
            for reading, value, patients in zip(risks, found.values, found.patients, strict=True)
        }


def cached_influence(
    name: str, predictions: Mapping[str, pd.DataFrame], tested: Tested, cache: Cache
) -> dict[str, Moved]:
    """`Tested.moved` of the experiment `name`, whose file is read only where it is not stored."""
    return cache.get(
        dict[str, Moved],
        "influence",
        lambda: [fingerprint(predictions, name), tested.fingerprint],
        lambda: tested.moved(predictions[name]),
    )


def of_reading(table: pd.DataFrame, reading: str) -> pd.DataFrame:
    """The rows of one reading, by fold and patient."""
    mine = np.flatnonzero(table["reading"] == reading)
    order = np.lexsort((np.asarray(table["patient"], dtype=str)[mine], np.asarray(table["fold"])[mine]))
    return pd.DataFrame(table.iloc[mine[order]]).reset_index(drop=True)
