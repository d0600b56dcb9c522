"""MLflow as a second record: complete when it works, harmless when it does not."""

import csv
import dataclasses
import json
import logging
import shutil
import socket
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import leaderboard_rows as make
import numpy as np
import pytest
from filelock import FileLock
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.results.tracking.fetch import fetch
from milsurv.benchmark.results.tracking.runs import Tracker
from milsurv.benchmark.results.tracking.store import (
    Store,
    StoreAway,
    Tracking,
    experiment_name,
    local_store,
    make_usable,
    quiet_mlflow,
)
from milsurv.benchmark.run import Quiet, run


def request(cohort_folder: Path, out: Path, epochs: int = 3) -> Request:
    """A small experiment that trains in a second."""
    features, labels = str(cohort_folder / "features"), cohort_folder / "labels.csv"
    return Request(
        "abmil", "blca", features_path=features, labels_path=labels, settings={"epochs": str(epochs)}, folds=3, out=out
    )


@pytest.fixture(scope="module")
def tracked(cohort_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("tracked")
    run(request(cohort_folder, out=out), Quiet())
    return out


def runs(out: Path, kind: str):
    from mlflow.tracking import MlflowClient

    return found(MlflowClient(local_store(out)), kind)


def found(client, kind: str):
    places = [one.experiment_id for one in client.search_experiments()]
    return client, client.search_runs(places, f"tags.`milsurv.kind` = '{kind}'")


def test_an_experiment_is_a_parent_run_and_a_fold_a_child_run(tracked):
    _, (parent,) = runs(tracked, "experiment")
    _, children = runs(tracked, "fold")
    assert len(children) == 3
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}


def test_a_run_holds_parameters_metrics_curves_files_and_provenance(tracked):
    client, children = runs(tracked, "fold")
    child = children[0]
    fold = child.data.tags["milsurv.fold"]
    row = json.loads(next(tracked.glob(f"experiments/*/fold-{fold}/result.json")).read_text())
    assert child.data.metrics["c_index_selected"] == row["c_index_selected"]
    assert child.data.params["recipe.epochs"] == "3" and child.data.params["model"] == "abmil"
    assert len(client.get_metric_history(child.info.run_id, "curve_train_loss")) == 3
    assert {"result.json", "predictions.csv", "curves.csv"} <= {
        f.path for f in client.list_artifacts(child.info.run_id)
    }
    assert {"labels", "folds", "features", "code", "hardware", "command", "version.torch"} <= set(child.data.tags)
    assert child.data.tags["synthetic"] == "true"
    _, (parent,) = runs(tracked, "experiment")
    files = {f.path for f in client.list_artifacts(parent.info.run_id)}
    assert {"experiment.json", "predictions.csv", "kaplan-meier.svg"} <= files
    assert "mean_c_index_selected" in parent.data.metrics


def test_logging_again_adds_nothing(tracked, cohort_folder):
    run(request(cohort_folder, out=tracked), Quiet())
    assert len(runs(tracked, "fold")[1]) == 3 and len(runs(tracked, "experiment")[1]) == 1


def test_a_board_from_the_store_equals_the_board_from_files(tracked, tmp_path):
    from milsurv.leaderboards.publish import publish

    assert fetch(local_store(tracked), tmp_path / "fetched") == 3
    one = publish(tmp_path / "fetched" / "experiments", tmp_path / "one").paths
    two = publish(tracked / "experiments", tmp_path / "two").paths
    assert {kind: path.read_bytes() for kind, path in one.items()} == {k: path.read_bytes() for k, path in two.items()}


def test_an_interrupted_run_is_marked_and_taken_up_again(cohort_folder, tmp_path, monkeypatch):

    class Interrupting(Quiet):
        @contextmanager
        def computing(self, title, cells):
            with super().computing(title, cells) as watcher:
                monkeypatch.setattr(watcher, "fold", stop)
                yield watcher

    def stop(fold, row, computed):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="interrupted; 0 of 3 folds are kept"):
        run(request(cohort_folder, out=tmp_path), Interrupting())
    assert runs(tmp_path, "experiment")[1][0].info.status == "KILLED"
    run(request(cohort_folder, out=tmp_path), Quiet())
    assert [one.info.status for one in runs(tmp_path, "experiment")[1]] == ["FINISHED"]
    assert len(runs(tmp_path, "fold")[1]) == 3


def test_what_was_logged_half_is_logged_whole_into_the_same_runs(cohort_folder, tracked, tmp_path):
    """A process that is killed while it logs leaves runs that are running, with a part of what belongs to them."""
    shutil.copytree(tracked, tmp_path / "out")
    client, before = runs(tmp_path / "out", "fold")
    half = [before[0].info.run_id, runs(tmp_path / "out", "experiment")[1][0].info.run_id]
    for run_id in half:
        client.update_run(run_id, status="RUNNING")
    with closing(sqlite3.connect(tmp_path / "out" / "mlflow.db")) as database:
        for table in ("metrics", "latest_metrics", "params"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid IN (?, ?) AND key > 'f'", half)
        database.commit()
    left = Path(unquote(urlsplit(before[0].info.artifact_uri).path)) / ".artifact.uploading.0123abcd"
    left.touch()
    run(request(cohort_folder, out=tmp_path / "out"), Quiet())
    assert not left.exists()
    client, after = runs(tmp_path / "out", "fold")
    whole = {one.info.run_id: one.data for one in [*before, *runs(tracked, "experiment")[1]]}
    for one in [*after, *runs(tmp_path / "out", "experiment")[1]]:
        assert one.info.status == "FINISHED"
        assert one.data.params == whole[one.info.run_id].params and one.data.metrics == whole[one.info.run_id].metrics
    assert len(client.get_metric_history(before[0].info.run_id, "curve_train_loss")) == 3


def test_means_are_those_of_all_folds_whatever_was_logged_before(tmp_path):
    rows = [make.parsed([make.row(n_folds=3, c_index_selected=value)])[0] for value in (0.9, 0.8, 0.1)]
    tracker = Tracker(Store(local_store(tmp_path), tmp_path), rows[0], {}, [], pytest.fail)
    folder = tmp_path / "files"
    folder.mkdir()
    tracker.end("KILLED", rows[:2], folder)
    tracker.end("FINISHED", rows, folder)
    (parent,) = runs(tmp_path, "experiment")[1]
    assert parent.data.metrics["mean_c_index_selected"] == pytest.approx(0.6)


def test_reading_a_store_that_is_not_there_creates_none(tmp_path):
    with pytest.raises(ValueError, match="no such database"):
        fetch(f"sqlite:///{tmp_path / 'typo.db'}", tmp_path / "out")
    assert not (tmp_path / "typo.db").exists()


def test_a_locked_database_costs_no_result_and_is_caught_up_later(cohort_folder, tmp_path):
    run(request(cohort_folder, out=tmp_path, epochs=1), Quiet())
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.warns(UserWarning, match="did not take the results"):
            finished = run(request(cohort_folder, out=tmp_path), Quiet(), f"{local_store(tmp_path)}?timeout=0.1")
        assert finished.complete
        database.rollback()
    assert len(runs(tmp_path, "fold")[1]) == 3
    run(request(cohort_folder, out=tmp_path), Quiet())
    assert len(runs(tmp_path, "fold")[1]) == 6


def test_what_a_database_raises_is_said_by_us_and_not_by_mlflow_with_a_traceback(caplog):
    quiet_mlflow()
    logging.getLogger("mlflow.store.db.utils").error("disk full", exc_info=OSError())
    assert not caplog.records


def test_a_server_that_is_gone_costs_no_result(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.warns(UserWarning, match="did not take the results"):
        finished = run(request(cohort_folder, out=tmp_path), Quiet(), f"http://127.0.0.1:{port}")
    assert finished.complete


def test_a_store_without_our_experiments_says_so(tmp_path):
    from mlflow.tracking import MlflowClient

    make_usable(tmp_path / "mlflow.db")
    MlflowClient(local_store(tmp_path)).create_experiment("another")
    with pytest.raises(ValueError, match="no milsurv experiment"):
        fetch(local_store(tmp_path), tmp_path)


def test_no_tracking_is_possible(cohort_folder, tmp_path):
    assert run(request(cohort_folder, out=tmp_path), Quiet(), "none").complete
    assert not (tmp_path / "mlflow.db").exists()


def test_every_cohort_is_an_experiment_of_its_own_and_simulated_data_stay_apart():
    assert experiment_name("brca", synthetic=False) == "milsurv/brca"
    assert experiment_name("brca", synthetic=True) == "milsurv/brca (synthetic)"


def test_runs_are_filtered_by_what_an_experiment_is_made_of(tracked):
    client, _ = runs(tracked, "fold")
    places = [one.experiment_id for one in client.search_experiments()]
    wanted = "tags.model = 'abmil' and tags.cohort = 'blca' and tags.seed = '0' and tags.recipe LIKE 'default%'"
    assert len(client.search_runs(places, f"{wanted} and metrics.c_index_selected > 0")) == 3
    assert not client.search_runs(places, "tags.model = 'transmil'")


def test_data_are_logged_as_inputs_with_their_fingerprints(tracked):
    _, children = runs(tracked, "fold")
    row = json.loads(next(tracked.glob("experiments/*/fold-0/result.json")).read_text())
    inputs = {one.dataset.name: one.dataset.digest for one in children[0].inputs.dataset_inputs}
    assert inputs == {
        "blca labels": row["labels_fingerprint"],
        "blca folds stratified-3-seed0": row["folds_fingerprint"],
        "blca features tiny": row["features_fingerprint"],
    }


@pytest.mark.parametrize("left", [b"", b"half a file", "half its tables"])
def test_a_database_whose_making_was_cut_short_is_replaced(left, tmp_path):
    path = tmp_path / "mlflow.db"
    if isinstance(left, bytes):
        path.write_bytes(left)
    else:
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE runs (run_uuid TEXT)")
    aside = make_usable(path)
    assert (aside is not None) == bool(left)
    assert sqlite3.connect(path).execute("SELECT name FROM experiments").fetchall() == [("Default",)]
    assert make_usable(path) is None


def test_a_database_that_holds_runs_is_never_replaced(tmp_path):
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE runs (run_uuid TEXT)")
        database.execute("INSERT INTO runs VALUES ('one')")
    before = path.read_bytes()
    assert make_usable(path) is None and path.read_bytes() == before


def test_a_process_that_holds_the_store_and_does_nothing_is_not_waited_for(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("milsurv.benchmark.results.tracking.store.PATIENCE", 0.2)
    with (
        FileLock(tmp_path / ".mlflow.lock"),
        pytest.warns(UserWarning, match=r"another process has held .*mlflow.lock"),
    ):
        assert run(request(cohort_folder, out=tmp_path), Quiet()).complete


def test_a_thousand_experiments_do_not_wait_a_thousand_times_for_a_store_that_is_gone(tmp_path):
    store = Store(local_store(tmp_path), tmp_path)
    with pytest.raises(ConnectionError), store.writing():
        raise ConnectionError
    with pytest.raises(StoreAway), store.writing():
        pass


def test_trials_of_tuning_are_children_of_their_fold(cohort_folder, tmp_path):
    tuned = dataclasses.replace(request(cohort_folder, out=tmp_path, epochs=1), folds=2, tune=2, inner="validation")
    run(tuned, Quiet())
    _, folds = runs(tmp_path, "fold")
    _, trials = runs(tmp_path, "trial")
    parents = [trial.data.tags["mlflow.parentRunId"] for trial in trials]
    assert sorted(parents) == sorted(2 * [fold.info.run_id for fold in folds])
    assert {trial.info.status for trial in trials} == {"FINISHED"}
    assert all(0 < trial.data.metrics["held_out_c_index"] < 1 for trial in trials)
    assert len({trial.data.params["learning_rate"] for trial in trials}) > 1
    fold = folds[0]
    best = max(
        trial.data.metrics["held_out_c_index"]
        for trial, parent in zip(trials, parents, strict=True)
        if parent == fold.info.run_id
    )
    assert fold.data.metrics["tuned_c_index"] == best
    assert fetch(local_store(tmp_path), tmp_path / "fetched") == 2


@pytest.mark.parametrize("model", ["abmil", "patchgcn"])
def test_a_registered_model_gives_the_risks_of_its_fold(model, cohort_folder, tmp_path):
    """`patchgcn` needs to know where patches lie."""
    import mlflow
    from milsurv.benchmark.planning.load import load

    asked = dataclasses.replace(request(cohort_folder, out=tmp_path, epochs=1), model=model, folds=2)
    run(asked, Quiet(), Tracking(register="hospital"))
    run(asked, Quiet(), Tracking(register="hospital"))
    client, _ = runs(tmp_path, "fold")
    versions = client.search_model_versions("name = 'hospital'")
    assert sorted(version.tags["milsurv.fold"] for version in versions) == ["0", "1"]
    mlflow.set_tracking_uri(local_store(tmp_path))
    served = mlflow.pyfunc.load_model("models:/hospital/1")
    fold = next(version for version in versions if version.version == 1).tags["milsurv.fold"]
    _, data = load(asked)
    (predictions,) = tmp_path.glob(f"experiments/*/fold-{fold}/predictions.csv")
    with predictions.open(newline="") as file:
        line = next(line for line in csv.DictReader(file) if line["reading"] == "selected")
    bag = data.bags[line["patient"]]
    reads = [spec.name for spec in served.metadata.signature.inputs]
    given = {str(m): bag.features[m].astype(np.float32) for m in bag.features if str(m) in reads}
    given |= {f"cells_{m}": bag.cells[m].astype(np.int64) for m in bag.features if f"cells_{m}" in reads}
    found = served.predict(given)
    assert found["risk"][0] == pytest.approx(float(line["risk"]), rel=1e-5)
    assert found["survival"][0, 0] == pytest.approx(float(line["survival_1"]), rel=1e-5)


def test_system_metrics_are_recorded_on_request(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    run(request(cohort_folder, out=tmp_path, epochs=20), Quiet(), Tracking(system_metrics=True))
    _, (parent,) = runs(tmp_path, "experiment")
    assert 0 < parent.data.metrics["system/system_memory_usage_percentage"] < 100
