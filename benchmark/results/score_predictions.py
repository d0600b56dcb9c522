"""Rows of what was never trained here by epochs: controls and imported predictions, in the ordinary layout.

OUT/experiments/<id>/experiment.json, OUT/experiments/<id>/fold-<k>/{result.json,predictions.csv} and
the files of all folds together, as `bench run` writes them; only the readings that need epochs are null, and say
why.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...leaderboards.result_row import ResultRow, RowError, parse_row
from ...leaderboards.rows import read_row
from ...survival.followup import FollowUp, NotComputable, Prediction
from ...survival.metrics import METRICS, brier_null, score_all
from ..experiment import PROTOCOL, id_of
from .folder import summarise, table, write
from .provenance import code_version, libraries


@dataclass(frozen=True)
class Said:
    """What is said of the test part of one fold; row i of every array is `patients[i]`.

    train, test: follow-up of the two parts. risk: (n,), higher = earlier death. survival: (n, m) at `edges` (m,)
    months, or None. high: (n,) bool, the risk groups, or None. parameters, seconds: of the fit, None where unknown.
    oracle: the C-index of the true risks, None for patients who were observed and not drawn.
    owner: the patient of each slide, where slides are scored and `patients` are slides; else empty.
    """

    fold: int
    patients: tuple[str, ...]
    train: FollowUp
    test: FollowUp
    risk: NDArray[np.float64]
    survival: NDArray[np.float64] | None = None
    edges: NDArray[np.float64] | None = None
    high: NDArray[np.bool_] | None = None
    parameters: int | None = None
    seconds: float | None = None
    oracle: float | None = None
    owner: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One experiment ready to be written: its id, what that is the hash of (`settled`), what all its rows share, and
    per fold a row and predictions.

    known: follow-up of the training part of every fold.
    """

    experiment: str
    settled: Mapping[str, object]
    shared: Mapping[str, object]
    rows: tuple[ResultRow, ...]
    predictions: tuple[tuple[dict[str, object], ...], ...]
    known: Mapping[int, FollowUp]

    @property
    def title(self) -> str:
        """The model and its cohort."""
        return f"{self.shared['model']} on {self.shared['cohort']}" + " (synthetic)" * bool(self.shared["synthetic"])

    def summary(self) -> dict[str, object]:
        """What `--json` prints: the C-index of every fold and their mean, None where a fold has none."""
        folds = [
            {
                "fold": row.fold,
                "patients": row.n_test,
                "events": row.events_test,
                "c_index": row.score("c_index_selected"),
            }
            for row in self.rows
        ]
        scores = [row.score("c_index_selected") for row in self.rows]
        known = [float(score) for score in scores if isinstance(score, float)]
        mean = sum(known) / len(known) if known and len(known) == len(scores) else None
        return {"model": self.shared["model"], "cohort": self.shared["cohort"], "folds": folds, "mean": mean}


def entry(
    settled: Mapping[str, object],
    facts: Mapping[str, object],
    said: Sequence[Said],
    readings: Sequence[str],
    why_not: str,
) -> Entry:
    """Score every fold and lay it out as rows.

    settled: what the numbers follow from; the id of the experiment is its hash. Keys that start with `_` only enter the
        id, the others the rows too. facts: further keys of every row.
    readings: those that these numbers stand for; the others are null because of `why_not`.
    """
    whole = whole_of(settled)
    name = id_of(whole)
    shared: dict[str, object] = {
        "schema": 1,
        "status": "finished",
        "error": None,
        "experiment": name,
        **dict.fromkeys(("scales", "backbone", "loss", "recipe", "slides", "features_fingerprint")),
        "protocol": PROTOCOL,
        "n_folds": len(said),
        "code_version": code_version(),
        **{key: value for key, value in settled.items() if not key.startswith("_")},
        **facts,
    }
    created = datetime.now(UTC).isoformat(timespec="seconds")
    rows = tuple(parse_row({**shared, "created": created, **_row(one, readings, why_not)}) for one in said)
    predictions = tuple(tuple(_lines(one)) for one in said)
    return Entry(name, whole, shared, rows, predictions, {one.fold: one.train for one in said})


def whole_of(settled: Mapping[str, object]) -> dict[str, object]:
    """The description of an experiment: what its numbers follow from, the protocol included."""
    return {"protocol": PROTOCOL, **settled}


def _row(said: Said, readings: Sequence[str], why_not: str) -> dict[str, object]:
    scored = score_all(said.train, said.test, Prediction(said.risk, said.survival, said.edges, said.high))
    row: dict[str, object] = {"fold": said.fold}
    for name in METRICS:
        why = scored.get(f"why_{name}")
        for reading in ("selected", "last", "best"):
            stands = reading in readings
            row[f"{name}_{reading}"] = scored[name] if stands else None
            if not stands or why:
                row[f"why_{name}_{reading}"] = why if stands else why_not
    try:
        row["ibs_km"] = brier_null(said.train, said.test)
    except NotComputable as reason:
        row |= {"ibs_km": None, "why_ibs_km": str(reason)}
    return row | {
        "n_train": len(said.train.time),
        "n_val": 0,
        "n_test": len(said.test.time),
        "events_train": int(said.train.event.sum()),
        "events_val": 0,
        "events_test": int(said.test.event.sum()),
        "epochs": None,
        "epoch_selected": None,
        "epoch_last": None,
        "epoch_best": None,
        "oracle_c_index": said.oracle,
        "parameters": said.parameters,
        "seconds": said.seconds,
    }


def _lines(said: Said) -> list[dict[str, object]]:
    groups = [""] * len(said.risk) if said.high is None else ["high" if high else "low" for high in said.high]
    lines: list[dict[str, object]] = []
    for i, patient in enumerate(said.patients):
        line: dict[str, object] = {
            "patient": patient,
            **({"owner": said.owner[patient]} if said.owner else {}),
            "fold": said.fold,
            "reading": "selected",
            "time": float(said.test.time[i]),
            "event": int(said.test.event[i]),
            "risk": float(said.risk[i]),
            "risk_group": groups[i],
        }
        if said.survival is not None and said.edges is not None:
            line |= {f"edge_{j + 1}": float(edge) for j, edge in enumerate(said.edges)}
            line |= {f"survival_{j + 1}": float(s) for j, s in enumerate(said.survival[i])}
        lines.append(line)
    return lines


def keep(made: Entry, out: Path) -> Path:
    """Write an entry, and return its folder. The same entry again leaves the files as they are.

    Errors: `CannotWrite`.
    """
    folder = out / "experiments" / made.experiment
    if _there(folder, made):
        return folder
    write(
        folder / "experiment.json",
        json.dumps({"id": made.experiment, "settled": made.settled, **made.shared}, indent=2, sort_keys=True) + "\n",
    )
    for row, lines in zip(made.rows, made.predictions, strict=True):
        place = folder / f"fold-{row.fold}"
        write(place / "predictions.csv", table(lines))
        write(place / "result.json", json.dumps(row.to_json(), indent=2, allow_nan=False) + "\n")
    summarise(folder, made.known, made.title)
    return folder


def _there(folder: Path, made: Entry) -> bool:
    """Whether the files hold the same numbers already; a damaged or an older row is written again."""
    told = {"created", "seconds", "command", "code_version", "hardware", "torch_version", "device"}
    try:
        found = [read_row(folder / f"fold-{row.fold}" / "result.json") for row in made.rows]
    except RowError:
        return False
    same = all(
        replace(old, **dict.fromkeys(told)) == replace(new, **dict.fromkeys(told))
        for old, new in zip(found, made.rows, strict=True)
    )
    return same and all((folder / name).is_file() for name in ("predictions.csv", "clinical-curves.csv"))


def versions() -> dict[str, object]:
    """Libraries that decide a control's numbers."""
    return {"torch_version": None, "scikit_survival_version": libraries()["scikit-survival"]}
