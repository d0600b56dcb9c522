"""What a killed process leaves is removed by the next one, and what a living one writes is left alone."""

import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from milsurv import files
from milsurv.files import UNFINISHED, remove_unfinished, scratch, whole, whole_folder
from milsurv.processes import gone, this_process

WRITES = """
import sys, time
from pathlib import Path
from milsurv import files
place = Path(sys.argv[1])
with files.whole(place / "file.csv") as one, files.whole_folder(place / "folder") as two, files.scratch() as three:
    one.write_text("half")
    (two / "inside").write_text("half")
    print(three, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def killed(tmp_path):
    """A folder in which a process was killed while it wrote a file and a folder, and its folder for temporary files."""
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", WRITES, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        place = process.stdout.readline().strip()
        remove_unfinished(tmp_path / "out", below=True)
        assert len(list((tmp_path / "out").glob(UNFINISHED))) == 2, "its process lives"
        process.send_signal(signal.SIGKILL)
    return tmp_path / "out", place


def test_unfinished_files_and_folders_of_a_killed_process_are_removed(killed):
    out, place = killed
    remove_unfinished(out)
    assert list(out.iterdir()) == []
    assert os.path.isdir(place)  # noqa: PTH112
    with scratch() as mine:
        assert mine.is_dir() and not os.path.exists(place)  # noqa: PTH110
    assert not mine.exists()


def test_a_folder_that_is_written_again_removes_what_was_left_of_it(killed):
    out, _ = killed
    with whole_folder(out / "folder") as place:
        (place / "inside").write_text("whole")
    assert [path.name for path in out.glob(".folder*")] == []


def test_what_another_machine_writes_is_nobody_s_only_after_a_day(tmp_path):
    name = ".file.csv.01234567-1-1.01234567.partial"
    for path in (tmp_path / name, tmp_path / ".old.0123abcd.partial"):
        path.write_text("half")
    remove_unfinished(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - files.ABANDONED - 10,) * 2)
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_process_knows_itself_and_that_the_number_of_another_was_used_again():
    machine, number, born = this_process().split("-")
    assert gone(this_process()) is False
    assert gone(f"{machine}-{number}-{int(born) - 1000}") is True
    assert gone(f"00000000-{number}-{born}") is None


def test_an_unfinished_file_of_this_process_is_left_alone(tmp_path):
    with whole(tmp_path / "file") as partial:
        partial.write_text("half")
        remove_unfinished(tmp_path)
        assert partial.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_names_with_signs_of_patterns_are_names(tmp_path):
    with whole_folder(tmp_path / "run[1]*?") as place:
        (place / "inside").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["run[1]*?"]
    assert tempfile.gettempdir()
