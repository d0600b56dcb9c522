"""`python -m tests.faults`, small: one fault of every kind in one command, and some mutated inputs of every kind."""

import importlib.util
import random
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


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill rename 6", "torn rename 9"])
def test_a_run_that_meets_a_fault_and_is_typed_again_leaves_the_same(harness, tmp_path, made_once, fault):
    commands = harness["commands"]

    def make(folder: Path) -> None:
        here = commands.Place(folder)
        folder.mkdir()
        assert here.start("run, serial", folder / "whole").wait() == 0, here.log("whole")

    whole = made_once("faults-whole", make) / "whole"
    here, out = commands.Place(tmp_path), tmp_path / "out"
    here.start("run, serial", out, f"{fault} {tmp_path / 'mark'}").wait(300)
    assert (tmp_path / "mark").exists()
    assert here.start("run, serial", out).wait(300) == 0, here.log("out")
    assert commands.content(out) == commands.content(whole)
    assert commands.logged(out) == commands.logged(whole)
    assert commands.left_behind(here, out) == []
    assert "Traceback" not in here.log("out")
