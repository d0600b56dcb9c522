"""MLflow runs: a second record of finished results, for people who browse them there.

Result files are written first and are the truth. One writer, the parent process, logs them here, so that neither a
locked database nor a lost server costs a result: a failure is reported once, and the same command logs what is missing.
A cohort is an MLflow experiment, an experiment is a parent run, a fold a child run, and a trial of tuning a child of
its fold.
"""

import csv
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ....leaderboards.render.spreadsheets import harmless
from ....leaderboards.result_row import READINGS, ResultRow, score_columns
from ...cohort_data import CohortData
from ...experiment import Experiment
from ..provenance import libraries
from ..reason import reason
from ..trials import TrialRecord, read_trials
from .models import register
from .store import Store, StoreAway, experiment_name

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_REGISTERED = "milsurv.registered"
_ID, _KIND, _FOLD, _TRIAL = "milsurv.experiment", "milsurv.kind", "milsurv.fold", "milsurv.trial"
_TAGS = (
    "model", "family", "cohort", "cohort_version", "synthetic", "backbone", "scales", "loss", "recipe", "covariates",
    "slides", "folds_name", "endpoint", "missing", "protocol", "device", "hardware", "command",
)  # fmt: skip
_TRIAL_STATUS = {"finished": "FINISHED", "failed": "FAILED"}
_COUNTS = (
    "patients", "events", "n_train", "n_val", "n_test", "events_train", "events_val", "events_test", "parameters",
    "epochs", "epoch_selected", "epoch_last", "epoch_best", "seconds", "left_out", "trials", "trials_failed",
    "tuned_trial", "tuned_c_index", "untuned_c_index", "tuning_seconds",
    "fusion_clinic", "fusion_image",
)  # fmt: skip


@dataclass(frozen=True)
class DataSource:
    """One of the data that an experiment read: `name` (labels, folds or features), where it lies, its fingerprint."""

    name: str
    path: str
    fingerprint: str
    facts: Mapping[str, object]


class Tracker:
    """Logs one experiment, in a thread of its own: training never waits for a store.

    It never raises. What goes wrong goes to `warn`, once, and is tried again at the end of the experiment.

    Parameters
    ----------
    store
        The store; None logs nothing.
    row
        What the rows of all folds share.
    parameters
        What MLflow shows as parameters.
    sources
        The data that were read.
    warn
        Told, in the caller's thread, what did not work.
    """

    def __init__(
        self,
        store: Store | None,
        row: ResultRow,
        parameters: Mapping[str, object],
        sources: Sequence[DataSource],
        warn: Callable[[str], None],
    ) -> None:
        self.store, self.row, self.parameters, self.sources = store, row, parameters, sources
        self._warn = warn
        self._place = self._parent = ""
        self._waiting: list[Future[None]] = []
        self._problem, self._warned = "", False
        self._stop_monitor: Callable[[], object] | None = None

    def begin(self) -> None:
        """Open the parent run, so that even a run that is killed has left its mark."""
        self._submit(self._open)

    def fold(self, row: ResultRow, folder: Path) -> None:
        """Log a fold whose files lie in `folder`, unless its child run is already there."""
        self._submit(lambda client: self._log_fold(client, row, folder))
        self._tell()

    def end(self, status: str, rows: Sequence[ResultRow], folder: Path) -> None:
        """Close the parent run as `FINISHED`, `FAILED` or `KILLED`, with means over folds and the files of `folder`.

        Folds that could not be logged earlier are logged now, where the store is back.
        """

        def close(client: "MlflowClient") -> None:
            if self._problem:
                self._parent = ""
                for row in rows:
                    self._log_fold(client, row, folder / f"fold-{row.fold}")
            self._open(client)
            if status == "FINISHED" and len(rows) == rows[0].n_folds:
                _log(client, self._parent, _means(rows), {})
            for file in sorted(folder.glob("[!.]*.*")):
                client.log_artifact(self._parent, str(file))
            client.set_terminated(self._parent, status)
            self._problem = ""

        self._submit(close, again=True)
        for one in self._waiting:
            one.result()
        if self._stop_monitor is not None:
            self._stop_monitor()
        self._tell()

    def _submit(self, log: "Callable[[MlflowClient], None]", again: bool = False) -> None:
        store = self.store
        if store is None:
            return

        def attempt() -> None:
            if self._problem and not again:
                return  # all of it is tried again at the end
            try:
                with store.writing() as client:
                    log(client)
            except StoreAway as error:
                self._problem = self._problem or str(error)
            except Exception as error:
                self._problem = reason(error)[:300]

        self._waiting.append(_writer().submit(attempt))

    def _tell(self) -> None:
        store = self.store
        if store is not None and store.set_aside:
            self._warn(f"the MLflow database could not be used and lies in {store.set_aside} now; a new one was made")
            store.set_aside = None
        if store is not None and self._problem and not self._warned:
            self._warned = True
            self._warn(
                f"MLflow at {store.uri} did not take the results: {self._problem}. "
                "The result files are complete; run the same command again to log them"
            )

    def _open(self, client: "MlflowClient") -> None:
        """Find the parent run of this experiment, or make it."""
        if self._parent:
            return
        assert self.store is not None
        name = experiment_name(self.row.cohort, self.row.synthetic)
        self._place = self.store.experiment(client, name, {"milsurv.cohort": self.row.cohort})
        found = self._runs(client, "experiment")
        if found:
            run = found[0]
            client.update_run(run.info.run_id, status="RUNNING")
        else:
            tags = {**self._tags(), _KIND: "experiment", "mlflow.note.content": f"`{self.row.command}`"}
            run = client.create_run(self._place, tags=tags, run_name=harmless(f"{self.row.label} seed {self.row.seed}"))
        if not found or run.info.status == "RUNNING":  # whoever made it may have been killed half-way
            _remove_half_copied(run.info.artifact_uri)
            _log(client, run.info.run_id, {}, self.parameters)
            client.log_inputs(run.info.run_id, _inputs(self.sources))
        self._parent = str(run.info.run_id)
        if self.store.wanted.system_metrics and self._stop_monitor is None:
            self._stop_monitor = _start_monitor(self._parent, self.store.uri)

    def _tags(self) -> dict[str, str]:
        values = {name: getattr(self.row, name) for name in _TAGS}
        values |= {name: getattr(self.row, f"{name}_fingerprint") for name in ("labels", "folds", "features")}
        values |= {"seed": self.row.seed, "code": self.row.code_version}
        values |= {f"version.{name}": number for name, number in libraries().items()}
        return {
            _ID: self.row.experiment,
            **{
                name: str(value).lower() if isinstance(value, bool) else harmless(str(value))
                for name, value in values.items()
                if value is not None
            },
        }

    def _runs(self, client: "MlflowClient", kind: str) -> list:
        wanted = f"tags.`{_ID}` = '{self.row.experiment}' and tags.`{_KIND}` = '{kind}'"
        return list(client.search_runs([self._place], wanted, max_results=1000))

    def _log_fold(self, client: "MlflowClient", row: ResultRow, folder: Path) -> None:
        self._open(client)
        child = ""
        for run in self._runs(client, "fold"):
            if run.data.tags.get(_FOLD) != str(row.fold):
                continue
            if run.info.status == "FINISHED":
                self._register(client, row, run.info.run_id, run.data.tags, folder)
                return
            if run.info.status == "RUNNING":  # whoever logged it was killed half-way: all is logged again
                child = run.info.run_id
                _remove_half_copied(run.info.artifact_uri)
        started = int(datetime.fromisoformat(str(row.created)).timestamp() * 1000)
        if not child:
            tags = {**self._tags(), _KIND: "fold", _FOLD: str(row.fold), "mlflow.parentRunId": self._parent}
            made = client.create_run(self._place, start_time=started, tags=tags, run_name=f"fold {row.fold}")
            child = made.info.run_id
        _log(client, child, _numbers(row), self.parameters, _curve(folder / "curves.csv"), started)
        client.log_inputs(child, _inputs(self.sources))
        for file in sorted(folder.glob("[!.]*.*")):
            if file.suffix in (".json", ".csv", ".txt", ".svg"):  # weights would lie there twice
                client.log_artifact(child, str(file))
        if trials := read_trials(folder):
            own = [run for run in self._runs(client, "trial") if run.data.tags.get("mlflow.parentRunId") == child]
            logged = {run.data.tags.get(_TRIAL): run for run in own}
            for trial in trials:
                run = logged.get(str(trial.number))
                if run is None or run.info.status == "RUNNING":
                    self._log_trial(client, trial, child, row.fold, started, "" if run is None else run.info.run_id)
        if not row.finished:
            client.set_tag(child, "error", str(row.error)[:5000])
        client.set_terminated(child, "FINISHED" if row.finished else "FAILED")
        self._register(client, row, child, {}, folder)

    def _register(
        self, client: "MlflowClient", row: ResultRow, run: str, tags: Mapping[str, str], folder: Path
    ) -> None:
        """Register the model of a finished fold, unless it was."""
        name = self.store.wanted.register if self.store is not None else None
        if name is None or not row.finished or tags.get(_REGISTERED) == name:
            return
        facts = {"milsurv.experiment": row.experiment, "milsurv.fold": str(row.fold), "cohort": row.cohort}
        if register(client, name, self._place, run, folder, facts):
            client.set_tag(run, _REGISTERED, name)

    def _log_trial(
        self, client: "MlflowClient", trial: TrialRecord, fold: str, number: int, started: int, run: str
    ) -> None:
        """A trial, under the run of its `fold`. Its C-index is of patients that were held out of the training set.

        run: where it was logged half; empty where it was not.
        """
        tags = {_ID: self.row.experiment, _KIND: "trial", _FOLD: str(number), "mlflow.parentRunId": fold}
        tags |= {"model": self.row.model, "cohort": self.row.cohort, _TRIAL: str(trial.number)}
        tags |= {"state": trial.state} | ({"error": trial.error[:5000]} if trial.error else {})
        if not run:
            run = client.create_run(self._place, started, tags, f"fold {number} trial {trial.number}").info.run_id
        numbers = {"seconds": trial.seconds, "epochs": float(trial.epochs)}
        if trial.value is not None:
            numbers["held_out_c_index"] = trial.value
        inner = [("inner_c_index", value, step) for step, value in enumerate(trial.inner)]
        _log(client, run, numbers, trial.settings, inner, started)
        client.set_terminated(run, _TRIAL_STATUS.get(trial.state, "KILLED"))


def parameters_of(experiment: Experiment) -> dict[str, object]:
    """What MLflow shows as parameters: everything that decides the numbers."""
    found: dict[str, object] = {
        key: value
        for key, value in vars(experiment).items()
        if key not in ("recipe", "hyperparameters", "tuning") and value not in (None, ())
    }
    if experiment.tuning is not None:
        found |= {f"tuning.{key}": value for key, value in experiment.tuning.id_fields().items()}
    if experiment.recipe is not None:
        found |= {f"recipe.{key}": value for key, value in vars(experiment.recipe).items()}
    return found | {f"model.{key}": value for key, value in experiment.hyperparameters.items()}


def sources_of(experiment: Experiment, data: CohortData, features: str | None = None) -> list[DataSource]:
    """Labels, folds and features of an experiment; `features` is where the last of them lie."""
    labels, folds = data.labels, data.folds
    facts: dict[str, object] = {
        "patients": len(labels.patients),
        "deaths": sum(patient.event for patient in labels.patients),
        "endpoint": experiment.endpoint,
    }
    found = [
        DataSource(f"{experiment.cohort} labels", str(labels.source), experiment.labels_fingerprint, facts),
        DataSource(
            f"{experiment.cohort} folds {folds.name}",
            folds.name,
            experiment.folds_fingerprint,
            {"folds": len(folds.splits)},
        ),
    ]
    if experiment.features_fingerprint is not None and data.bags is not None:
        shape = {"backbone": experiment.backbone, "width": data.dim, "magnifications": experiment.magnifications}
        name = f"{experiment.cohort} features {experiment.backbone}"
        found.append(DataSource(name, features or "features", experiment.features_fingerprint, shape))
    return found


@cache
def _writer() -> ThreadPoolExecutor:
    """The one thread of this process that talks to MLflow; importing it takes seconds, which training need not wait."""
    return ThreadPoolExecutor(1, "mlflow")


def _start_monitor(run: str, uri: str) -> Callable[[], object]:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run, tracking_uri=uri, resume_logging=True)
    monitor.start()
    return monitor.finish


def _remove_half_copied(artifacts: str | None) -> None:
    """Remove what MLflow leaves in a folder of artifacts when the process is killed that copies a file there."""
    address = urlsplit(artifacts or "")
    if address.scheme == "file":
        for left in Path(unquote(address.path)).glob(".artifact.uploading.*"):
            left.unlink(missing_ok=True)


def _inputs(sources: Sequence[DataSource]) -> list:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                source.name[:500],
                source.fingerprint[:36],
                "local",
                json.dumps({"uri": source.path}),
                profile=json.dumps(source.facts),
            ),
            [InputTag("mlflow.data.context", "cross-validation")],
        )
        for source in sources
    ]


def _log(
    client: "MlflowClient",
    run: str,
    metrics: Mapping[str, float],
    params: Mapping[str, object],
    curve: Sequence[tuple] = (),
    at: int = 0,
) -> None:
    """Log all of it. at: milliseconds since 1970; what is logged again at the same moment is there once."""
    from mlflow.entities import Metric, Param

    # Of two values at one step and time MLflow shows the larger: a later value needs a later time.
    now = at or int(time.time() * 1000)
    points = [Metric(name, value, now, 0) for name, value in metrics.items()]
    points += [Metric(name, value, now, step) for name, value, step in curve]
    for start in range(0, len(points), 1000):
        client.log_batch(run, metrics=points[start : start + 1000])
    if params:
        client.log_batch(run, params=[Param(key, harmless(str(value))[:6000]) for key, value in params.items()])


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
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            (f"curve_{key}", float(value), int(line["epoch"]))
            for line in csv.DictReader(file)
            for key, value in line.items()
            if key != "epoch" and value
        ]
