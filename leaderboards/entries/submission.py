"""From results to an entry: which experiments, what may be sent of them, and what is not sent."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from ...errors import RowError
from ...files import read_regular
from ..experiments import gather_experiments
from ..predictions import predictions_of, risk_group_curves
from ..ranking.board import boards
from ..ranking.comparisons import Errors
from ..ranking.published_evidence import plain
from ..result_row import ResultRow
from ..rows import LARGEST, read_rows
from .entry import ExperimentRecord, write_entry
from .prediction_table import edges_of, table_of


@dataclass(frozen=True)
class Submission:
    """What an entry will hold.

    id_fields: by experiment, what its id is the hash of. shared: predictions by experiment; withheld: those that only
    give evidence.
    """

    rows: tuple[ResultRow, ...]
    id_fields: Mapping[str, dict[str, Any]]
    shared: Mapping[str, pd.DataFrame]
    withheld: Mapping[str, pd.DataFrame]

    def write(self, folder: Path, head: Mapping[str, str], exact: bool = False) -> Path:
        """Write it as an entry; with `exact`, every prediction has all its digits."""
        experiments = [
            ExperimentRecord(name, id_fields, edges_of(self.shared[name]) if name in self.shared else {})
            for name, id_fields in self.id_fields.items()
        ]
        table = table_of(self.shared, exact) if self.shared else None
        rows = [row for row in self.rows if row.experiment in self.withheld]
        evidence = evidence_of(rows, self.withheld) if rows else None
        return write_entry(folder, head, self.rows, experiments, table, evidence)


def select(
    results: Sequence[Path],
    cohorts: Sequence[str] = (),
    models: Sequence[str] = (),
    with_patients: bool | None = None,
) -> Submission:
    """Complete experiments below `results`, of these cohorts and models (all where none are named).

    with_patients: whether predictions for patients who were observed are sent; those of simulated patients always are.
    Errors: `RowError` for nothing to send, incomplete experiments, predictions that cannot be read, and where patients
    were observed and `with_patients` is None.
    """
    read = read_rows(results)
    complete, incomplete = gather_experiments(read.rows)
    chosen = [item for item in complete if _is_chosen(item.row, cohorts, models)]
    unfinished = [item for item in incomplete if _is_chosen(item.row, cohorts, models)]
    if unfinished:
        listed = [
            f"{item.row.experiment} ({item.row.label} on {item.row.cohort}, seed {item.row.seed}): "
            f"{'; '.join(item.reasons)}"
            for item in unfinished
        ]
        raise RowError(
            f"{len(unfinished)} experiments are not complete: {'. '.join(listed)}. Finish them, delete them, or choose "
            "others with --cohort and --model"
        )
    if not chosen:
        available = sorted({f"{item.row.label} on {item.row.cohort}" for item in complete}) or ["none"]
        raise RowError(f"no complete experiment fits --cohort and --model; there are: {', '.join(available)}")
    names = [item.row.experiment for item in chosen]
    tables, problems = predictions_of(read.folders, names)
    if problems:
        raise RowError(". ".join(f"{problem.where}: {problem.message}" for problem in problems))
    observed = {item.row.experiment for item in chosen if not item.row.synthetic}
    if observed and with_patients is None:
        raise RowError(
            f"{len(observed)} experiments are on observed patients, not simulated ones. Give --with-patients if their "
            "times, events and predicted risks are yours to publish, else --without-patients"
        )
    withheld = set() if with_patients else observed
    return Submission(
        tuple(_sendable(row) for item in chosen for row in item.rows),
        {name: _id_fields(read.folders[name], name) for name in names},
        {name: table for name, table in tables.items() if name not in withheld},
        {name: table for name, table in tables.items() if name in withheld},
    )


def evidence_of(rows: Sequence[ResultRow], predictions: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """What is sent of these rows instead of their predictions, as plain values that `parse_evidence` takes."""
    rankings, curves = [], {}
    for ranking in (ranking for board in boards(rows) for ranking in board.rankings):
        errors = Errors(ranking, predictions).of_patients()
        names = [list(line.experiments) for line in ranking.lines]
        found = zip(names, errors.intervals(), strict=True)
        differences = {pair: errors.difference(*pair) for pair in combinations(errors.places, 2)}
        rankings.append(
            {
                "intervals": [
                    {"line": name, **{kind: plain(one) for kind, one in mine.items()}} for name, mine in found
                ],
                "differences": [
                    {"first": names[i], "second": names[j], **plain(one)} for (i, j), one in differences.items() if one
                ],
            }
        )
        for line in ranking.lines:
            curve = risk_group_curves(predictions[line.experiments[0]])
            if curve is not None:
                curves[line.experiments[0]] = asdict(curve)
    return {"rankings": rankings, "curves": curves}


def _is_chosen(row: ResultRow, cohorts: Sequence[str], models: Sequence[str]) -> bool:
    named = {row.model, row.label, row.experiment}
    return (not cohorts or row.cohort in cohorts) and (not models or bool(named & set(models)))


class _ExperimentFile(msgspec.Struct):
    id_fields: dict[str, Any] | None = None
    settled: dict[str, Any] | None = None
    recipe: Any = None


def _id_fields(folder: Path, name: str) -> dict[str, Any]:
    """What an experiment's id is the hash of, from its `experiment.json`; empty where an older version wrote none."""
    try:
        data = read_regular(folder / "experiment.json", LARGEST)
        found, whole = msgspec.json.decode(data, type=_ExperimentFile), msgspec.json.decode(data)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RowError(f"{name}/experiment.json: cannot be read; run the experiment again") from error
    for fields in (found.id_fields, found.settled):  # versions before 0.2 called them `settled`
        if fields is not None:
            return fields
    trained = isinstance(found.recipe, dict)
    return {key: value for key, value in whole.items() if key != "id"} if trained else {}


def _sendable(row: ResultRow) -> ResultRow:
    """The row with file names where its command has whole paths: a path tells about a machine and its user."""
    if not row.command:
        return row
    try:
        words = shlex.split(row.command)
    except ValueError:
        return replace(row, command="")
    short = (re.sub(r"^(~|\.\.|/|[A-Za-z]:\\).*?([^/\\]+)[/\\]*$", r"\2", word) for word in words)
    return replace(row, command=shlex.join(short))
