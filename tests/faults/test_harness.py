"""`python -m tests.faults`, small: one fault of every kind in one command, and some mutated inputs of every kind."""

import importlib.util
import multiprocessing
import random
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    found = {}
    for name in ("mutations", "commands"):
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec is not None and spec.loader is not None
        found[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, found[name])
        spec.loader.exec_module(found[name])
    return found


def test_mutated_inputs_are_refused_or_read_as_the_truth(harness, results, tmp_path):
    count = Counter()
    for kind, outcome, why in harness["mutations"].campaign(tmp_path, results, 140, random.Random(1)):
        count[outcome] += 1
        assert not why, f"{kind}: {outcome}: {why}"
    assert count.total() == 140 and count["refused"] > 50 and count["same"] > 10
    assert "| **all** | 140 |" in harness["mutations"].table(Counter({("labels", "refused"): 140}))


def test_a_reader_that_changes_a_value_is_caught(harness, results, tmp_path, monkeypatch):
    """The truth is the file's own text, not what our reader says."""
    from milsurv.datasets.labels import table

    monkeypatch.syspath_prepend(str(HERE))
    spec = importlib.util.spec_from_file_location("reader", HERE / "reader.py")
    assert spec is not None and spec.loader is not None
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    inputs = harness["mutations"].write_inputs(tmp_path, results)
    for kind, folder in inputs.items():
        assert reader.READERS[kind](folder, folder) == "", kind
    true = table.number
    monkeypatch.setattr(table, "number", lambda text, sign=".": 7.0 if "." in str(text) else true(text, sign))
    assert "which no line says" in reader.labels(inputs["labels"], inputs["labels"])


@pytest.fixture
def place(harness, made_once):
    """A place where `run` ended undisturbed once."""
    commands = harness["commands"]

    def make(folder: Path) -> None:
        here = commands.Place(folder)
        assert commands.ended(here.start("run", "expected"), 300) == 0, here.log("expected")

    return commands.Place(made_once("faults-place", make))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "event", "nth"), [("kill", "checkpoint", 12), ("kill", "statement", 9), ("torn", "rename", 84)]
)
def test_a_run_that_meets_a_fault_and_is_typed_again_leaves_the_same(harness, place, kind, event, nth):
    commands, run = harness["commands"], f"{kind}-{event}"
    assert commands.ended(place.start("run", run, kind, event, nth), 300) == -signal.SIGKILL
    assert place.events(run)[event] == nth
    assert commands.ended(place.start("run", run), 300) == 0, place.log(run)
    assert commands.wrong(place, run, place.home("expected")) == []


@pytest.mark.slow
def test_a_run_that_leaves_something_else_is_caught(harness, place, tmp_path):
    """A fault that is not mended would be seen: by bytes, by names and in MLflow."""
    commands = harness["commands"]
    shutil.copytree(place.home("expected"), place.home("tampered"))
    assert commands.wrong(place, "tampered", place.home("expected")) == []
    out = place.home("tampered") / "out"
    (row,) = out.glob("experiments/*/fold-1/result.json")
    row.write_text(row.read_text().replace('"c_index_selected": 0.', '"c_index_selected": 0.1'))
    (out / ".half.partial").touch()
    with sqlite3.connect(out / "mlflow.db") as database:
        database.execute("UPDATE runs SET status = 'RUNNING' WHERE run_uuid = (SELECT run_uuid FROM runs LIMIT 1)")
    found = commands.wrong(place, "tampered", place.home("expected"))
    assert "other bytes" in found and "left out/.half.partial" in found and "RUNNING" in " ".join(found)
    shutil.rmtree(place.home("tampered"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["clinical-cox", "random"])
def test_three_identical_baselines_at_once_are_computed_and_logged_once(harness, place, tmp_path, model):
    commands = harness["commands"]
    words = ["run", "--model", model, *commands.SIMULATED[:-2], "--out", str(tmp_path / "out")]
    context = multiprocessing.get_context("forkserver")
    logs = [str(tmp_path / f"{number}.log") for number in range(3)]
    at_once = [context.Process(target=commands.bench, args=(words, log, place.environment)) for log in logs]
    for process in at_once:
        process.start()
    assert [commands.ended(process, 300) for process in at_once] == [0, 0, 0], [Path(log).read_text() for log in logs]
    counts = {key: counts[0] for key, counts in commands.logged(tmp_path).items()}
    assert counts == {"experiment FINISHED active": 1, "fold FINISHED active": 2}
    assert not list((tmp_path / "out").rglob("*.partial")) + list((tmp_path / "out").rglob(".fold-*.lease-*"))
