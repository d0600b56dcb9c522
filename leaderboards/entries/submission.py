"""From results to an entry: which experiments, what may be sent of them, and what is not sent."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from ..experiments import Attempt, Incomplete, attempts
from ..group_curves import as_json, curves_of
from ..predictions import predictions_of
from ..ranking.board import boards
from ..ranking.comparisons import Resampling
from ..ranking.derived import plain
from ..rows import Row, RowError, read_rows
from .entry import write_entry
from .prediction_table import edges_of, table_of


@dataclass(frozen=True)
class Submission:
    """What an entry will hold. `shared` are predictions by experiment, `withheld` those that only give evidence."""

    rows: tuple[Row, ...]
    settled: Mapping[str, Mapping[str, Any]]
    shared: Mapping[str, pd.DataFrame]
    withheld: Mapping[str, pd.DataFrame]

    def write(self, folder: Path, head: Mapping[str, str], exact: bool = False) -> Path:
        """Write it as an entry; with `exact`, every prediction has all its digits."""
        described = {
            name: {
                "experiment": name,
                "settled": settled,
                "edges": edges_of(self.shared[name]) if name in self.shared else {},
            }
            for name, settled in self.settled.items()
        }
        table = table_of(self.shared, exact) if self.shared else None
        kept = [row for row in self.rows if row["experiment"] in self.withheld]
        return write_entry(
            folder, head, self.rows, described, table, evidence_of(kept, self.withheld) if kept else None
        )


def select(
    results: Sequence[Path],
    cohorts: Sequence[str] = (),
    models: Sequence[str] = (),
    with_patients: bool | None = None,
) -> Submission:
    """Complete experiments below `results`, of these cohorts and models (all where none are named).

    with_patients: whether predictions for patients who were observed are sent; those of drawn patients always are.
    Errors: `RowError` for nothing to send, incomplete experiments, predictions that cannot be read, and where patients
    were observed and `with_patients` is None.
    """
    read = read_rows(results)
    done, open_ = attempts(read.rows)
    wanted = [item for item in done if _asked(item, cohorts, models)]
    undone = [item for item in open_ if _asked(item, cohorts, models)]
    if undone:
        told = [f"{i.experiment} ({i.model} on {i.cohort}, seed {i.seed}): {'; '.join(i.reasons)}" for i in undone]
        raise RowError(
            f"{len(undone)} experiments are not complete: {'. '.join(told)}. Finish them, delete them, or choose "
            "others with --cohort and --model"
        )
    if not wanted:
        there = sorted({f"{item.row['model']} on {item.cohort}" for item in done}) or ["none"]
        raise RowError(f"no complete experiment fits --cohort and --model; there are: {', '.join(there)}")
    names = [item.experiment for item in wanted]
    tables, problems = predictions_of(read.folders, names)
    if problems:
        raise RowError(". ".join(f"{problem.where}: {problem.message}" for problem in problems))
    observed = {item.experiment for item in wanted if not item.synthetic}
    if observed and with_patients is None:
        raise RowError(
            f"{len(observed)} experiments are on patients who were observed, not drawn. Say --with-patients if their "
            "times, events and predicted risks are yours to publish, else --without-patients"
        )
    withheld = set() if with_patients else observed
    return Submission(
        tuple(_sendable(row) for item in wanted for row in item.rows),
        {name: _settled(read.folders[name], name) for name in names},
        {name: table for name, table in tables.items() if name not in withheld},
        {name: table for name, table in tables.items() if name in withheld},
    )


def evidence_of(rows: Sequence[Row], predictions: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """What is sent of these rows instead of their predictions, as plain values that `parse_derived` takes."""
    rankings, curves, most = [], {}, 0
    for ranking in (ranking for board in boards(rows) for ranking in board.rankings):
        resampling = Resampling(ranking, predictions)
        most = max(most, resampling.resamples)
        names = [list(line.experiments) for line in ranking.lines]
        found = zip(names, resampling.intervals(), strict=True)
        differences = {pair: resampling.difference(*pair) for pair in combinations(resampling.places, 2)}
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
            drawn = curves_of(predictions[line.experiments[0]])
            if drawn is not None:
                curves[line.experiments[0]] = as_json(drawn)
    return {"resamples": most, "rankings": rankings, "curves": curves}


def _asked(item: Attempt | Incomplete, cohorts: Sequence[str], models: Sequence[str]) -> bool:
    model = item.model if isinstance(item, Incomplete) else item.row["model"]
    return (not cohorts or item.cohort in cohorts) and (not models or {model, item.experiment} & set(models) != set())


def _settled(folder: Path, name: str) -> Mapping[str, Any]:
    """What an experiment's id is the hash of, from its `experiment.json`; empty where an older version kept none."""
    try:
        told = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
        assert isinstance(told, dict)
    except (OSError, ValueError, AssertionError, RecursionError) as error:
        raise RowError(f"{name}/experiment.json: cannot be read; run the experiment again") from error
    if "settled" in told:
        return told["settled"]
    trained = isinstance(told.get("recipe"), dict)
    return {key: value for key, value in told.items() if key != "id"} if trained else {}


def _sendable(row: Row) -> Row:
    """The row with file names where its command has whole paths: a path tells about a machine and its user."""
    command = row.get("command")
    if not command:
        return row
    try:
        words = shlex.split(command)
    except ValueError:
        return row | {"command": ""}
    return row | {"command": shlex.join(re.sub(r"^(~|\.\.|/|[A-Za-z]:\\).*?([^/\\]+)[/\\]*$", r"\2", w) for w in words)}
