"""MLflow: a second record of finished results, for people who browse them there. The only importer of mlflow.

Result files are written first and are the truth. One writer, the parent process, logs them here, so that neither a
locked database nor a lost server costs a result: a failure is reported once, and the same command logs what is missing.
An experiment is a parent run and a fold a child run.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from ...leaderboards.result_row import READINGS, ResultRow, score_columns
from .reason import reason

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NAME = "milsurv"
_ID, _KIND, _FOLD = "milsurv.experiment", "milsurv.kind", "milsurv.fold"


def local_store(out: Path) -> str:
    """The address of the store that lies in the output folder and needs no server."""
    return f"sqlite:///{(out / 'mlflow.db').resolve()}"


def _calm() -> None:
    """Settings that mlflow reads at import: patience of seconds and not minutes, and no chatter."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for chatty in ("mlflow.store.db.utils", "alembic.runtime.migration"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _client(uri: str, out: Path) -> "tuple[MlflowClient, str]":
    """A client and the id of our MLflow experiment, made on first use."""
    _calm()
    from mlflow.tracking import MlflowClient

    out.mkdir(parents=True, exist_ok=True)
    # Processes that create one database at the same time break it.
    with FileLock(out / ".mlflow.lock"):
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(NAME)
        if found is not None:
            return client, found.experiment_id
        place = (out / "mlflow-artifacts").resolve().as_uri() if uri.startswith("sqlite:") else None
        return client, client.create_experiment(NAME, artifact_location=place)


class Tracker:
    """Logs one experiment at `uri` (`none`: nowhere).

    It never raises: what goes wrong goes to `warn`, once, and logging stops.
    """

    def __init__(
        self,
        uri: str,
        out: Path,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        warn: Callable[[str], None],
    ):
        self.uri, self.out, self.warn = uri, out, warn
        self.params, self.tags = params, tags
        self.parent: str | None = None
        self.lost = uri == "none"

    def _try(self, log: "Callable[[MlflowClient, str], None]") -> None:
        if self.lost:
            return
        try:
            log(*_client(self.uri, self.out))
        except Exception as error:
            self.lost = True
            self.warn(
                f"MLflow at {self.uri} did not take the results: {reason(error)[:300]}. "
                "The result files are complete; run the same command again to log them"
            )

    def _runs(self, client: "MlflowClient", place: str, kind: str) -> list:
        wanted = f"tags.`{_ID}` = '{self.tags[_ID]}' and tags.`{_KIND}` = '{kind}'"
        return list(client.search_runs([place], wanted, max_results=1000))

    def _parent(self, client: "MlflowClient", place: str) -> str:
        if self.parent is None:
            found = self._runs(client, place, "experiment")
            if found:
                self.parent = str(found[0].info.run_id)
                client.update_run(self.parent, status="RUNNING")
            else:
                tags = {**self.tags, _KIND: "experiment"}
                run = client.create_run(place, tags=tags, run_name=f"{self.tags['model']} {self.tags['cohort']}")
                self.parent = str(run.info.run_id)
                _log(client, self.parent, {}, self.params)
        return self.parent

    def begin(self) -> None:
        """Open the parent run, so that even a run that is killed has left its mark."""

        def log(client: "MlflowClient", place: str) -> None:
            self._parent(client, place)

        self._try(log)

    def fold(self, row: ResultRow, folder: Path) -> None:
        """Log a fold whose files lie in `folder`, unless its child run is already there."""

        def log(client: "MlflowClient", place: str) -> None:
            parent = self._parent(client, place)
            for run in self._runs(client, place, "fold"):
                if run.data.tags.get(_FOLD) != str(row.fold):
                    continue
                if run.info.status == "FINISHED":
                    return
                if run.info.status == "RUNNING":  # a process that logged this fold was killed half-way
                    client.set_terminated(run.info.run_id, "KILLED")
            started = int(datetime.fromisoformat(str(row.created)).timestamp() * 1000)
            tags = {**self.tags, _KIND: "fold", _FOLD: str(row.fold), "mlflow.parentRunId": parent}
            child = client.create_run(place, start_time=started, tags=tags, run_name=f"fold {row.fold}").info.run_id
            _log(client, child, _numbers(row), self.params, _curve(folder / "curves.csv"))
            client.log_artifacts(child, str(folder))
            if not row.finished:
                client.set_tag(child, "error", str(row.error)[:5000])
            client.set_terminated(child, "FINISHED" if row.finished else "FAILED")

        self._try(log)

    def end(self, status: str, rows: Sequence[ResultRow], folder: Path) -> None:
        """Close the parent run as `FINISHED`, `FAILED` or `KILLED`, with means over folds and the files of `folder`."""

        def log(client: "MlflowClient", place: str) -> None:
            parent = self._parent(client, place)
            if status == "FINISHED" and len(rows) == rows[0].n_folds:
                _log(client, parent, _means(rows), {})
            for file in sorted(folder.glob("[!.]*.*")):
                client.log_artifact(parent, str(file))
            client.set_terminated(parent, status)

        self._try(log)


def _log(
    client: "MlflowClient",
    run: str,
    metrics: Mapping[str, float],
    params: Mapping[str, object],
    curve: Sequence[tuple] = (),
) -> None:
    from mlflow.entities import Metric, Param

    # Of two values at one step and time MLflow shows the larger: a later value needs a later time.
    now = int(time.time() * 1000)
    points = [Metric(name, value, now, 0) for name, value in metrics.items()]
    points += [Metric(name, value, now, step) for name, value, step in curve]
    for start in range(0, len(points), 1000):
        client.log_batch(run, metrics=points[start : start + 1000])
    if params:
        client.log_batch(run, params=[Param(key, str(value)[:6000]) for key, value in params.items()])


_COUNTS = (
    "patients", "events", "n_train", "n_val", "n_test", "events_train", "events_val", "events_test", "parameters",
    "epochs", "epoch_selected", "epoch_last", "epoch_best", "seconds", "left_out",
)  # fmt: skip


def _numbers(row: ResultRow) -> dict[str, float]:
    """What is a number that was measured, by column: counts, and every metric of the registry that has a value."""
    counts = {name: getattr(row, name) for name in _COUNTS}
    scores = {column: row.score(column) for column in score_columns()}
    return {name: float(value) for name, value in {**counts, **scores}.items() if value is not None}


def _means(rows: Sequence[ResultRow]) -> dict[str, float]:
    """The mean over folds of every metric at every reading that all of them have."""
    found = {}
    for column in score_columns():
        values = [row.score(column) for row in rows if row.finished]
        if column.rpartition("_")[2] in READINGS and values and None not in values:
            found[f"mean_{column}"] = sum(value for value in values if value is not None) / len(values)
    return found


def _curve(path: Path) -> list[tuple[str, float, int]]:
    import csv

    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            (f"curve_{key}", float(value), int(line["epoch"]))
            for line in csv.DictReader(file)
            for key, value in line.items()
            if key != "epoch" and value
        ]


def fetch(uri: str, out: Path) -> int:
    """Copy the result files of every finished experiment of an MLflow store into `out/experiments`.

    Returns how many folds were copied. Nothing is written to the store. Errors: `ValueError` when it holds none.
    """
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise ValueError("there is no such database")
    _calm()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(NAME)
    if found is None:
        raise ValueError("it holds no milsurv experiment")
    place = found.experiment_id
    copied = 0
    token = None
    while True:
        page = client.search_runs([place], "", max_results=500, page_token=token)
        for run in page:
            identity, fold = run.data.tags.get(_ID, ""), run.data.tags.get(_FOLD)
            # Names come from a store that others write: none of them may leave the folder.
            if not identity.isalnum() or not (fold is None or fold.isdigit()):
                continue
            target = out / "experiments" / identity / (f"fold-{fold}" if fold else "")
            if run.info.status != "FINISHED" and (target / "result.json").exists():
                continue  # an earlier attempt at a fold that was finished since
            target.mkdir(parents=True, exist_ok=True)
            client.download_artifacts(run.info.run_id, "", str(target))
            copied += fold is not None and run.info.status == "FINISHED"
        token = page.token
        if not token:
            break
    if not copied:
        raise ValueError("it holds no finished fold of a milsurv experiment")
    return copied
