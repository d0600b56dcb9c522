"""Label tables that would be read as something else, or that unpack to more than a machine holds."""

import os
import subprocess
import sys
import zipfile

import pytest
from milsurv.datasets.labels.read import read_labels
from milsurv.errors import DataError

HEADER = "case_id,slide_id,survival_months,censorship"
ROWS = [f"P-{i},S-{i},{10 * i},{i % 2}" for i in range(1, 6)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("P-3,S-3,1_000,0", r"line 4.*1_000"),
        ("P-3,S-3,\u0661\u0662,0", "line 4"),
        ("P-3,S-3,12,\u0661", "line 4"),
        ("P-\0003,S-3,30,0", "line 4: a NUL character"),
        ("P-3,S-3,30,0,9", "line 4: more cells than the 4 of the header"),
        ("P-3,S-3,0x1F,0", r"line 4.*0x1F"),
        ("P-3,S-3,3 0,0", "line 4"),
    ],
)
def test_a_cell_that_could_be_read_as_another_value_is_refused_by_line(tmp_path, row, message):
    path = tmp_path / "labels.csv"
    path.write_text("\n".join([HEADER, *ROWS[:2], row, *ROWS[3:], ""]), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_labels(path, "mine")


def bomb(path, unit: bytes, mib: int):
    """A zip that holds `unit` again and again: very small, and large once it is unpacked."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("labels.csv", "w") as member:
        member.write(f"{HEADER}\n".encode())
        for _ in range(mib):
            member.write(unit * ((1 << 20) // len(unit)))
    return path


READ = """
import re, sys
from milsurv.datasets.labels.read import read_labels
from milsurv.errors import DataError
try:
    read_labels(sys.argv[1], "mine")
except DataError as error:
    print(error)
# Not ru_maxrss, which a new program inherits from the process that started it.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.parametrize(
    ("unit", "mib", "message"),
    [
        (b"P-1,S-1,10,0\n", 400, "unpacks to more than 67,108,864 bytes"),
        (b"a\n", 60, "more than 1,000,000 rows"),
        (b",", 60, "a line of more than 8 MiB"),
        (b",,,,,,,\n", 60, "20,000,000 cells"),
    ],
)
def test_a_small_packed_table_does_not_take_a_machine_s_memory(tmp_path, unit, mib, message):
    path = bomb(tmp_path / "labels.csv.zip", unit, mib)
    assert path.stat().st_size < 1.2 * (1 << 20)
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, timeout=120)
    said, mib_used = done.stdout.rsplit("\n", 2)[:2]
    assert message in said, done.stderr
    assert int(mib_used) < 1500


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_label_table_that_is_a_pipe_or_a_device_is_refused_unread(tmp_path, kind):
    path = tmp_path / "labels.csv"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="it is no regular file"):
        read_labels(path, "mine")


def test_the_limit_of_a_table_is_an_option(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("\n".join([HEADER, *ROWS]), encoding="utf-8")
    assert len(read_labels(path, "mine").patients) == 5
    with pytest.raises(DataError, match="--table-mib raises it"):
        read_labels(path, "mine", max_bytes=20)
