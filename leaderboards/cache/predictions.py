"""Predictions of many experiments, each read when it is first needed, and known by the fingerprint of its file."""

import hashlib
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from ...errors import RowError
from ...files import read_regular
from ..predictions import LARGEST, contradictions, read_predictions
from ..result_row import READINGS, ResultRow
from ..rows import Problem
from .store import Cache


class CachedPredictions(Mapping[str, pd.DataFrame]):
    """By experiment id, the table of its `predictions.csv`; `problems` lists the files that are missing or damaged.

    Every file is read once to be checked, and the C-indices of the experiment's `rows` against it; with a cache, a file
    that was checked before is only read when its table is needed. `contradicted` are the experiments whose rows say
    something else than their predictions.
    """

    def __init__(
        self, folders: Mapping[str, Path], experiments: Iterable[str], cache: Cache, rows: Iterable[ResultRow] = ()
    ) -> None:
        self.problems: list[Problem] = []
        self.contradicted: set[str] = set()
        mine: dict[str, list[ResultRow]] = {}
        for row in rows:
            mine.setdefault(row.experiment, []).append(row)
        self._fingerprints: dict[str, str] = {}
        self._paths: dict[str, Path] = {}
        self._tables: dict[str, pd.DataFrame] = {}
        for experiment in sorted(set(experiments) & set(folders)):
            path = folders[experiment] / "predictions.csv"
            name = f"{folders[experiment].name}/predictions.csv"
            try:
                fingerprint = hashlib.sha256(read_regular(path, LARGEST)).hexdigest()
            except OSError as error:
                what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
                message = f"{what}, so its Kaplan-Meier curves are not shown; run the experiment again"
                self.problems.append(Problem(name, message))
                continue
            fault = cache.get(
                str,
                "fault",
                lambda at=(fingerprint, name): at,
                lambda at=(experiment, path, name): self._fault(*at),
            )
            if fault:
                self.problems.append(Problem(name, fault))
                continue
            self._paths[experiment], self._fingerprints[experiment] = path, fingerprint
            own = mine.get(experiment, [])
            claimed = [[row.fold, *(row.score(f"c_index_{reading}") for reading in READINGS)] for row in own]
            wrong = cache.get(
                str,
                "contradiction",
                lambda at=(fingerprint, claimed): at,
                lambda at=(own, experiment): contradictions(at[0], self[at[1]]),
            )
            if wrong:
                again = "Delete that fold and run the experiment again"
                self.problems.append(Problem(folders[experiment].name, f"{wrong}. {again}"))
                self.contradicted.add(experiment)

    def _fault(self, experiment: str, path: Path, name: str) -> str:
        """What is wrong with a file; empty where nothing is."""
        try:
            self._tables[experiment] = read_predictions(path, name)
        except RowError as error:
            return str(error).removeprefix(f"{name}: ")
        return ""

    def fingerprint(self, experiment: str) -> str:
        """The fingerprint of an experiment's file."""
        return self._fingerprints[experiment]

    def __getitem__(self, experiment: str) -> pd.DataFrame:  # noqa: D105
        path = self._paths[experiment]
        if experiment not in self._tables:
            self._tables[experiment] = read_predictions(path)
        return self._tables[experiment]

    def __contains__(self, experiment: object) -> bool:  # noqa: D105
        return experiment in self._paths

    def __iter__(self) -> Iterator[str]:  # noqa: D105
        return iter(self._paths)

    def __len__(self) -> int:  # noqa: D105
        return len(self._paths)


def fingerprint(predictions: Mapping[str, pd.DataFrame], name: str) -> str:
    """Of the file that the table `name` was read from, or of the table where it was given."""
    for one in predictions.maps if isinstance(predictions, ChainMap) else [predictions]:
        if name in one and isinstance(one, CachedPredictions):
            return one.fingerprint(name)
    return table_fingerprint(predictions[name])


def table_fingerprint(table: pd.DataFrame) -> str:
    """Of the values of a table, row by row."""
    rows = hash_pandas_object(table, index=False)  # pyright: ignore[reportCallIssue]  # a function that pandas does not type
    return hashlib.sha256(np.asarray(rows).tobytes()).hexdigest()
