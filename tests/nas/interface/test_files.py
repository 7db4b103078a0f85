"""A file is whole or absent at its name, whichever operation fails or is the last."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from crashes import OPERATIONS, Crash, crash_at, operations

from nas.files import flush_folder, write_flushed, write_new, write_whole


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"old")
    write_whole(tmp_path / "file", b"new" * 1000)
    assert (tmp_path / "file").read_bytes() == b"new" * 1000
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_anywhere_leaves_the_old_file_or_the_new_one(error: BaseException, tmp_path: Path) -> None:
    file = tmp_path / "file"
    for number in range(operations(lambda: write_whole(tmp_path / "counted", b"x"))):
        write_whole(file, b"old")
        with pytest.raises(type(error)), crash_at(number, error):
            write_whole(file, b"new")
        assert file.read_bytes() in (b"old", b"new")
    assert sorted(os.listdir(tmp_path)) == ["counted", "file"]


def test_a_process_that_dies_anywhere_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """Dying is simulated: the operation raises what nothing catches, and nothing is cleaned up any more."""
    file = tmp_path / "file"
    seen = set()
    for number in range(operations(lambda: write_whole(tmp_path / "counted", b"x"))):
        write_whole(file, b"old")
        with pytest.raises(Crash), crash_at(number, Crash(), for_ever=True):
            write_whole(file, b"new")
        seen.add(file.read_bytes())
    assert seen == {b"old", b"new"}


def test_plain_writing_would_be_caught(tmp_path: Path) -> None:
    """The control: the enumeration sees a file that is torn."""
    file = tmp_path / "file"

    def plainly() -> None:
        with open(file, "wb") as opened:
            opened.write(b"new")
            opened.flush()
            os.fsync(opened.fileno())

    file.write_bytes(b"old")
    states = []
    for number in range(operations(plainly)):
        file.write_bytes(b"old")
        with pytest.raises(Crash), crash_at(number, Crash(), for_ever=True):
            plainly()
        states.append(file.read_bytes())
    assert b"" in states or any(state not in (b"old", b"new") for state in states)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    write_flushed(tmp_path / "file", b"first")
    with pytest.raises(FileExistsError):
        write_flushed(tmp_path / "file", b"second")
    flush_folder(tmp_path / "absent")  # where folders cannot be opened there is nothing to do
    assert "fsync" in OPERATIONS


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_is_written_where_there_are_no_hard_links_too(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    assert write_new(tmp_path / "file", b"first")
    assert not write_new(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]
