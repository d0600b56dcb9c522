"""Entries of strangers: what would take minutes, gigabytes or files outside of them is refused before it is read."""

import gzip
import json
import os
import time
import tracemalloc

import pytest
from milsurv.benchmark.verify.entry import verify
from milsurv.errors import RowError
from milsurv.files import read_regular
from milsurv.leaderboards.entries.joined import read_entries
from milsurv.leaderboards.rows import read_row, read_rows


def command(entry, edit, words):
    """Let every row say that it was made by another command."""
    rows = [json.loads(line) for line in (entry / "rows.jsonl").read_text().splitlines()]
    rows = [row | {"command": f"{row['command']} {words}"} for row in rows]
    (entry / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    edit.seal(entry)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--repeats 1000000000", "its command makes 3000000000 folds, and the entry has 3 of it"),
        ("--patients 1000000000", "its command simulates 1000000000 patients, more than are simulated"),
        ("--slide-table /dev/zero", "its command reads files that are not part of the entry"),
        ("--cohort /tmp", "its command names a cohort that is not registered"),
        ("--labels /dev/zero", "its command reads files that are not part of the entry"),
    ],
)
def test_a_command_is_held_against_limits_before_anything_is_made(entry, edit, words, message):
    command(entry, edit, words)
    begun = time.monotonic()
    assert any(message in fault for fault in verify(entry).faults)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("words", ["--set hidden=2000000", "--set hidden=20000"])
def test_no_model_is_built_to_check_an_entry(entry, edit, words, monkeypatch):
    from milsurv.benchmark.planning import resolve

    monkeypatch.setattr(resolve, "_check_build", lambda *_: pytest.fail("a model was built"))
    command(entry, edit, words)
    assert any("hyperparameters" in fault for fault in verify(entry).faults)


def test_a_packed_table_that_unpacks_to_too_much_is_refused_with_little_memory(entry, edit):
    zeros = gzip.compress(b"experiment\n" + b"0" * (130 << 20), 1)
    (entry / "predictions.csv.gz").write_bytes(zeros)
    edit.seal(entry)
    (fault,) = verify(entry).faults
    assert "unpacks to more than 128 MiB" in fault


@pytest.mark.parametrize("content", [b"experiment" + b"," * 3000 + b"\n", b"experiment\n" + b"\n" * 2_000_001])
def test_a_table_of_very_many_columns_or_lines_is_refused_before_it_is_parsed(entry, edit, content):
    (entry / "predictions.csv.gz").write_bytes(gzip.compress(content))
    edit.seal(entry)
    tracemalloc.start()
    (fault,) = verify(entry).faults
    assert "send it as several entries" in fault
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["entry.json", "rows.jsonl", "predictions.csv.gz"])
@pytest.mark.parametrize("kind", ["a link", "a device", "a pipe", "a folder"])
def test_only_regular_files_inside_the_entry_are_read(entry, tmp_path, name, kind):
    path = entry / name
    path.rename(tmp_path / name)
    match kind:
        case "a link":
            path.symlink_to(tmp_path / name)
        case "a device":
            path.symlink_to("/dev/zero")
        case "a pipe":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
    begun = time.monotonic()
    (fault,) = verify(entry).faults
    what = "a link" if kind in ("a link", "a device") else "no regular file"
    assert f"entry/{name}: cannot be read (it is {what})" in fault
    (problem,) = read_entries([entry]).problems
    assert "cannot be read" in problem.message
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_row_that_is_a_pipe_or_a_device_is_listed_and_not_read(tmp_path, kind):
    path = tmp_path / "experiments" / "0123456789" / "fold-0" / "result.json"
    path.parent.mkdir(parents=True)
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(RowError, match="it is no regular file"):
        read_row(path)
    (problem,) = read_rows(tmp_path).problems
    assert "it is no regular file" in problem.message


def test_a_row_of_very_many_folds_is_no_row(tmp_path):
    import leaderboard_rows as make

    make.write(tmp_path, [make.row(n_folds=1_000_000_000)])
    (problem,) = read_rows(tmp_path / "experiments").problems
    assert "n_folds is 1000000000; expected a whole number from 0 to 10000" in problem.message


def test_a_file_that_is_too_large_is_refused_by_its_size(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="more than the limit"):
        read_regular(path, 1 << 20)


@pytest.mark.parametrize("content", [b'{"format": "\xb9"}', b"[" * 100_000, b"\xff\xfe{}", b'"' * 3])
@pytest.mark.parametrize("name", ["entry.json", "rows.jsonl", "experiments.jsonl"])
def test_json_that_is_no_text_or_has_no_end_is_a_line(entry, edit, name, content):
    (entry / name).write_bytes(content)
    if name != "entry.json":
        edit.seal(entry)
    (fault,) = verify(entry).faults
    assert fault.startswith(f"entry/{name}") and "is not" in fault
