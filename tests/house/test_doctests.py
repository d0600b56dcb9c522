"""The examples in docstrings are true."""

import doctest
from importlib import import_module

import pytest
from checkout import ROOT

MODULES = sorted(
    ".".join(("milsurv", *path.relative_to(ROOT).with_suffix("").parts))
    for path in (*(ROOT / "survival").rglob("*.py"), ROOT / "benchmark" / "api.py")
    if ">>>" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0 and found.failed == 0
