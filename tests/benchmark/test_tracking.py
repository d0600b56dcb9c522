"""MLflow as a second record: complete when it works, harmless when it does not."""

import json
import socket
import sqlite3
from contextlib import contextmanager
from pathlib import Path

import leaderboard_rows as make
import pytest
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.results.tracking import NAME, fetch, local_store
from milsurv.benchmark.run import Quiet, run


def request(cohort_folder: Path, out: Path, epochs: int = 3) -> Request:
    """A small experiment that trains in a second."""
    features, labels = str(cohort_folder / "features"), cohort_folder / "labels.csv"
    return Request(
        "abmil", "blca", features_path=features, labels_path=labels, settings={"epochs": str(epochs)}, folds=3, out=out
    )


@pytest.fixture(scope="module")
def tracked(cohort_folder, with_store, tmp_path_factory) -> Path:
    out = with_store(tmp_path_factory.mktemp("tracked"))
    run(request(cohort_folder, out=out), Quiet())
    return out


def runs(out: Path, kind: str):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(local_store(out))
    place = client.get_experiment_by_name(NAME).experiment_id
    return client, client.search_runs([place], f"tags.`milsurv.kind` = '{kind}'")


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


def test_an_interrupted_run_is_marked_and_taken_up_again(cohort_folder, with_store, tmp_path, monkeypatch):
    with_store(tmp_path)

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


def test_means_are_those_of_all_folds_whatever_was_logged_before(with_store, tmp_path):
    from milsurv.benchmark.results.tracking import Tracker

    with_store(tmp_path)
    tracker = Tracker(
        local_store(tmp_path), tmp_path, {}, {"milsurv.experiment": "e", "model": "m", "cohort": "c"}, print
    )
    rows = [make.parsed([make.row(n_folds=3, c_index_selected=value)])[0] for value in (0.9, 0.8, 0.1)]
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


def test_a_locked_database_costs_no_result_and_is_caught_up_later(cohort_folder, with_store, tmp_path):
    with_store(tmp_path)
    run(request(cohort_folder, out=tmp_path, epochs=1), Quiet())
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.warns(UserWarning, match="did not take the results"):
            finished = run(request(cohort_folder, out=tmp_path), Quiet())
        assert finished.complete
        database.rollback()
    assert len(runs(tmp_path, "fold")[1]) == 3
    run(request(cohort_folder, out=tmp_path), Quiet())
    assert len(runs(tmp_path, "fold")[1]) == 6


def test_a_server_that_is_gone_costs_no_result(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.warns(UserWarning, match="did not take the results"):
        finished = run(request(cohort_folder, out=tmp_path), Quiet(), f"http://127.0.0.1:{port}")
    assert finished.complete


def test_a_store_without_our_experiments_says_so(with_store, tmp_path):
    from mlflow.tracking import MlflowClient

    MlflowClient(local_store(with_store(tmp_path))).create_experiment("another")
    with pytest.raises(ValueError, match="no milsurv experiment"):
        fetch(local_store(tmp_path), tmp_path)


def test_no_tracking_is_possible(cohort_folder, tmp_path):
    assert run(request(cohort_folder, out=tmp_path), Quiet(), "none").complete
    assert not (tmp_path / "mlflow.db").exists()
