"""Memory for bags: a share of what is free for this process, whatever the machine around it has."""

import psutil
import pytest
from milsurv.datasets import memory


def test_a_control_group_that_leaves_less_than_the_machine_decides(tmp_path):
    (tmp_path / "memory.max").write_text(f"{3 << 30}\n")
    (tmp_path / "memory.current").write_text(f"{3 << 30}\n")
    assert memory.free_bytes(tmp_path) == 0
    (tmp_path / "memory.current").write_text(f"{(3 << 30) - 12345}\n")
    assert memory.free_bytes(tmp_path) == 12345


@pytest.mark.parametrize("limit", ["max\n", str(1 << 62)])
def test_a_control_group_without_a_limit_leaves_what_the_machine_has(tmp_path, limit):
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text("1")
    free = psutil.virtual_memory().available
    assert memory.free_bytes(tmp_path) == pytest.approx(free, rel=0.5)


def test_processes_of_one_command_divide_the_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 800)
    monkeypatch.delenv(memory.PROCESSES, raising=False)
    assert memory.bytes_for_bags() == 400
    monkeypatch.setenv(memory.PROCESSES, "4")
    assert memory.bytes_for_bags() == 100
    monkeypatch.setenv(memory.PROCESSES, "many")
    assert memory.bytes_for_bags() == 400


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("32GiB", 32 << 30), ("1.5 mib", 3 << 19), ("500MB", 500_000_000)]
)
def test_sizes_are_read(text, size):
    assert memory.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "1e9", "1 XB", "nan", "٣GiB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="is no size such as 32GiB"):
        memory.parse_bytes(text)


def test_processes_started_by_one_of_several_divide_its_share(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 800)
    monkeypatch.setenv(memory.PROCESSES, "2")
    with memory.divided(4):
        assert memory.bytes_for_bags() == 50
    assert memory.bytes_for_bags() == 200
    monkeypatch.delenv(memory.PROCESSES)
    with memory.divided(4):
        assert memory.bytes_for_bags() == 100
    assert memory.PROCESSES not in memory.os.environ
