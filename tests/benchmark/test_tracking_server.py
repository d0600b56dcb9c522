"""MLflow as labs run it: a server of its own, with SQLite or PostgreSQL behind it, that dies in the middle."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.run import Quiet, run

pytestmark = pytest.mark.slow

POSTGRES = shutil.which("initdb") or next(
    iter(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True))), None
)
AS_POSTGRES = {"user": "postgres"} if os.geteuid() == 0 else {}  # it refuses to be started by root


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """`mlflow server` on a port of its own, with this database behind it."""

    def __init__(self, database: str, folder: Path) -> None:
        self.database, self.folder, self.port = database, folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = ["--backend-store-uri", self.database, "--artifacts-destination", str(self.folder / "artifacts")]
        words += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words], start_new_session=True, stdout=log, stderr=log
            )
        while self.process.poll() is None:
            time.sleep(0.1)
            with suppress(requests.ConnectionError):
                if requests.get(f"{self.address}/health", timeout=5).ok:
                    return
        pytest.fail((self.folder / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def sqlite(folder: Path):
    yield f"sqlite:///{folder / 'server.db'}"


@contextmanager
def postgres(folder: Path):
    pytest.importorskip("psycopg")
    if POSTGRES is None:
        pytest.skip("PostgreSQL is not installed")
    binaries, data, port = Path(POSTGRES).parent, Path(f"/tmp/milsurv-{os.getpid()}-postgres"), free_port()
    control = [str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", f"{data}.log"]

    def call(*words: str) -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **AS_POSTGRES)

    call(str(binaries / "initdb"), "-D", str(data), "-U", "milsurv", "-A", "trust", "--no-sync")
    call(*control, "-o", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -F", "start")
    try:
        yield f"postgresql+psycopg://milsurv@127.0.0.1:{port}/postgres"
    finally:
        call(*control, "-m", "immediate", "stop")
        subprocess.run(["rm", "-rf", str(data), f"{data}.log"], check=True)


class Disturbed(Quiet):
    """Calls `disturb(n)` once the n-th fold is computed, and before it is logged."""

    def __init__(self, disturb) -> None:
        self.disturb = disturb

    @contextmanager
    def computing(self, title, cells):
        with super().computing(title, cells) as watcher:
            count = watcher.fold

            def fold(number, row, computed):
                count(number, row, computed)
                self.disturb(watcher.done)

            watcher.fold = fold
            yield watcher


def runs(server: Server, kind: str) -> list:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server.address)
    places = [one.experiment_id for one in client.search_experiments()]
    return list(client.search_runs(places, f"tags.`milsurv.kind` = '{kind}'"))


@pytest.mark.parametrize("database", [sqlite, postgres])
def test_a_server_killed_and_restarted_in_the_middle_misses_nothing(database, cohort_folder, tmp_path):
    with database(tmp_path) as address:
        server = Server(address, tmp_path)
        request = Request(
            "meanpool", "blca", features_path=str(cohort_folder / "features"), settings={"epochs": "1"}, folds=4,
            labels_path=cohort_folder / "labels.csv", out=tmp_path / "results",
        )  # fmt: skip

        def disturb(done: int) -> None:
            if done == 2:
                while len(runs(server, "fold")) < 1:  # the first fold is logged in a thread of its own
                    time.sleep(0.05)
                server.kill()
            if done == 4:
                server.start()

        server.start()
        try:
            with pytest.warns(UserWarning, match="did not take the results"):
                assert run(request, Disturbed(disturb), server.address).complete
            folds = [one for one in runs(server, "fold") if one.info.status == "FINISHED"]
            (parent,) = runs(server, "experiment")
            assert sorted(one.data.tags["milsurv.fold"] for one in folds) == ["0", "1", "2", "3"]
            assert parent.info.status == "FINISHED" and "mean_c_index_selected" in parent.data.metrics
            assert {one.dataset.name for one in parent.inputs.dataset_inputs} == {
                "blca labels", "blca folds stratified-4-seed0", "blca features tiny"
            }  # fmt: skip
        finally:
            server.kill()
