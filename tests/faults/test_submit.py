"""`bench leaderboard submit` that is killed, and typed again."""

import os
import signal
import subprocess
import sys

import pytest

FAULT = """
import os, signal, sys
from milsurv import files
from milsurv.benchmark.cli import main

left = int(sys.argv[1])

def faulty(function):
    def call(*words, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*words, **more)
    return call

for name in ("rename", "replace", "mkdir"):
    setattr(os, name, faulty(getattr(os, name)))
sys.argv = ["bench", *sys.argv[2:]]
main.main()
"""
"""Runs `bench` and kills it before the n-th time that it renames something or makes a folder."""


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("count", [3, 6])
def test_a_submission_that_was_killed_goes_on_with_the_same_command(results, tmp_path, bench, count):
    words = ("leaderboard", "submit", results, "--title", "One", "--who", "A group", "--when", "2026-01-05")
    assert bench(*words, "--out", tmp_path / "whole")[0] == 0
    target = tmp_path / "entry"
    command = [sys.executable, "-c", FAULT, str(count), *map(str, words), "--out", str(target)]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    status, _, err = bench(*words, "--out", target)
    assert status == 0, err
    assert content(target) == content(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entry", "whole"]


def test_what_an_earlier_version_left_of_an_entry_is_replaced_and_other_files_are_not(results, tmp_path, bench):
    words = ("leaderboard", "submit", results, "--title", "One", "--who", "A group", "--out", tmp_path / "entry")
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry" / "rows.jsonl").write_text("half a r")
    assert bench(*words)[0] == 0
    (tmp_path / "entry" / "notes.txt").write_text("mine")
    status, _, err = bench(*words)
    assert status == 1 and "holds other files" in err
    assert (tmp_path / "entry" / "notes.txt").read_text() == "mine"
    assert os.listdir(tmp_path) == ["entry"]  # noqa: PTH208
