"""Files and folders are written whole or not at all."""

import os
from pathlib import Path

import pytest
from milsurv.errors import CannotWrite, DataError, writing
from milsurv.files import UNFINISHED, safe_name, whole, whole_folder, write_whole


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path):
    path = tmp_path / "a" / "b.txt"
    assert write_whole(path, "ä").read_bytes() == "ä".encode()
    assert write_whole(path, b"\x00").read_bytes() == b"\x00"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_whole(tmp_path / "b.txt", "old")
    with pytest.raises(RuntimeError), whole(path) as partial:
        partial.write_text("half")
        assert partial.match(UNFINISHED)
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file") as caught:
        write_whole(tmp_path / "file" / "below", "text")
    assert ".partial" not in str(caught.value)
    with pytest.raises(CannotWrite, match=r"place cannot be written \(.*\): choose another\."):  # noqa: SIM117
        with writing("place", "choose another"):
            write_whole(tmp_path / "file" / "below", "text")


def test_content_and_folder_are_on_disk_before_the_old_file_is_gone(tmp_path, monkeypatch):
    synced: list[bool] = []
    real = os.fsync
    monkeypatch.setattr("milsurv.files.os.fsync", lambda handle: (synced.append(True), real(handle)))
    write_whole(tmp_path / "a", "text")
    assert len(synced) == 2


def test_a_folder_takes_the_place_of_an_older_one_whole(tmp_path):
    target = tmp_path / "folder"
    for content in ("old", "new"):
        with whole_folder(target) as partial:
            write_whole(partial / "inner" / "file", content)
        assert (target / "inner" / "file").read_text() == content
    with pytest.raises(RuntimeError), whole_folder(target) as partial:
        (partial / "file").write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["folder"] and (target / "inner" / "file").read_text() == "new"


def test_what_another_process_put_there_meanwhile_stays_if_it_is_as_good(tmp_path):
    target = tmp_path / "folder"
    with whole_folder(target, keep=lambda: (target / "mark").exists()) as partial:
        (partial / "file").write_text("ours")
        target.mkdir()
        (target / "mark").write_text("theirs")
    assert [p.name for p in target.iterdir()] == ["mark"] and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "a\\b", "c:d", "a\nb", "..a", "x" * 241])
def test_a_name_that_leads_out_of_its_folder_is_refused(name):
    with pytest.raises(DataError, match="cannot be the name of a slide"):
        safe_name(name)


def test_long_names_in_any_alphabet_can_be_written(tmp_path):
    assert write_whole(tmp_path / ("é" * 120), "text").exists()
    assert isinstance(tmp_path, Path)
